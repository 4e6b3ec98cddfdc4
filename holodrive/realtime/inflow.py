"""What one socket may send, whatever its frames are. Counted before they are parsed: a turn of the
parser costs the same whether the frame says anything, and a ping or a fragment of one byte reaches
no other limit.
"""

from time import monotonic

from django.conf import settings

from holodrive.realtime.limits import Clock

# At least so many frames, whatever the limit of messages is: pings and their answers need a few.
_FRAMES_PER_SECOND = 20
_FRAMES_BURST = 100
# A client may send its first commands in one go (REALTIME_FRAMES_BURST, if that is more); a new
# socket has no more.
_FRAMES_AT_FIRST = 30
_BYTES_PER_SECOND = 65_536
_BYTES_BURST = 1_048_576
_LARGE = 1_024  # bytes; a frame of more is counted by its bytes
_REST = 0.5  # seconds of reading nothing, once the budget is used up
_TOO_LONG = 10.0  # seconds of it

# What is still read after our own close: what was on its way, and the answer.
_LAST_FRAMES = 32
_LAST_BYTES = 16_384

_HEAD = 6  # bytes that a client's frame has at least: its mask is four of them
_CONTINUATION, _CONTROL = 0, 8  # opcodes; from there on they are control frames (RFC 6455, 5.2)


class Inflow:
    """The budget of one socket. With REALTIME_FRAMES_PER_SECOND=0 whole messages cost nothing;
    control frames, empty ones and fragments always do.
    """

    __slots__ = ("_bytes", "_clock", "_filled_at", "_frames", "_is_last", "_over_since")

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._filled_at = clock()
        self._frames: float = max(_FRAMES_AT_FIRST, settings.REALTIME_FRAMES_BURST)
        self._bytes: float = _BYTES_BURST
        self._over_since: float | None = None
        self._is_last = False

    def close(self) -> None:
        """Our close frame is out: the budget is small now, and fills no more."""
        self._frames, self._bytes, self._is_last = _LAST_FRAMES, _LAST_BYTES, True

    def room(self, rest_of_frame: int) -> int:
        """How many bytes may be parsed now: the rest of the frame that has begun, and as many
        heads as frames may begin.
        """
        if self._frames < 1 or self._bytes <= 0:
            return 0
        room = rest_of_frame + int(self._frames) * _HEAD
        return min(room, int(self._bytes)) if self._is_last else room

    def parsed(self, size: int) -> None:
        """After our close all bytes count, also those of a frame that began before it."""
        if self._is_last:
            self._bytes -= size

    def begun(self, opcode: int, final: bool, length: int) -> None:
        """Charge a frame whose head was read."""
        if self._is_last:
            self._frames -= 1
            return
        is_message = _CONTINUATION < opcode < _CONTROL and final and length > 0
        if is_message and not settings.REALTIME_FRAMES_PER_SECOND:
            return
        self._bytes -= length
        if length < _LARGE:
            self._frames -= 1

    def dripped(self) -> None:
        """Charge a read that brought next to nothing: a parser's turn as well."""
        self._frames -= 1

    def rest(self) -> float:
        """Seconds in which nothing more is read; 0 while something is left."""
        now = self._clock()
        if not self._is_last:
            self._fill(now)
        if self._frames >= 1 and self._bytes > 0:
            return 0.0
        if self._over_since is None:
            self._over_since = now
        return _REST

    def _fill(self, now: float) -> None:
        seconds, self._filled_at = now - self._filled_at, now
        rate = max(_FRAMES_PER_SECOND, 2 * settings.REALTIME_FRAMES_PER_SECOND)
        burst = max(_FRAMES_BURST, 3 * settings.REALTIME_FRAMES_BURST)
        self._frames = min(burst, self._frames + seconds * rate)
        self._bytes = min(_BYTES_BURST, self._bytes + seconds * _BYTES_PER_SECOND)
        if self._frames >= _FRAMES_AT_FIRST and self._bytes >= _BYTES_BURST / 2:
            self._over_since = None  # it has rested

    @property
    def is_exhausted(self) -> bool:
        """After our close: it was the last. Before: ten seconds over the budget, so no burst."""
        if self._over_since is None:
            return False
        return self._is_last or self._clock() - self._over_since >= _TOO_LONG
