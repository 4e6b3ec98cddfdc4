"""What a load test has seen, second by second and in total. No I/O."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

KINDS = ("connect", "ack", "delivery", "notification")


def quantile(values: Sequence[float], share: float) -> float | None:
    """Of the values themselves, without interpolation; None if there are none."""
    if not values:
        return None
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


@dataclass
class Second:
    """What happened in one second of the test. Latencies in seconds."""

    sockets: int = 0
    sent: int = 0
    took: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})


@dataclass
class _Message:
    sent: float
    expected: int  # sockets of others, which were open when it was sent
    seen_by: Counter[int] = field(default_factory=Counter)


class Figures:
    """Clients tell it what they send and get. A message's latency counts from its send."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.began = clock()
        self.seconds: list[Second] = []
        self.sockets = 0
        self.most_sockets = 0
        self.problems: Counter[str] = Counter()  # errors, closes and refused connects
        self.interrupted = False
        self.generator_share = 0.0  # of one core
        self._messages: dict[str, _Message] = {}
        self._texts: dict[int, float] = {}  # message id -> when it was sent
        self._early: dict[int, list[float]] = {}  # notifications ahead of their message

    def second(self) -> Second:
        index = int(self._clock() - self.began)
        while len(self.seconds) <= index:
            self.seconds.append(Second(sockets=self.sockets))
        return self.seconds[index]

    def opened(self, seconds: float) -> None:
        self.sockets += 1
        self.most_sockets = max(self.most_sockets, self.sockets)
        self._took("connect", seconds)
        self.second().sockets = self.sockets

    def closed(self) -> None:
        self.sockets -= 1
        self.second().sockets = self.sockets

    def sent(self, client_message_id: str, others: int) -> None:
        self._messages[client_message_id] = _Message(self._clock(), others)
        self.second().sent += 1

    def acked(self, client_message_id: str) -> None:
        if client_message_id in self._messages:
            self._took("ack", self._clock() - self._messages[client_message_id].sent)

    def refused(self, client_message_id: str) -> None:
        self._messages[client_message_id].expected = 0

    def delivered(self, client_message_id: str, message_id: int, socket: int, own: bool) -> None:
        """A `chat_message` came, on that socket."""
        message = self._messages.get(client_message_id)
        if message is None:
            return  # somebody else's
        self._texts[message_id] = message.sent
        for heard in self._early.pop(message_id, ()):
            self._took("notification", heard - message.sent)
        if not own:
            message.seen_by[socket] += 1
            self._took("delivery", self._clock() - message.sent)

    def notified(self, message_id: int) -> None:
        if message_id in self._texts:
            self._took("notification", self._clock() - self._texts[message_id])
        else:
            self._early.setdefault(message_id, []).append(self._clock())

    def _took(self, kind: str, seconds: float) -> None:
        self.second().took[kind].append(seconds)

    @property
    def lost(self) -> int:
        return sum(max(0, one.expected - len(one.seen_by)) for one in self._messages.values())

    @property
    def doubled(self) -> int:
        return sum(one.seen_by.total() - len(one.seen_by) for one in self._messages.values())

    def all(self, kind: str) -> list[float]:
        return [seconds for one in self.seconds for seconds in one.took[kind]]

    def summary(self) -> dict[str, Any]:
        """For reports. Latencies in milliseconds."""
        return {
            "seconds": len(self.seconds),
            "interrupted": self.interrupted,
            "most_sockets": self.most_sockets,
            "sent": len(self._messages),
            "lost": self.lost,
            "doubled": self.doubled,
            "problems": dict(self.problems),
            "generator_share": round(self.generator_share, 2),
            "latency_ms": {kind: _spread(self.all(kind)) for kind in KINDS},
        }


def _spread(values: Sequence[float]) -> dict[str, float | int | None]:
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    found = {name: quantile(values, share) for name, share in shares.items()}
    spread = {name: None if one is None else round(1000 * one, 2) for name, one in found.items()}
    return {"count": len(values), **spread}
