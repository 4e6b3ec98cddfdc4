"""What of a content goes to a device, within the bytes that its service takes."""

from typing import Any

import msgspec

from push.backends import Content


def payload(content: Content, most: int) -> dict[str, Any]:
    """As JSON at most so many bytes: without `data` if need be, and then with less and less of the
    text. Who opens it finds all of it.
    """
    shown: dict[str, Any] = msgspec.to_builtins(content)
    shown.pop("expires_at", None)
    notification = shown.get("notification")
    if notification is not None and _size(shown) > most:
        notification["data"] = {}
    while notification is not None and _size(shown) > most and notification["message"]:
        text = notification["message"].removesuffix("…")
        notification["message"] = f"{text[: len(text) // 2]}…" if text else ""
    return shown


def _size(shown: dict[str, Any]) -> int:
    return len(msgspec.json.encode(shown))
