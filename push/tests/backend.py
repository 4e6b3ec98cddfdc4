"""A back end that notes what it was handed, and fails as it is told to."""

from typing import Any, ClassVar

from push.backends import Clear, Content, DeviceGone, Unreachable
from push.models import Device


class Recorder:
    told: ClassVar[list[tuple[str, Content]]] = []  # token, content
    gone: ClassVar[set[str]] = set()
    away: ClassVar[dict[str, float]] = {}  # token -> seconds to wait

    @classmethod
    def reset(cls) -> None:
        cls.told, cls.gone, cls.away = [], set(), {}

    def check(self, token: str, keys: dict[str, Any]) -> None:
        if token == "bad":
            raise ValueError("This token is bad.")

    def send(self, device: Device, content: Content) -> None:
        if device.token == "bug":
            raise ZeroDivisionError
        if device.token in self.gone:
            raise DeviceGone
        if device.token in self.away:
            raise Unreachable("away", self.away[device.token])
        self.told.append((device.token, content))


def said(told: list[tuple[str, Content]]) -> list[tuple[str, str]]:
    """(token, text) of what was shown, and (token, "-tag") of what was cleared."""
    return [
        (address, f"-{content.tag}" if isinstance(content, Clear) else content.notification.title)
        for address, content in told
    ]
