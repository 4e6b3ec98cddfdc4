"""The project's settings without its LOGGING: as a project that has not copied it."""

from holodrive.settings import *  # noqa: F403

LOGGING = {"version": 1, "disable_existing_loggers": False}
