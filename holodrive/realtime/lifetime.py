"""How long a socket's token still holds: warns a minute ahead, and tells when it is over."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

WARNING = timedelta(seconds=60)


def _now() -> datetime:
    return datetime.now(UTC)


def _nobody() -> None:
    """Is left to be told."""


class Lifetime:
    """Calls `warn` once, a minute before the end (at once if it is nearer), and `end` at the end.

    `loop` has the timer, `now` gives the time that tokens are judged by.
    """

    def __init__(
        self,
        warn: Callable[[], None],
        end: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._warn = warn
        self._end = end
        self._loop = loop
        self._now = now
        self._until: datetime | None = None
        self._warned = False
        self._timer: asyncio.TimerHandle | None = None

    def lasts(self, until: datetime | None) -> None:
        """The end is then, whatever was said before; None: there is none."""
        self.stop()
        self._until = until
        self._warned = False
        self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget(self) -> None:
        """Stop for good, and let go of whoever is to be told (see `garbage.py`)."""
        self.stop()
        self._warn = self._end = _nobody

    def _look(self) -> None:
        self._timer = None
        if self._until is None:
            return
        left = self._until - self._now()
        if left <= timedelta(0):
            self._end()
            return
        if not self._warned and left <= WARNING:
            self._warned = True
            self._warn()
        wait = left if self._warned else left - WARNING
        self._timer = self._loop.call_later(wait.total_seconds(), self._look)
