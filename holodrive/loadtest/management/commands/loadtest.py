"""Puts load on a server of one's own, and reports what its users would have seen."""

import asyncio
import math
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from holodrive.loadtest import people, report
from holodrive.loadtest.clients import Load, RefusedError
from holodrive.loadtest.figures import Figures, quantile
from holodrive.loadtest.people import Person

MOST_SOCKETS = 20_000
MOST_SECONDS = 3_600
_ROOMS = 8  # of one person: a server allows ten sockets of a user
_SCHEMES = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}
_WIDTH = 30  # of the bar


class Command(BaseCommand):
    help = "A ramp of riders, drivers and agents who chat on a server that is yours."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", nargs="?", default="", help="ws://HOST:PORT or wss://HOST:PORT")
        parser.add_argument("--i-own", default="", metavar="HOST", help="confirms that host")
        parser.add_argument("--riders", type=int, default=50)
        parser.add_argument("--drivers", type=int, default=0, help="as many as riders, if not said")
        parser.add_argument("--agents", type=int, default=2)
        parser.add_argument("--ramp", type=float, default=15, metavar="SECONDS", help="(15)")
        parser.add_argument("--hold", type=float, default=30, metavar="SECONDS", help="(30)")
        parser.add_argument(
            "--every",
            type=float,
            default=10,
            metavar="SECONDS",
            help="each person says something in each conversation so often, on average (10)",
        )
        parser.add_argument("--html", type=Path, metavar="FILE", help="write a report there")
        parser.add_argument(
            "--people", type=Path, metavar="FILE", help="use those of --prepare, and no database"
        )
        parser.add_argument(
            "--prepare",
            type=Path,
            metavar="FILE",
            help="only make the people, and write them",
        )
        parser.add_argument(
            "--forget", action="store_true", help="only remove all people of load tests"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["forget"]:
            self.stdout.write(f"{people.forget()} people of load tests removed")
        elif options["prepare"]:
            self._prepare(options["prepare"], options)
        else:
            self._test(options)

    def _prepare(self, file: Path, options: dict[str, Any]) -> None:
        if file.exists():
            raise CommandError(f"{file} is there already")
        made = _make(options, people.new_run())
        people.write(made, file)
        self.stdout.write(
            f"{len(made)} people in {file}, with tokens for {MOST_SECONDS // 60} minutes: keep it "
            "to yourself. Afterwards: manage.py loadtest --forget"
        )

    def _test(self, options: dict[str, Any]) -> None:
        url, host = _address(options["url"])
        if not 0 < options["ramp"] + options["hold"] <= MOST_SECONDS or options["every"] < 0.1:
            raise CommandError(
                f"--ramp and --hold: together at most {MOST_SECONDS} s; --every: 0.1 s or more"
            )
        self._confirm(host, options["i_own"])
        figures = self._run_with_people(url, options)
        title = f"Load test of {host}, {timezone.now():%Y-%m-%d %H:%M} UTC"
        self.stdout.write(report.text(figures, title))
        if options["html"]:
            options["html"].write_text(report.html(figures, title))
            self.stdout.write(f"Report: {options['html']}")
        if figures.lost or figures.doubled:
            raise CommandError("messages were lost or doubled")

    def _run_with_people(self, url: str, options: dict[str, Any]) -> Figures:
        if file := options["people"]:
            try:
                crowd = people.read(file)
            except (OSError, ValueError, TypeError) as problem:
                raise CommandError(f"--people {file}: {problem}") from None
            return self._run(url, crowd, options)
        run = people.new_run()
        try:
            return self._run(url, _make(options, run), options)
        except KeyboardInterrupt:
            raise CommandError("interrupted before anything was measured") from None
        finally:
            people.forget(run)

    def _confirm(self, host: str, owned: str) -> None:
        """Nobody tests a stranger's server by a typing error."""
        if owned == host or _is_loopback(host):
            return
        if not owned and sys.stdin.isatty():
            self.stdout.write(
                f"This puts load on {host}. Type its name if it is yours: ", ending=""
            )
            self.stdout.flush()
            owned = sys.stdin.readline().strip()
            if owned == host:
                return
        raise CommandError(f"{host} was not confirmed: --i-own {host}, if it is yours")

    def _run(self, url: str, crowd: list[Person], options: dict[str, Any]) -> Figures:
        _check_size(crowd)
        figures = Figures()
        load = Load(url, crowd, figures, options["every"])
        try:
            asyncio.run(self._follow(load, options["ramp"], options["hold"]))
        except RefusedError as problem:
            raise CommandError(str(problem)) from None
        return figures

    async def _follow(self, load: Load, ramp: float, hold: float) -> None:
        stop = asyncio.Event()
        with _stopped_by_signals(stop):
            shown = asyncio.create_task(self._show(load.figures, ramp, hold))
            try:
                await load.run(ramp, hold, stop)
            finally:
                shown.cancel()
                if self.stderr.isatty():
                    self.stderr.write("\r\033[K", ending="")

    async def _show(self, figures: Figures, ramp: float, hold: float) -> None:
        """One line, rewritten each second, for whoever looks on."""
        while self.stderr.isatty():
            passed = len(figures.seconds)
            share = min(1.0, passed / (ramp + hold))
            bar = "#" * round(share * _WIDTH)
            last = figures.seconds[-2] if passed > 1 else None
            p99 = quantile(last.took["delivery"], 0.99) if last else None
            latency = "" if p99 is None else f"  p99 {1000 * p99:,.0f} ms"
            self.stderr.write(
                f"\r\033[K{'ramp' if passed < ramp else 'hold'} [{bar:{_WIDTH}}] {share:4.0%}  "
                f"{figures.sockets:,} sockets  {last.sent if last else 0:,} messages/s{latency}  "
                f"{figures.problems.total():,} problems (Ctrl-C ends)",
                ending="",
            )
            self.stderr.flush()
            await asyncio.sleep(1)


def _make(options: dict[str, Any], run: str) -> list[Person]:
    riders, agents = options["riders"], options["agents"]
    drivers = options["drivers"] or riders
    if min(riders, drivers) < 1 or agents < 0:
        raise CommandError("--riders and --drivers: 1 or more is wanted")
    if max(math.ceil(riders / drivers), 1 + math.ceil(agents / riders)) > _ROOMS:
        raise CommandError(f"nobody can be in more than {_ROOMS} conversations: more --drivers")
    # Before anybody is made: riders with bell and trip, drivers with bell, agents with two more.
    _check_count(3 * riders + drivers + 4 * agents)
    lifetime = timedelta(seconds=MOST_SECONDS + 300)
    return people.make(run, riders, drivers, agents, lifetime)


def _check_size(crowd: list[Person]) -> None:
    _check_count(sum(1 + len(person.conversations) + (person.role == "admin") for person in crowd))


def _check_count(sockets: int) -> None:
    if sockets > MOST_SOCKETS:
        raise CommandError(f"{sockets:,} sockets: at most {MOST_SOCKETS:,} from one machine")


def _address(url: str) -> tuple[str, str]:
    """Scheme and place to connect to, and the host's name."""
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if scheme is None or not parts.hostname or port == -1 or parts.username or parts.query:
        raise CommandError(f"{url!r}: ws://HOST:PORT or wss://HOST:PORT is wanted")
    return f"{scheme}://{parts.netloc}", parts.hostname


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
