"""Every message reaches every client exactly once and in order, while sockets drop, Redis is killed
and a server process dies.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from django.db import connection
from django.utils import timezone

from chat.models import Message
from testing.client import access_token
from testing.server import ServerProcess
from testing.services import Valkey
from testing.soak import NO_LIMITS, Progress, Verdict
from testing.soak.client import Arrival, Client
from testing.soak.people import conversation_of, person

_OUTAGE = 0.7  # seconds that Redis, and the server, stay away
_STANDSTILL = 60.0  # seconds without any progress, after which the run is given up


class Scale(NamedTuple):
    messages: int = 10_000
    clients: int = 20
    drop_every: float = 2.0  # seconds
    outages: int = 10


FULL, SHORT = Scale(), Scale(messages=120, clients=6, drop_every=0.5, outages=1)


def prove(scale: Scale, seed: int, progress: Progress) -> Verdict:
    valkey = Valkey()
    servers: list[ServerProcess] = []
    try:
        servers += [ServerProcess(REDIS_URL=valkey.url, **NO_LIMITS) for _ in range(2)]
        clients = _clients(scale, seed, servers)
        asyncio.run(_Run(scale, clients, servers, valkey, progress).go())
        return judge(scale, clients, stored())
    finally:
        for server in servers:
            server.discard()
        valkey.kill()


def _clients(scale: Scale, seed: int, servers: Sequence[ServerProcess]) -> list[Client]:
    users = [person() for _ in range(scale.clients)]
    # Muted: this is about messages, not about nineteen notifications for each of them.
    muted = timezone.now() + timedelta(days=1)
    conversation = conversation_of(*users, muted_until=muted)
    addresses = [server.address for server in servers]
    share, rest = divmod(scale.messages, scale.clients)
    return [
        Client(
            conversation.pk,
            access_token(user),
            addresses,
            iter([f"message-{number}-{n}" for n in range(share + (number < rest))]),
            random.Random(seed + number),  # noqa: S311
        )
        for number, user in enumerate(users)
    ]


class _Run:
    """The clients, and what befalls them."""

    def __init__(
        self,
        scale: Scale,
        clients: list[Client],
        servers: list[ServerProcess],
        valkey: Valkey,
        progress: Progress,
    ) -> None:
        self._scale = scale
        self._clients = clients
        self._servers = servers
        self._valkey = valkey
        self._progress = progress

    async def go(self) -> None:
        faults = [
            asyncio.create_task(self._redis_comes_and_goes()),
            asyncio.create_task(self._a_server_dies()),
        ]
        tasks = [asyncio.create_task(client.run()) for client in self._clients]
        drops = [asyncio.create_task(self._drop(client)) for client in self._clients]
        try:
            await self._until(1.0, watch=[*tasks, *drops, *faults])
            await asyncio.gather(*faults)
            # What comes twice may come late: one more time offline for everybody, and a reconcile.
            await asyncio.sleep(max(self._scale.drop_every, 2) + 1)
        finally:
            for task in [*faults, *drops, *tasks]:
                task.cancel()
            await asyncio.gather(*faults, *drops, *tasks, return_exceptions=True)

    def _share(self) -> float:
        """How much of it the last of the clients has."""
        return min(client.cursor for client in self._clients) / self._scale.messages

    async def _until(self, share: float, watch: Sequence[asyncio.Task[None]] = ()) -> None:
        """Until all have that share, or nothing moves: then the verdict says what lacks."""
        seen, since = self._share(), time.monotonic()
        while (now := self._share()) < share:
            if now > seen:
                seen, since = now, time.monotonic()
                self._progress(f"{now:.0%} at every client")
            if time.monotonic() - since > _STANDSTILL:
                self._progress(f"nothing has moved for {_STANDSTILL:.0f} s")
                return
            for task in watch:
                if task.done():
                    task.result()  # raises what ended it
            await asyncio.sleep(0.05)

    async def _drop(self, client: Client) -> None:
        await asyncio.sleep(client.chance.uniform(0, self._scale.drop_every))
        while True:
            client.drop()
            await asyncio.sleep(self._scale.drop_every)

    async def _redis_comes_and_goes(self) -> None:
        for outage in range(self._scale.outages):
            await self._until((outage + 0.5) / (self._scale.outages + 0.5))
            self._valkey.kill()
            await asyncio.sleep(_OUTAGE)
            await asyncio.to_thread(self._valkey.start)

    async def _a_server_dies(self) -> None:
        await self._until(0.4)
        self._servers[0].kill()
        await asyncio.sleep(_OUTAGE)
        await asyncio.to_thread(self._servers[0].start)


def stored() -> list[Arrival]:
    rows = Message.objects.order_by("id").values_list("seq", "id", "text")
    return [Arrival(*row) for row in rows]


def compare(clients: Sequence[Client], sent: set[str], rows: Sequence[Arrival]) -> Counter[str]:
    """The faults in one conversation: what is stored against what was sent, and what each client
    got against what is stored.
    """
    texts = Counter(row.text for row in rows)
    faults = Counter(lost=len(sent - texts.keys()), doubled=0, out_of_order=0)
    faults["doubled"] += sum(count - 1 for count in texts.values())
    faults["out_of_order"] += sum(later.seq <= row.seq for row, later in itertools.pairwise(rows))
    for client in clients:
        got = Counter(client.arrivals)
        seqs = [arrival.seq for arrival in client.arrivals]
        faults["lost"] += sum(not got[row] for row in rows)
        faults["doubled"] += sum(max(0, got[row] - 1) for row in rows)
        faults["out_of_order"] += sum(b <= a for a, b in itertools.pairwise(seqs))
    return faults


def judge(scale: Scale, clients: Sequence[Client], rows: Sequence[Arrival]) -> Verdict:
    """Nothing but messages is in this conversation, so their seqs have no holes."""
    sent = {f"message-{n}-{m}" for n, client in enumerate(clients) for m in range(client.sent)}
    faults = compare(clients, sent, rows)
    if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
        faults["out_of_order"] += 1
    connects = sum(client.connects for client in clients)
    reloads = sum(client.reloads for client in clients)
    retries = sum(client.retries for client in clients)
    return Verdict(
        checked=len(sent & {row.text for row in rows}),
        wanted=scale.messages,
        faults=dict(faults),
        where=f"{connection.vendor}, {len(clients)} clients, {connects} connects, "
        f"{scale.outages} outages of Redis, 1 kill -9, {reloads} reloads, {retries} retries",
    )
