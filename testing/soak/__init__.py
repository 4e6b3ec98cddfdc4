"""The promises, each proved by numbers: `python -m testing.soak [name ...] [--short]`.

A proof takes a `Scale` and a seed, works on the database that Django has open, and returns a
`Verdict`. `__main__.py` runs them at full scale; `tests/` runs each in its short form.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

# One machine plays everybody: it connects and sends more than any client may.
NO_LIMITS = {
    "REALTIME_SOCKETS_PER_USER": "0",
    "REALTIME_SOCKETS_PER_STAFF": "0",
    "REALTIME_CONNECTS_PER_USER": "0",
    "REALTIME_FAILED_CONNECTS_PER_ADDRESS": "0",
    "REALTIME_FRAMES_PER_SECOND": "0",
    "REALTIME_REQUESTS_PER_SECOND": "0",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a proof has found: faults by name (all must be 0), measurements with what they must stay
    under, and how many cases were really checked of those that were to be.
    """

    checked: int
    wanted: int
    faults: dict[str, int]
    measured: dict[str, tuple[float, float]] = field(default_factory=dict)
    where: str = ""
    details: list[str] = field(default_factory=list)  # of the first faults, to find them by

    @property
    def holds(self) -> bool:
        within = all(value < bound for value, bound in self.measured.values())
        return within and not any(self.faults.values()) and self.checked >= self.wanted

    def __str__(self) -> str:
        counts = [f"{name} {count}" for name, count in self.faults.items()]
        sizes = [
            f"{name} {value:.3g} bound {bound:g}" for name, (value, bound) in self.measured.items()
        ]
        missing = f" of {self.wanted}" if self.checked < self.wanted else ""
        return " ".join([*counts, *sizes, f"checked {self.checked}{missing}"])


Progress = Callable[[str], None]
