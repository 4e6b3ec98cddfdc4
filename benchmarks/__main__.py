"""The benchmark's plan: which servers, at which rates, in which order.

Exit code 0 if all was delivered once and in order and the goal is reached, else 1.
"""

import argparse
import asyncio
import itertools
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import report
from benchmarks.generator import Crowd, LoadError
from benchmarks.processes import STOPS, Server, ServerError, Servers
from benchmarks.report import Row

_SLOW = 2.0  # messages a second: 1,000 deliveries, which the tutorial keeps up with on one core
_FAST = 20.0  # 10,000 deliveries a second
_WARM_UP = 5  # messages
_SERVE = ["manage.py", "serve", "--bind", "HOST:PORT"]
_UVICORN = (
    "-m uvicorn holodrive.asgi:application --host HOST --port PORT --loop asyncio --ws websockets"
)
_UVICORN += " --no-access-log --log-level warning --ws-per-message-deflate false"


def main() -> int:
    options = _options()
    # However it is stopped, it ends as by Ctrl-C and leaves no process behind.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in STOPS[1:]:
        signal.signal(number, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        with tempfile.TemporaryDirectory(prefix="holodrive-benchmark-") as home:
            return _benchmark(options, Path(home))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (LoadError, ServerError) as problem:
        print(f"\nerror: {problem}", file=sys.stderr)
        return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    return parser.parse_args()


def _benchmark(options: argparse.Namespace, home: Path) -> int:
    servers = Servers(home)
    try:
        _progress("starting three servers")
        ours = servers.holodrive("ours on Daphne (manage.py serve)", _SERVE)
        tutorial = servers.tutorial("Channels tutorial on Daphne")
        uvicorn = servers.holodrive("ours on uvicorn", _UVICORN.split())
        same, theirs = Row(ours.name, _SLOW), Row(tutorial.name, _SLOW)
        fast, fallback = Row(ours.name, _FAST), Row(uvicorn.name, _FAST)
        plan = [(ours, [same, fast]), (tutorial, [theirs]), (uvicorn, [fallback])]
        numbers = itertools.count(1)
        for turn, (server, rows) in itertools.product(range(options.rounds), plan):
            _progress(f"round {turn + 1} of {options.rounds}: {server.name}")
            asyncio.run(_round(server, rows, options, numbers))
    finally:
        _progress("")
        servers.stop()
    rows = [same, theirs, fast, fallback]
    report.print_report(rows, same, theirs, options.sockets)
    print(f"Every run: {report.write_json(rows, same, theirs, options.sockets)}")
    reached = report.ratio(same, theirs) <= report.GOAL
    return 0 if reached and all(row.is_correct() for row in rows) else 1


async def _round(
    server: Server, rows: list[Row], options: argparse.Namespace, numbers: Iterator[int]
) -> None:
    """Join, warm up, and measure this server at each of the rows' rates."""
    crowd = Crowd(server)
    await crowd.join(options.sockets)
    try:
        await crowd.measure(_next(numbers, _WARM_UP), _SLOW)
        for row in rows:
            count = max(1, round(options.seconds * row.rate))
            row.runs.append(await crowd.measure(_next(numbers, count), row.rate))
    finally:
        await crowd.leave()


def _next(numbers: Iterator[int], count: int) -> range:
    """The next numbers: no message of another run can be taken for one of these."""
    first = next(numbers)
    for _ in range(count - 1):
        next(numbers)
    return range(first, first + count)


def _progress(text: str) -> None:
    """On a terminal one line that is written over, else a line each."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
