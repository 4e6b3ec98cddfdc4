"""Judges the chat's settings when a process starts."""

from typing import Any

from django.core.checks import CheckMessage, register

from chat.apps import DEFAULTS
from chat.masking import own
from holodrive.environment.checks import wrong_settings
from holodrive.environment.kinds import Flag, Kind, Region, Words, days

KINDS: dict[str, Kind] = {
    "CHAT_OWN_NUMBERS": Words(own.refusal),
    "CHAT_PHONE_REGION": Region(),
    "CHAT_REPLY_NEEDS_PERMISSION": Flag(),
    "CHAT_TRIP_DAYS": days(),
}


@register
def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [*wrong_settings(KINDS, DEFAULTS, "chat.E001")]
