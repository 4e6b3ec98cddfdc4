"""Settings of a project that lists its own apps first."""

from holodrive.settings import *  # noqa: F403
from holodrive.settings import INSTALLED_APPS

INSTALLED_APPS = ["testing.answering", *INSTALLED_APPS]
