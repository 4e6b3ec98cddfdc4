"""How much one client may ask for. Counted in this process only, so that no connect and no frame
waits for anything; with several processes a user's share of connects is that of each.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from time import monotonic

_WINDOW = 60.0  # seconds
_TOO_LONG = 10.0  # seconds over the limit without a rest

Clock = Callable[[], float]


class FrameLimit:
    """A token bucket: `rate` frames a second, up to `burst` at once. A rate of 0 allows all."""

    __slots__ = ("_burst", "_clock", "_filled_at", "_left", "_over_since", "_rate")

    def __init__(self, rate: int, burst: int, clock: Clock = monotonic) -> None:
        self._rate = rate
        self._burst = max(1, burst)
        self._clock = clock
        self._left = float(self._burst)
        self._filled_at = clock()
        self._over_since: float | None = None

    def allows(self) -> bool:
        """Whether one more frame may pass now."""
        if not self._rate:
            return True
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._left < 1:
            if self._over_since is None:
                self._over_since = now
            return False
        if self._left >= self._burst / 2:
            self._over_since = None  # it has rested
        self._left -= 1
        return True

    def is_exhausted(self) -> bool:
        """Ten seconds over the limit: this is no burst."""
        return self._over_since is not None and self._clock() - self._over_since >= _TOO_LONG


class MinuteLimit:
    """At most so many in a minute for each key. A limit of 0 allows all."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._window = 0
        self._counts: Counter[Hashable] = Counter()

    def count(self, key: Hashable) -> int:
        """Count one; how many they are in this minute."""
        self._turn()
        self._counts[key] += 1
        return self._counts[key]

    def counted(self, key: Hashable) -> int:
        self._turn()
        return self._counts.get(key, 0)

    def _turn(self) -> None:
        window = int(self._clock() / _WINDOW)
        if window != self._window:
            self._window = window
            self._counts.clear()
