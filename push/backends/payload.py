"""What of a content goes to a device, within the bytes that its service takes."""

from typing import Any

import msgspec

from holodrive.realtime.characters import closed, within
from holodrive.realtime.wire import readable
from push.backends import Content, Show


def payload(content: Content, most: int) -> dict[str, Any]:
    """As JSON at most so many bytes: without `data` if need be, and then with less and less of the
    text, and at last of the title. Who opens it finds all of it.
    """
    shown: dict[str, Any] = readable(msgspec.to_builtins(content))
    shown.pop("expires_at", None)
    if isinstance(content, Show):
        _shorten(shown, shown["notification"], most)
    return shown


def _shorten(shown: dict[str, Any], notification: dict[str, Any], most: int) -> None:
    if _size(shown) > most:
        notification["data"] = {}
    for field in ("message", "title"):
        while _size(shown) > most and notification[field]:
            notification[field] = _half(notification[field])


def _half(text: str) -> str:
    """Ends with `…`, and with nothing in the end."""
    rest = text.removesuffix("…")
    return f"{closed(within(rest, len(rest) // 2))}…" if rest else ""


def _size(shown: dict[str, Any]) -> int:
    return len(msgspec.json.encode(shown))
