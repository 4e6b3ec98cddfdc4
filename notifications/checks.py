"""Judges the settings of notifications when a process starts."""

from typing import Any

from django.core.checks import CheckMessage, register

from holodrive.environment.checks import wrong_settings
from holodrive.environment.kinds import Kind, days
from notifications.apps import DEFAULTS

KINDS: dict[str, Kind] = {"NOTIFICATIONS_READ_DAYS": days()}


@register
def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [*wrong_settings(KINDS, DEFAULTS, "notifications.E001")]
