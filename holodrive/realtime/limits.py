"""How much one client may ask for. Counted in this process only, so that no connect and no frame
waits for anything; with several processes a user's share of connects is that of each.
"""

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


class Bucket:
    """Units of work: `rate` a second, up to `burst` at once. Work whose amount is known only when
    it is done may leave a debt; whoever comes next waits until it is paid.
    """

    __slots__ = ("_burst", "_clock", "_filled_at", "_left", "_rate")

    def __init__(self, rate: float, burst: float, clock: Clock = monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left = burst
        self._filled_at = clock()

    def wait(self) -> float:
        """Seconds until there is a unit left; 0 if there is."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return 0.0 if self._left >= 1 else (1 - self._left) / self._rate

    def take(self, amount: float) -> None:
        self._left -= amount

    def give_back(self, amount: float) -> None:
        self._left = min(self._burst, self._left + amount)

    @property
    def is_full(self) -> bool:
        """As if nobody had taken anything: it may be forgotten."""
        self.wait()
        return self._left >= self._burst


class Buckets:
    """One bucket for each key (a user, an address); those that are full again are forgotten."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._swept_at = clock()
        self._buckets: dict[Hashable, Bucket] = {}

    def of(self, key: Hashable, rate: float, burst: float) -> Bucket:
        now = self._clock()
        if now - self._swept_at >= _WINDOW:
            self._swept_at = now
            self._buckets = {key: it for key, it in self._buckets.items() if not it.is_full}
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(rate, burst, self._clock)
        return bucket

    def __len__(self) -> int:
        return len(self._buckets)


class MinuteLimit:
    """At most so many in a minute for each key, a minute that begins with the key's first one."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._swept_at = clock()
        self._minutes: dict[Hashable, tuple[float, int]] = {}  # when it is over, how many

    def count(self, key: Hashable) -> int:
        """Count one; how many they are in the key's minute."""
        now = self._clock()
        if now - self._swept_at >= _WINDOW:
            self._swept_at = now
            self._minutes = {key: it for key, it in self._minutes.items() if now < it[0]}
        over_at, count = self._minutes.get(key, (now, 0))
        if now >= over_at:
            over_at, count = now + _WINDOW, 0
        self._minutes[key] = over_at, count + 1
        return count + 1

    def counted(self, key: Hashable) -> int:
        over_at, count = self._minutes.get(key, (0.0, 0))
        return count if self._clock() < over_at else 0
