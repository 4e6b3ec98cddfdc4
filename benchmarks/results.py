"""Keeps the figures as JSON, and brings them into the documents."""

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from os import cpu_count
from pathlib import Path

from benchmarks.bench import Row
from benchmarks.goals import FAST, SLOW, goals
from benchmarks.servers import LIMITS

_HERE = Path(__file__).resolve().parent
FILE = _HERE / "results" / "latest.json"
_DOCS = _HERE.parent / "docs"
CHART = _DOCS / "images" / "performance.svg"
PAGE = _DOCS / "explanation" / "performance.md"
_BEGIN, _END = "<!-- figures: make bench ARGS=--docs -->\n", "<!-- end of figures -->\n"
_PARTS = ("Django", "channels", "channels_redis", "daphne", "Twisted", "redis", "uvicorn")


def save(rows: Sequence[Row], file: Path = FILE) -> None:
    content = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"system": platform.system(), "cores": cpu_count()},
        "versions": {
            "Python": platform.python_version(),
            **{part: version(part) for part in _PARTS},
        },
        "limits": LIMITS,
        "goals": [
            {"what": goal.what, "bound": goal.bound, "limit": goal.limit, "unit": goal.unit,
             "figure": goal.figure, "met": goal.is_met}
            for goal in goals(rows)
        ],
        "rows": [vars(row) for row in rows],
    }  # fmt: skip
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n")


def load(file: Path = FILE) -> list[Row]:
    return [Row(**row) for row in json.loads(file.read_text())["rows"]] if file.exists() else []


def write_documents(rows: Sequence[Row]) -> None:
    """The chart, and the tables between the marks of the page."""
    CHART.write_text(chart(rows))
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_BEGIN}\n{tables(rows)}\n{_END}{after}")


def tables(rows: Sequence[Row]) -> str:
    """Markdown: the goals, then every row with its medians."""
    lines = ["| | goal | seen | |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(goal.cells())} |" for goal in goals(rows) if goal.is_met is not None]
    for scenario in dict.fromkeys(row.scenario for row in rows):
        for load in dict.fromkeys(row.load for row in rows if row.scenario == scenario):
            chosen = [row for row in rows if (row.scenario, row.load) == (scenario, load)]
            names = [name for name in dict.fromkeys(n for r in chosen for n in r.runs[0])
                     if name not in _UNTOLD]  # fmt: skip
            lines += ["", f"**{scenario}, {load}**", "", f"| | {' | '.join(names)} |"]
            lines.append("|---|" + "---:|" * len(names))
            for row in chosen:
                cells = [_cell(row[name]) if name in row.runs[0] else "" for name in names]
                lines.append(f"| {row.server} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_UNTOLD = ("fell behind", "frame bytes", "CPU share", "load average", "deliveries", "messages")


def _cell(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_FANOUT = (
    "nchan",
    "ws",
    "socketio",
    "ours-serve-unstored",
    "ours-serve",
    "ours-uvicorn-unstored",
    "ours-uvicorn",
    "tutorial-pubsub",
    "tutorial-core",
)
_BAR, _WIDTH, _LABEL = 26, 720, 190  # pixels


def chart(rows: Sequence[Row]) -> str:
    """Two panels of bars: what a delivery costs, and how many messages are stored a second."""
    known = {(row.scenario, row.server, row.load): row for row in rows}
    cost = []
    for server in _FANOUT:
        rate = SLOW if server.startswith("tutorial") else FAST
        row = known.get(("fanout", server, f"500 sockets, {rate}"))
        if row is not None:
            cost.append((server, row["CPU us/delivery"]))
    stored = [
        (row.server, row["messages/s"])
        for row in rows
        if (row.scenario, row.load) == ("persisted", "saturated") and row.server != "null"
    ]
    body, top = "", 8
    for title, bars in (
        ("Fan-out, 500 sockets: server CPU per delivery, microseconds (less is better)", cost),
        ("Persisted chat, 50 pairs: messages a second (more is better)", stored),
    ):
        body += f'<text class="title" x="0" y="{top + 16}">{escape(title)}</text>\n'
        top += 28
        most = max((value for _, value in bars), default=1.0)
        for name, value in bars:
            width = max(1.0, (_WIDTH - _LABEL - 80) * value / most)
            kind = "ours" if name.startswith("ours") else "peer"
            middle = top + 16
            body += f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>'
            body += (
                f'<rect class="{kind}" x="{_LABEL}" y="{top + 3}" width="{width:.0f}" height="18"/>'
            )
            body += f'<text x="{_LABEL + width + 6:.0f}" y="{middle}">{_cell(value)}</text>\n'
            top += _BAR
        top += 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img" '
        f'aria-label="Server CPU per delivery, and messages stored a second, by server">\n'
        "<style>text{font:13px sans-serif;fill:#333}.title{font-weight:bold}"
        ".ours{fill:#2563eb}.peer{fill:#9ca3af}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.peer{fill:#6b7280}}</style>\n"
        f"{body}</svg>\n"
    )
