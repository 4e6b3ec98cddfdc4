"""What the project wants to reach, each goal with its figure from the same run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.bench import Row

SLOW, FAST = "1,000 deliveries/s", "10,000 deliveries/s"
_CPU = "CPU us/delivery"


@dataclass(frozen=True)
class Goal:
    """`figure` is None where what it needs was not measured."""

    what: str
    bound: Literal["<=", ">="]
    limit: float
    unit: str
    figure: float | None

    @property
    def is_met(self) -> bool | None:
        if self.figure is None:
            return None
        return self.figure <= self.limit if self.bound == "<=" else self.figure >= self.limit

    def cells(self) -> tuple[str, str, str, str]:
        """What, the goal, the figure, the verdict."""
        verdict = {None: "not measured", True: "met", False: "NOT MET"}[self.is_met]
        figure = "-" if self.figure is None else f"{_short(self.figure)}{self.unit}"
        return self.what, f"{self.bound} {_short(self.limit)}{self.unit}", figure, verdict


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def goals(rows: Sequence[Row]) -> list[Goal]:
    known = {(row.scenario, row.server, row.load): row for row in rows}

    def figure(scenario: str, server: str, load: str, name: str) -> float | None:
        row = known.get((scenario, server, load))
        return None if row is None or name not in row.runs[0] else row[name]

    def ratio(scenario: str, ours: str, peer: str, load: str, name: str) -> float | None:
        mine, theirs = figure(scenario, ours, load, name), figure(scenario, peer, load, name)
        return None if mine is None or not theirs else mine / theirs

    found: list[Goal] = []
    add: Callable[..., None] = lambda *parts: found.append(Goal(*parts))  # noqa: E731
    for size in (500, 2_000):
        load = f"{size} sockets, "
        for ours, peer, limit, rate in (
            ("ours-serve-unstored", "socketio", 0.8, FAST),
            ("ours-serve-unstored", "nchan", 1.5, FAST),
            ("ours-serve-unstored", "tutorial-pubsub", 0.05, SLOW),
            ("ours-uvicorn-unstored", "socketio", 1.2, FAST),
            ("ours-serve", "socketio", 0.8, FAST),
            ("ours-serve", "nchan", 1.5, FAST),
            ("ours-serve", "tutorial-pubsub", 0.05, SLOW),
            ("ours-uvicorn", "socketio", 1.2, FAST),
        ):
            what = f"fan-out to {size:,}: CPU per delivery, {ours} : {peer}"
            add(what, "<=", limit, "x", ratio("fanout", ours, peer, load + rate, _CPU))
    for database, times in (("sqlite", 5), ("postgresql", 10)):
        ours, peer = f"ours-serve-{database}", f"tutorial-{database}"
        faster = ratio("persisted", ours, peer, "saturated", "messages/s")
        add(f"persisted, {database}: messages/s, ours : tutorial", ">=", times, "x", faster)
        cheaper = ratio("persisted", peer, ours, "saturated", "CPU us/message")
        add(f"persisted, {database}: messages per CPU second, the same", ">=", times, "x", cheaper)
        if database == "sqlite":
            cost = figure("persisted", ours, "saturated", "CPU us/message")
            late = figure("persisted", ours, "200/s", "p99 ms")
            add("persisted, sqlite: CPU per message at saturation", "<=", 700, " us", cost)
            add("persisted, sqlite: p99 at 200/s", "<=", 25, " ms", late)
    for server in ("ours-serve", "ours-uvicorn"):
        for count in ("2,000", "5,000"):
            memory = figure("idle", server, f"{count} sockets", "kB PSS/socket")
            add(f"idle: memory of a socket, of {count} on {server}", "<=", 28, " kB", memory)
        change = figure("idle", server, "cost of an event beside idle sockets", "change %")
        add(f"idle: an event beside 10,000 instead of 10, {server}", "<=", 10, " %", change)
    for server in ("ours-serve", "ours-uvicorn"):
        back = figure("storm", server, "5,000 clients", "seconds until all are back")
        row = known.get(("storm", server, "5,000 clients"))
        add(f"storm: 5,000 back, {server}", "<=", 10, " s", back)
        refused = float(row.wrong.get("not back", 0)) if row else None
        add(f"storm: not back, {server}", "<=", 0, "", refused)
    for database in ("sqlite", "postgresql"):
        server, load = f"ours-serve-{database}", "announce to 10,000, 2,000 online"
        stored = figure("bell", server, load, "seconds until the last is stored")
        last = figure("bell", server, load, "last frame after created_at ms")
        add(f"announce to 10,000, {database}: last row stored", "<=", 2, " s", stored)
        add(f"announce to 10,000, {database}: online ones served", "<=", 1000, " ms", last)
    return found
