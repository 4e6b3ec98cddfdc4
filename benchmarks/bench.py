"""What all scenarios share: which servers in which order, the meter, and where figures are kept."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import Processes
from benchmarks.servers import Server, Servers
from benchmarks.workers import Worker

_TOLD = 5  # figures of a run that the progress shows


@dataclass
class Row:
    """One server under one load, and its runs: a figure's name tells its unit."""

    scenario: str
    server: str
    load: str
    runs: list[dict[str, float]] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=dict)  # over all runs

    def __getitem__(self, figure: str) -> float:
        """The median of its runs."""
        return median(run[figure] for run in self.runs)


class Bench:
    """One run of the benchmark. `only`: names of the servers to measure, all if it is empty."""

    def __init__(self, rounds: int, seconds: float, only: list[str], quick: bool) -> None:
        self.rounds = rounds
        self.seconds = seconds
        self.only = only
        self.quick = quick
        self.rows: list[Row] = []
        self.adds = False  # to the runs that rows have from before, instead of replacing them
        self._measured: set[tuple[str, str, str]] = set()
        self.missing: list[str] = []
        self.began = time.monotonic()
        self._workers: list[Worker[Any]] = []

    def each(
        self, catalogue: dict[str, Callable[[Servers], Server]], rounds: int = 0
    ) -> Iterator[tuple[str, Server]]:
        """Start the servers asked for, then name each in turn, once in every round: what changes
        on the machine meanwhile hits all alike.
        """
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holodrive-bench-")))
            home.chmod(0o755)  # nginx's worker is another user
            processes = stack.enter_context(Processes())
            stack.callback(self._end_workers)
            servers = Servers(processes, home)
            started: dict[str, Server] = {}
            for name, start in catalogue.items():
                if not self.only or name in self.only:
                    self.say(f"starting {name}")
                    try:
                        started[name] = start(servers)
                    except FileNotFoundError as problem:
                        self.missing.append(f"{name} was not measured: {problem}")
            rounds = rounds or self.rounds
            for turn in range(rounds):
                for name, server in started.items():
                    self.say(f"round {turn + 1} of {rounds}: {name}")
                    yield name, server
                    self._end_workers()

    def worker(self, load: Callable[..., Any], *args: Any) -> Worker[Any]:
        """A generator process; it ends with this server's turn at the latest."""
        made = Worker(load, *args)
        self._workers.append(made)
        return made

    def _end_workers(self) -> None:
        while self._workers:
            self._workers.pop().end()

    def record(
        self,
        scenario: str,
        server: str,
        load: str,
        figures: dict[str, float],
        wrong: dict[str, int] | None = None,
    ) -> None:
        row = self.row(scenario, server, load)
        if row is not None and not self.adds and (scenario, server, load) not in self._measured:
            row.runs, row.wrong = [], {}
        self._measured.add((scenario, server, load))
        if row is None:
            row = Row(scenario, server, load)
            self.rows.append(row)
        row.runs.append({**figures, "load average": os.getloadavg()[0]})
        for what, count in (wrong or {}).items():
            row.wrong[what] = row.wrong.get(what, 0) + count
        told = ", ".join(f"{name} {value:,.1f}" for name, value in list(figures.items())[:_TOLD])
        bad = ", ".join(f"{what} {count}" for what, count in (wrong or {}).items() if count)
        self.say(f"  {server}, {load}: {told}{'  WRONG: ' + bad if bad else ''}", keep=True)

    def row(self, scenario: str, server: str, load: str) -> Row | None:
        for row in self.rows:
            if (row.scenario, row.server, row.load) == (scenario, server, load):
                return row
        return None

    def say(self, text: str, keep: bool = False) -> None:
        """On a terminal progress is one line that is written over."""
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        line = f"[{minutes}:{seconds:02}] {text}"
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="\n" if keep else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


class Meter:
    """The CPU that a server and its parts use, from now on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began = time.perf_counter()
        self._cpu, self._parts = server.cpu(), server.part_cpu()

    def per(self, unit: str, count: int) -> dict[str, float]:
        """In microseconds for each, and as a share of one core since the beginning."""
        used = self._server.cpu() - self._cpu
        seconds = time.perf_counter() - self._began
        figures = {
            f"CPU us/{unit}": 1e6 * used / max(1, count),
            "CPU share": used / seconds,
        }
        now = self._server.part_cpu()
        for part, before in self._parts.items():
            figures[f"{part} us/{unit}"] = 1e6 * (now[part] - before) / max(1, count)
        return figures


def percentiles(what: str, seconds: list[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds, both of the same run."""
    ordered = sorted(seconds) or [0.0]
    return {
        f"{what}p{percent} ms": 1e3 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
        for percent in (50, 99)
    }
