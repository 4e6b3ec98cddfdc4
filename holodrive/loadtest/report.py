"""A load test as text, and as one HTML file that needs no other: curves as SVG, no script."""

from collections.abc import Sequence
from html import escape
from typing import Any

from holodrive.loadtest.figures import KINDS, Figures, quantile

_WHAT = {
    "connect": "connect to first frame",
    "ack": "message to its ack",
    "delivery": "message to the others",
    "notification": "message to the bell",
}
_SPREAD = ("count", "p50", "p90", "p99", "max")
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 820, 220, 64, 12, 28
_LINES = 4  # of the grid
_GENERATOR_BUSY = 0.9

Series = tuple[str, Sequence[float | None]]


def text(figures: Figures, title: str) -> str:
    summary = figures.summary()
    rows = [
        [_WHAT[kind], *(_number(spread[name]) for name in _SPREAD)]
        for kind, spread in summary["latency_ms"].items()
    ]
    table = [["milliseconds", *_SPREAD], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [title, *_sentences(summary), ""]
    for row in table:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return "\n".join(lines)


def _sentences(summary: dict[str, Any]) -> list[str]:
    lines = [
        f"{summary['most_sockets']:,} sockets at most, {summary['sent']:,} messages in "
        f"{summary['seconds']:,} s: lost {summary['lost']}, doubled {summary['doubled']}"
    ]
    if summary["interrupted"]:
        lines.append("Interrupted: this is what was seen until then.")
    problems = sorted(summary["problems"].items())
    if problems:
        lines.append("Problems: " + ", ".join(f"{name} {count:,}" for name, count in problems))
    share = summary["generator_share"]
    lines.append(f"The generator used {share:.0%} of a core.")
    if share > _GENERATOR_BUSY:
        lines.append("It was the limit: latencies are its own. Use several, or fewer people.")
    return lines


def html(figures: Figures, title: str) -> str:
    summary = figures.summary()
    table = "".join(
        f"<tr><th scope=row>{_WHAT[kind]}</th>"
        + "".join(f"<td>{_number(spread[name])}</td>" for name in _SPREAD)
        + "</tr>"
        for kind, spread in summary["latency_ms"].items()
    )
    head = "".join(f"<th scope=col>{name}</th>" for name in _SPREAD)
    charts = "".join(
        f"<h2>{_WHAT[kind].capitalize()}, ms</h2>{_chart(_curves(figures, kind))}"
        for kind in KINDS
        if figures.all(kind)
    )
    seconds = figures.seconds
    load = _chart([("sockets", [one.sockets for one in seconds])])
    sent = _chart([("messages a second", [one.sent for one in seconds])])
    sentences = "".join(f"<p>{escape(line)}</p>" for line in _sentences(summary))
    return _PAGE.format(
        title=escape(title),
        sentences=sentences,
        head=head,
        table=table,
        charts=charts,
        load=load,
        sent=sent,
        style=_STYLE,
    )


def _curves(figures: Figures, kind: str) -> list[Series]:
    """p50 and p99 of each second, in milliseconds; nothing where nothing happened."""
    return [
        (name, [_ms(quantile(one.took[kind], share)) for one in figures.seconds])
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]


def _chart(series: Sequence[Series]) -> str:
    count = max(len(values) for _, values in series)
    top = _round_up(max((value or 0) for _, values in series for value in values) if count else 0)
    inner, wide = _HEIGHT - _TOP - _BOTTOM, _WIDTH - _LEFT

    def x(second: float) -> float:
        return round(_LEFT + wide * second / max(1, count - 1), 1)

    def y(value: float) -> float:
        return round(_TOP + inner * (1 - value / top), 1)

    parts = []
    for line in range(_LINES + 1):
        value = top * line / _LINES
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y(value)}" y2="{y(value)}"/>'
        )
        parts.append(f'<text class="y" x="{_LEFT - 8}" y="{y(value) + 4}">{_number(value)}</text>')
    for second in sorted({round((count - 1) * part / _LINES) for part in range(_LINES + 1)}):
        anchor = "end" if second == count - 1 and second else "middle"
        parts.append(
            f'<text x="{x(second)}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{second} s</text>'
        )
    for number, (_, values) in enumerate(series):
        for run in _runs(values):
            points = " ".join(f"{x(second)},{y(value)}" for second, value in run)
            if len(run) == 1:
                second, value = run[0]
                parts.append(f'<circle class="s{number}" cx="{x(second)}" cy="{y(value)}" r="2"/>')
            else:
                parts.append(f'<polyline class="s{number}" points="{points}"/>')
    names = ", ".join(name for name, _ in series)
    legend = "".join(f'<span class="s{i}">{name}</span>' for i, (name, _) in enumerate(series))
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{names} over time">{"".join(parts)}</svg>'
        f"<figcaption>{legend}</figcaption></figure>"
    )


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """The points, cut where there are none."""
    runs: list[list[tuple[int, float]]] = [[]]
    for second, value in enumerate(values):
        if value is not None:
            runs[-1].append((second, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 8, 10, 20 ...: four steps of it are round."""
    step = 1e-2
    while True:
        for factor in (1, 2, 4, 8):
            if value <= factor * step:
                return factor * step
        step *= 10


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --s0: #1f6feb; --s1: #d1480c; }
@media (prefers-color-scheme: dark) { :root { --s0: #6cb0ff; --s1: #ff9d66; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 54rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } figure { margin: 0; }
table { border-collapse: collapse; margin-top: 1.5rem; width: 100%; }
@media (max-width: 36rem) { table { font-size: .8rem; } th, td { padding: .3rem .2rem; } }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: right; }
td { font-variant-numeric: tabular-nums; }
tr > :first-child { text-align: left; font-weight: normal; }
svg { display: block; width: 100%; height: auto; font-size: 12px; fill: currentColor; }
.y { text-anchor: end; } .grid { stroke: var(--line); }
polyline { fill: none; stroke-width: 1.5; }
polyline.s0 { stroke: var(--s0); } polyline.s1 { stroke: var(--s1); }
circle.s0 { fill: var(--s0); } circle.s1 { fill: var(--s1); }
figcaption span { margin-right: 1.5rem; }
figcaption span::before { content: "\\2014\\00a0"; font-weight: bold; }
figcaption .s0::before { color: var(--s0); } figcaption .s1::before { color: var(--s1); }
"""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
<h1>{title}</h1>
{sentences}
<table><thead><tr><th scope=col>milliseconds</th>{head}</tr></thead><tbody>{table}</tbody></table>
{charts}
<h2>Open sockets</h2>{load}
<h2>Messages sent in each second</h2>{sent}
</html>
"""
