"""Shows what runs, by process: a view for a terminal, refreshed each second."""

import json
import math
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from typing import Any

import redis
from channels.layers import get_channel_layer
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from holodrive.realtime import status
from holodrive.realtime.layer import ConfirmedPubSubLayer
from holodrive.realtime.status import Answers

_WAIT_SECONDS = 2.0  # for the slowest process
_REFRESH_SECONDS = 1.0
_TOP = "\033[H\033[J"  # the cursor to the corner, and nothing below it
_AWAY = (redis.RedisError, OSError)
_COLUMNS = (
    *("process", "up", "sockets", "users", "streams", "deliveries", "lag p99", "log read"),
    *("answered", "db queue", "db wait p99", "db pool", "outbox"),
)


class Command(BaseCommand):
    help = "Show sockets, streams, lag and slow readers of every process. Ctrl-C ends it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="print it once")
        parser.add_argument(
            "--json", dest="as_json", action="store_true", help="print it once, as JSON"
        )

    def handle(self, *args: Any, once: bool, as_json: bool, **options: Any) -> None:
        layer = get_channel_layer()
        if not isinstance(layer, ConfirmedPubSubLayer):
            raise CommandError("the channel layer is not Redis: there is nobody to ask")
        first = _ask(layer)
        if as_json:
            self.stdout.write(_document(first))
        elif once or not self.stdout.isatty():
            self.stdout.write("\n".join(_screen(first, None, 0)))
        else:
            try:
                self._follow(layer, first)
            except KeyboardInterrupt:
                self.stdout.write("")

    def _follow(self, layer: ConfirmedPubSubLayer, before: Answers) -> None:
        last, lines = time.monotonic(), _screen(before, None, 0)
        while True:
            self.stdout.write(_TOP + "\n".join(lines))
            self.stdout.flush()
            time.sleep(_REFRESH_SECONDS)
            try:
                answers = _ask(layer)
            except CommandError as problem:
                lines = [str(problem)]  # it may come back
                continue
            now = time.monotonic()
            lines = _screen(answers, before, now - last)
            before, last = answers, now


def _ask(layer: ConfirmedPubSubLayer) -> Answers:
    try:
        answers = status.ask(layer, _WAIT_SECONDS)
    except _AWAY as problem:
        if isinstance(problem.__cause__ or problem.__context__, FileNotFoundError):
            raise CommandError("no server runs in this folder: manage.py serve") from None
        raise CommandError(f"Redis does not answer: {problem}") from None
    if not answers.processes and not answers.silent:
        raise CommandError("no server runs with this REDIS_URL and REALTIME_PREFIX")
    return answers


def _document(answers: Answers) -> str:
    for process in answers.processes:
        for where, name in ((process, "lag"), (process["database"], "wait")):
            bound = status.quantile(where[name], 0.99)
            where[f"{name}_p99"] = bound if bound is None or math.isfinite(bound) else None
    return json.dumps(answers._asdict(), indent=2)


def _screen(answers: Answers, before: Answers | None, seconds: float) -> list[str]:
    """With what was a moment ago: rates, and lag, of the time between. Else: since the start."""
    processes = answers.processes
    known = {process["process"]: process for process in before.processes} if before else {}
    sockets, closes = _sum(processes, "sockets"), _sum(processes, "closes")
    users = sum(process["users"] for process in processes)
    total = f"{len(processes)} processes   {sockets.total():,} sockets   {users:,} users"
    lines = [
        f"HoloDrive realtime   {total}   {timezone.now():%H:%M:%S} UTC",
        "",
        *_table(_COLUMNS, [_row(one, known.get(one["process"]), seconds) for one in processes]),
        "",
        f"sockets  {_listed(sockets)}",
        f"closes   {_listed(closes)}",
    ]
    failures = {
        "wake-ups not taken by Redis": sum(one["publish_failures"] for one in processes),
        "events read from the log": sum(one["repairs"] for one in processes),
        "frames dropped": sum(one["dropped"] for one in processes),
        "refused by the database": sum(one["database"]["failures"] for one in processes),
    }
    lines.append(f"since the start  {_listed(Counter(failures))}")
    if answers.silent:
        count = f"{answers.silent} of {answers.silent + len(processes)}"
        lines.append(f"without an answer in {_WAIT_SECONDS:g} s: {count} processes")
    lines += sorted({f"notice  {text}" for one in processes for text in one.get("notices", ())})
    slowest = sorted(
        (
            {**one, "process": process["process"]}
            for process in processes
            for one in process["slowest"]
        ),
        key=lambda one: -one["bytes"],
    )[:10]
    if slowest:
        rows = [
            [str(one["user"]), one["endpoint"], one["process"], _bytes(one["bytes"])]
            for one in slowest
        ]
        lines += ["", *_table(("slow reader: user", "endpoint", "process", "waiting"), rows)]
    return lines


def _row(now: dict[str, Any], before: dict[str, Any] | None, seconds: float) -> list[str]:
    database, pool = now["database"], now["database"]["pool"]
    deliveries = f"{now['deliveries']:,}"
    lag, wait = now["lag"], database["wait"]
    if before and seconds:
        deliveries = f"{(now['deliveries'] - before['deliveries']) / seconds:,.0f}/s"
        lag = _since(lag, before["lag"])
        wait = _since(wait, before["database"]["wait"])
    return [
        now["process"],
        _span(now["seconds"]),
        f"{sum(now['sockets'].values()):,}",
        f"{now['users']:,}",
        f"{now['streams']:,}",
        deliveries,
        _bound(status.quantile(lag, 0.99)),
        f"{now['reconciled_seconds_ago']:.1f} s ago",
        f"{1000 * now['answered_after']:.0f} ms",
        f"{database['queue']}",
        _bound(status.quantile(wait, 0.99)),
        f"{pool['size'] - pool['free']}/{pool['most']}, {pool['waiting']} wait" if pool else "-",
        _bytes(now["outbox_bytes"]),
    ]


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (names, *rows)
    ]


def _sum(processes: list[dict[str, Any]], name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for process in processes:
        total.update(process[name])
    return total


def _listed(counts: Counter[str]) -> str:
    return "   ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def _since(now: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {bound: count - before.get(bound, 0) for bound, count in now.items()}


def _bound(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return "> 5 s" if math.isinf(seconds) else f"<= {1000 * seconds:g} ms"


def _span(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"


def _bytes(count: int) -> str:
    return f"{count / 1024:,.0f} KiB" if count >= 1024 else f"{count} B"
