"""The project's settings, and the app that makes it the next release."""

from holodrive.settings import *  # noqa: F403
from holodrive.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "testing.next_release"]
