"""What is printed and kept: medians over the rounds, the ratios, whether the goal is reached."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.generator import Measurement
from benchmarks.processes import LIMITS

GOAL = 0.1  # ours, at most this part of the tutorial's server CPU per delivery
BUSY = 0.9  # of a core: from here on the generator may have been the limit
_RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"
_PARTS = (
    "Django",
    "channels",
    "channels_redis",
    "daphne",
    "Twisted",
    "redis",
    "uvicorn",
    "websockets",
)


@dataclass
class Row:
    """One server at one rate (messages a second), and its runs, one for each round."""

    name: str
    rate: float
    runs: list[Measurement] = field(default_factory=list)

    def cpu(self) -> list[float]:
        """Server CPU per delivery of each run, in microseconds."""
        return [1e6 * run.server_cpu / max(1, run.deliveries) for run in self.runs]

    def valkey_cpu(self) -> list[float]:
        return [1e6 * run.valkey_cpu / max(1, run.deliveries) for run in self.runs]

    def is_correct(self) -> bool:
        return all(run.is_correct() for run in self.runs)

    def generator_share(self) -> float:
        """Of a core, in the busiest run."""
        return max(run.generator_share for run in self.runs)


def ratio(ours: Row, theirs: Row) -> float:
    return median(ours.cpu()) / (median(theirs.cpu()) or float("inf"))


def print_report(rows: Sequence[Row], ours: Row, tutorial: Row, sockets: int) -> None:
    print(f"\nServer CPU per delivery, {sockets} sockets in one conversation")
    print(f"(medians of {len(ours.runs)} runs)")
    head = (
        "server",
        "messages/s",
        "deliveries/s",
        "CPU us",
        "min-max",
        "p50 ms",
        "p99 ms",
        "Valkey us",
        "generator",
    )
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        print(line[0].ljust(widths[0]), *rest, sep="  ")
    print()
    for row in rows:
        if row is not tutorial:
            part = ratio(row, tutorial)
            print(f"{row.name}, {row.rate:g}/s : tutorial = {part:.3f}")
    for sentence in (*_faults(rows), *_notes(rows, ours, tutorial)):
        print(sentence)
    reached = ratio(ours, tutorial) <= GOAL
    print(
        f"Goal: ours at most {GOAL:g} of the tutorial's CPU per delivery at the same rate: "
        f"{ratio(ours, tutorial):.3f}, {'reached' if reached else 'MISSED'}"
    )


def _cells(row: Row) -> tuple[str, ...]:
    cpu, runs = row.cpu(), row.runs
    share = row.generator_share()
    return (
        row.name,
        f"{row.rate:g}",
        f"{median(run.deliveries / run.seconds for run in runs):,.0f}",
        f"{median(cpu):.1f}",
        f"{min(cpu):.1f}-{max(cpu):.1f}",
        f"{1e3 * median(run.latency(50) for run in runs):.1f}",
        f"{1e3 * median(run.latency(99) for run in runs):.1f}",
        f"{median(row.valkey_cpu()):.1f}",
        f"{share:.0%}{' (the limit?)' if share > BUSY else ''}",
    )


def _faults(rows: Sequence[Row]) -> list[str]:
    wrong = [
        f"WRONG: {row.name}, {row.rate:g}/s: of {run.deliveries + run.lost:,} deliveries "
        f"{run.lost} lost, {run.doubled} doubled, {run.disordered} out of order"
        for row in rows
        for run in row.runs
        if not run.is_correct()
    ]
    behind = [
        f"BUSY: {row.name}, {row.rate:g}/s fell behind in {late} of {len(row.runs)} runs: its "
        f"latency is a queue's (load now {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)."
        for row in rows
        if (late := sum(run.fell_behind() for run in row.runs))
    ]
    total = sum(run.deliveries for row in rows for run in row.runs)
    return [*(wrong or [f"Each of {total:,} deliveries came once and in order."]), *behind]


def _notes(rows: Sequence[Row], ours: Row, tutorial: Row) -> list[str]:
    size, their_size = ours.runs[0].frame_bytes, tutorial.runs[0].frame_bytes
    share = max(row.generator_share() for row in rows)
    limits = [f"{name.removeprefix('REALTIME_')}={value}" for name, value in LIMITS.items()]
    return [
        "CPU: user + system of the server's processes, from /proc, from before the first message",
        "  until 0.5 s after the last delivery: storing, timers and idling are in it.",
        "Ours stores each message and a notification (SQLite), with an event for each, and",
        "  acknowledges it to the sender. The tutorial stores nothing; its layer drops what goes",
        "  beyond 100 waiting messages, so it is measured at a low rate, with fewer in a run.",
        f"Both get the same bytes from the sender; a delivered frame has {size} bytes, the",
        f"  tutorial's {their_size}. Log level WARNING and no access log for all.",
        "Our limits (REALTIME_..., 0 is off; the tutorial has none):",
        f"  {', '.join(limits[:3])},",
        f"  {', '.join(limits[3:])}.",
        f"The generator, a process of its own, used at most {share:.0%} of a core in a run (above",
        f"  {BUSY:.0%} it may be the limit). Latency ends when it has read the frame: its own way",
        "  through all sockets is in it.",
    ]


def write_json(rows: Sequence[Row], ours: Row, tutorial: Row, sockets: int) -> Path:
    """Keep every run of this benchmark beside the medians."""
    content = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "versions": {
            "Python": platform.python_version(),
            **{part: version(part) for part in _PARTS},
        },
        "sockets": sockets,
        "limits": LIMITS,
        "goal": GOAL,
        "ratio": round(ratio(ours, tutorial), 4),
        "correct": all(row.is_correct() for row in rows),
        "rows": [_row_as_json(row) for row in rows],
    }
    _RESULTS.parent.mkdir(exist_ok=True)
    _RESULTS.write_text(json.dumps(content, indent=2) + "\n")
    return _RESULTS


def _row_as_json(row: Row) -> dict[str, Any]:
    return {
        "server": row.name,
        "messages_per_second": row.rate,
        "cpu_us_per_delivery": round(median(row.cpu()), 2),
        "valkey_us_per_delivery": round(median(row.valkey_cpu()), 2),
        "p50_ms": round(1e3 * median(run.latency(50) for run in row.runs), 2),
        "p99_ms": round(1e3 * median(run.latency(99) for run in row.runs), 2),
        "runs": [_run_as_json(run) for run in row.runs],
    }


def _run_as_json(run: Measurement) -> dict[str, Any]:
    return {
        "deliveries": run.deliveries,
        "lost": run.lost,
        "doubled": run.doubled,
        "out_of_order": run.disordered,
        "fell_behind": run.fell_behind(),
        "seconds": round(run.seconds, 3),
        "server_cpu_seconds": round(run.server_cpu, 2),
        "valkey_cpu_seconds": round(run.valkey_cpu, 2),
        "generator_share": round(run.generator_share, 3),
        "p50_ms": round(1e3 * run.latency(50), 2),
        "p99_ms": round(1e3 * run.latency(99), 2),
        "frame_bytes": run.frame_bytes,
    }
