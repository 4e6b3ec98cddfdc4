"""What a way to reach devices has to offer, and which there are: PUSH_BACKENDS maps the name of a
channel to a class.
"""

import functools
from datetime import datetime
from typing import Any, Protocol

import msgspec
from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from notifications.events import NotificationBody
from push.models import Device


class Show(msgspec.Struct, kw_only=True, tag_field="type", tag="show"):
    """To be shown, in place of what the device shows with the same tag. `expires_at`: of no use to
    anybody from then on.
    """

    tag: str
    notification: NotificationBody
    unread_count: int
    expires_at: datetime


class Clear(msgspec.Struct, kw_only=True, tag_field="type", tag="clear"):
    """Was read elsewhere: take away, in silence, what has that tag, unless its id is higher (then
    it has come later, and overtaken this).
    """

    tag: str
    up_to_id: int
    unread_count: int


Content = Show | Clear


class DeviceGone(Exception):
    """The service knows this token no more: never push there again."""


class Unreachable(Exception):
    """The service could not take it now; `after`: seconds that it asked us to wait."""

    def __init__(self, why: str, after: float = 0) -> None:
        super().__init__(why)
        self.after = after


class Backend(Protocol):
    """One channel. Made once in a process; called from several threads."""

    def check(self, token: str, keys: dict[str, Any]) -> None:
        """Before a device is registered. Raises ValueError if it could not be reached so."""

    def send(self, device: Device, content: Content) -> None:
        """Hand it to the service, within seconds. Raises DeviceGone or Unreachable; anything else
        is a mistake, which is logged and not tried again.
        """


@functools.cache
def configured() -> dict[str, Backend]:
    """The channels of this installation."""
    return {name: import_string(path)() for name, path in settings.PUSH_BACKENDS.items()}


@receiver(setting_changed)
def _configured_anew(setting: str, **kwargs: Any) -> None:
    if setting.startswith("PUSH_"):
        configured.cache_clear()
