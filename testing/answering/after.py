"""Settings of a project that lists its own apps last."""

from holodrive.settings import *  # noqa: F403
from holodrive.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "testing.answering"]
