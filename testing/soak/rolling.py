"""A deploy that nobody notices: behind nginx two processes are replaced one by one by those of
another release, while the sockets of many people chat.

The releases differ as two may (testing/next_release), and neither reads the other's wake-ups. With
`--set old=<commit>` the old one is that commit, and the new one this project as it stands.
"""

import asyncio
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from django.db import connection
from django.utils import timezone
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from chat.models import Message
from testing import next_release
from testing.client import access_token
from testing.nginx import HOST, Nginx
from testing.patience import START
from testing.server import ServerProcess
from testing.services import ROOT
from testing.soak import NO_LIMITS, Progress, Verdict
from testing.soak.client import Arrival, Client
from testing.soak.delivery import compare
from testing.soak.people import conversation_of, person

_STANDSTILL = 60.0  # seconds without any progress, after which the run is given up
_LATE = 3.0  # seconds for what comes twice: a reconcile, and some


class Scale(NamedTuple):
    sockets: int = 2_000
    in_conversation: int = 20
    messages_per_second: float = 100.0
    connects_per_second: float = 200.0
    drain: float = 10.0  # seconds, as it is by default
    old: str = ""


FULL = Scale()
SHORT = Scale(sockets=60, in_conversation=6, messages_per_second=20.0, drain=4.0)


def prove(scale: Scale, seed: int, progress: Progress) -> Verdict:
    with ExitStack() as stack:
        code = ROOT if not scale.old else stack.enter_context(_checked_out(scale.old))
        if not scale.old:
            stack.enter_context(_expanded())
        settings = {"REALTIME_DRAIN_SECONDS": str(scale.drain), "ALLOWED_HOSTS": HOST}
        servers = []
        for _ in range(2):
            servers.append(ServerProcess("serve", code, **settings, **NO_LIMITS))
            stack.callback(servers[-1].discard)
        front = Nginx(" max_fails=0; server ".join(server.address for server in servers))
        stack.callback(front.stop)
        crowd = _Crowd(scale, seed, front)
        asyncio.run(crowd.live_through(lambda server: _replace(server, scale), servers, progress))
        return _judge(scale, crowd)


@contextmanager
def _checked_out(revision: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="holodrive-old-") as home:
        archive = subprocess.run(
            ["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x", "-C", home], input=archive.stdout, check=True)
        yield Path(home)


@contextmanager
def _expanded() -> Iterator[None]:
    """The new release's migration has run, before the first of its processes starts."""
    with connection.cursor() as cursor:
        cursor.execute(next_release.EXPAND)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(next_release.CONTRACT)


def _replace(server: ServerProcess, scale: Scale) -> None:
    server.stop(4 * scale.drain + 20)  # this machine plays the clients as well
    server.code = ROOT
    if not scale.old:
        server.environment |= {"DJANGO_SETTINGS_MODULE": next_release.SETTINGS}
    server.start()


class _Person(Client):
    """Comes in through nginx, and says what it is told to say."""

    def __init__(self, number: int, token: str, conversation: int, front: Nginx, seed: int) -> None:
        chance = random.Random(seed + number)  # noqa: S311
        super().__init__(conversation, token, [HOST], iter(()), chance)
        self.number = number
        self.said: set[str] = set()
        self._front = front

    def _dial(self, address: str) -> connect:
        return connect(
            f"wss://{address}:{self._front.port}{self._asked()}",
            host="127.0.0.1",
            port=self._front.port,
            ssl=self._front.tls,
            **{**self._options(), "open_timeout": START},
        )

    async def say(self) -> None:
        text = f"message-{self.number}-{len(self.said)}"
        self.said.add(text)
        self.unacknowledged[text] = text
        with suppress(ConnectionClosed):  # then it is sent again with the next connect
            await self._send(text, text)


class _Crowd:
    """Everybody, by conversation."""

    def __init__(self, scale: Scale, seed: int, front: Nginx) -> None:
        self._scale = scale
        self._chance = random.Random(seed)  # noqa: S311
        muted = timezone.now() + timedelta(days=1)
        self.conversations: dict[int, list[_Person]] = {}
        for start in range(0, scale.sockets, scale.in_conversation):
            numbers = range(start, min(start + scale.in_conversation, scale.sockets))
            users = [person() for _ in numbers]
            id = conversation_of(*users, muted_until=muted).pk
            self.conversations[id] = [
                _Person(number, access_token(user), id, front, seed)
                for number, user in zip(numbers, users, strict=True)
            ]
        self.people = [one for people in self.conversations.values() for one in people]
        self.began = 0.0  # when the first process was told to stop, by time.monotonic

    async def live_through(
        self,
        replace: Callable[[ServerProcess], None],
        servers: Sequence[ServerProcess],
        progress: Progress,
    ) -> None:
        tasks = []
        try:
            for one in self.people:
                tasks.append(asyncio.create_task(one.run()))
                await asyncio.sleep(1 / self._scale.connects_per_second)
            await self._until(lambda: self._connected() / len(self.people), tasks)
            chat = asyncio.create_task(self._chat())
            tasks.append(chat)
            self.began = time.monotonic()
            for number, server in enumerate(servers, 1):
                progress(f"replacing process {number} of {len(servers)}")
                await asyncio.to_thread(replace, server)
                progress(f"replaced process {number}: waiting for its sockets")
                await self._until(lambda: self._connected() / len(self.people), tasks)
            chat.cancel()
            progress("waiting for the last messages")
            await self._until(self._delivered, [task for task in tasks if task is not chat])
            await asyncio.sleep(_LATE)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _chat(self) -> None:
        while True:
            await self._chance.choice(self.people).say()
            await asyncio.sleep(1 / self._scale.messages_per_second)

    def _connected(self) -> int:
        return sum(one.is_connected for one in self.people)

    def _delivered(self) -> float:
        """How much of what was said has arrived, over all who should get it."""
        said = arrived = 0
        for people in self.conversations.values():
            said += len(people) * sum(len(one.said) for one in people)
            arrived += sum(len(one.arrivals) for one in people)
        return arrived / said if said else 1.0

    async def _until(self, share: Callable[[], float], tasks: Sequence[asyncio.Task[None]]) -> None:
        """Until that share is 1, or stands still: then the verdict says what lacks."""
        seen, since = share(), time.monotonic()
        while (now := share()) < 1 and time.monotonic() - since < _STANDSTILL:
            if now != seen:
                seen, since = now, time.monotonic()
            for task in tasks:
                if task.done():
                    task.result()  # raises what ended it
            await asyncio.sleep(0.1)


def _judge(scale: Scale, crowd: _Crowd) -> Verdict:
    faults = Counter(lost=0, doubled=0, out_of_order=0)
    stored = 0
    for id, people in crowd.conversations.items():
        rows = _stored(id)
        stored += len(rows)
        faults += compare(people, set().union(*(one.said for one in people)), rows)
    dials = sorted(dial for one in crowd.people for dial in one.dials if dial > crowd.began)
    return Verdict(
        checked=stored,
        wanted=sum(len(one.said) for one in crowd.people),
        faults={name: faults[name] for name in ("lost", "doubled", "out_of_order")}
        | {"reloads": sum(one.reloads for one in crowd.people), "idle_releases": _idle(scale)},
        measured={"reconnects_per_s_max": (most_in_a_second(dials), bound(scale))},
        where=f"{connection.vendor}, nginx, {scale.sockets} sockets, {len(dials)} reconnects",
    )


def _stored(conversation: int) -> list[Arrival]:
    rows = Message.objects.filter(conversation=conversation).order_by("id")
    return [Arrival(*row) for row in rows.values_list("seq", "id", "text")]


def _idle(scale: Scale) -> int:
    """How many of the two releases have stored nothing: then the run has shown nothing."""
    if scale.old:
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT mood FROM chat_message")
        return 2 - len(cursor.fetchall())


def bound(scale: Scale) -> float:
    """Reconnects a second. At worst all sockets were on the process that stops: evenly over its
    window, and as many again for chance and for a busy machine.
    """
    return 2 * scale.sockets / scale.drain


def most_in_a_second(moments: Sequence[float]) -> int:
    most = first = 0
    for place, moment in enumerate(moments, 1):
        while moments[first] <= moment - 1:
            first += 1
        most = max(most, place - first)
    return most
