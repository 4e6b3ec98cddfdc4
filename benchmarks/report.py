"""What is printed: for each load of each scenario a table of medians, then what went wrong."""

import sys
from collections.abc import Sequence
from itertools import groupby

from benchmarks.bench import Row
from benchmarks.goals import goals
from benchmarks.servers import LIMITS

BUSY = 0.9  # of a core: from here on the generator may have been the limit
_SHARES = ("CPU share", "generator share")


def print_report(rows: Sequence[Row]) -> None:
    for title, group in groupby(
        sorted(rows, key=lambda row: (row.scenario, row.load)), lambda r: (r.scenario, r.load)
    ):
        print(f"\n{title[0]}, {title[1]}: medians")
        _print_table(list(group))
    print("\nGoals")
    for goal in goals(rows):
        what, limit, figure, verdict = goal.cells()
        print(f"  {what:<68} {limit:>12} {figure:>12}  {verdict}")
    print()
    for sentence in sentences(rows):
        print(sentence)


def sentences(rows: Sequence[Row]) -> list[str]:
    """What went wrong, and under which conditions all of it was measured."""
    wrong = [
        f"WRONG: {row.scenario}, {row.server}, {row.load}: "
        + ", ".join(f"{count:,} {what}" for what, count in row.wrong.items() if count)
        for row in rows
        if any(row.wrong.values())
    ]
    behind = [
        f"BEHIND: {row.server} did not keep up with {row.load}: its latency is a queue's."
        for row in rows
        if row.runs[0].get("fell behind") is not None and row["fell behind"]
    ]
    busy = [
        f"THE LIMIT? The generator used {share:.0%} of a core: {row.server}, {row.load}."
        for row in rows
        if (share := max(run.get("generator share", 0) for run in row.runs)) > BUSY
    ]
    limits = ", ".join(
        f"{name.removeprefix('REALTIME_')}={value}" for name, value in LIMITS.items()
    )
    return [*wrong, *behind, *busy, f"Our limits (0 is off; the peers have none): {limits}."]


def is_correct(rows: Sequence[Row]) -> bool:
    return not any(count for row in rows for count in row.wrong.values())


def _print_table(rows: list[Row]) -> None:
    figures = list(dict.fromkeys(name for row in rows for run in row.runs for name in run))
    lines = [["server", *figures]]
    for row in rows:
        lines.append([row.server, *(_cell(row, name) for name in figures)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        print(line[0].ljust(widths[0]), *rest, sep="  ", file=sys.stdout)


def _cell(row: Row, figure: str) -> str:
    if figure not in row.runs[0]:
        return "-"
    value = row[figure]
    if figure in _SHARES:
        return f"{value:.0%}"
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:,.1f}"
