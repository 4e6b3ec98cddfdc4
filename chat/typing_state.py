"""Whether one socket's user is typing, and who is told: the server ends what a client forgets to
end.
"""

import asyncio
from collections.abc import Callable

AGAIN_AFTER = 1.0  # seconds: what is said more often is coalesced


class TypingState:
    """Calls `tell(is_typing)` on each change, again at most once a second while it goes on.

    `loop` gives the time and the timer; `timeout` is in seconds.
    """

    def __init__(
        self, tell: Callable[[bool], None], timeout: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._tell = tell
        self._timeout = timeout
        self._loop = loop
        self._told = False  # what the others believe
        self._told_at = -AGAIN_AFTER
        self._end: asyncio.TimerHandle | None = None

    def typing(self) -> None:
        now = self._loop.time()
        if now >= self._told_at + AGAIN_AFTER:
            self._tell(True)
            self._told = True
            self._told_at = now
        if self._end is not None:
            self._end.cancel()
        self._end = self._loop.call_later(self._timeout, self.stopped)

    def stopped(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._told:
            self._told = False
            self._tell(False)
