"""Fan-out: many sockets in one conversation, one of which sends numbered messages at a fixed rate.

Every frame is parsed, and every socket must get each number once and in order. But the frames of
one message are the same bytes for all sockets: bytes not seen before are parsed in full, equal
bytes are the same message. So reading costs the generator little.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.bench import Bench, Meter, percentiles
from benchmarks.frames import Link, LoadError, faults, open_link
from benchmarks.servers import Server, Servers

SIZES = (500, 2_000)
SLOW, FAST = 1_000, 10_000  # deliveries a second; the tutorial keeps up with the slow rate
PAYLOAD = 320  # bytes of a delivered frame, whoever sends it
_JOINING_AT_ONCE = 40  # Daphne's backlog is 50
_JOIN_SECONDS = 60.0
_PATIENCE = 8.0  # seconds of silence until what has not come counts as lost
_SETTLE_SECONDS = 0.5  # after the last frame due: for doubled ones, and what the server still does
_BEHIND_SECONDS = 1.0
_TEXT_LENGTH = 120  # ours: the frame has more in it
_FEWEST = 5  # messages in a run
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Dialect:
    """How a server's frames look. `length` is that of the text, so that what is delivered has
    PAYLOAD bytes for all of them."""

    path: str
    length: int
    opening: tuple[str, ...] = ()  # what each socket sends first
    before: str = ""  # what stands before the JSON, both ways
    after: str = ""
    joined: str = ""  # what the frame begins with that says one has joined; none: the handshake
    ping: str = ""

    def sent(self, number: int) -> bytes:
        content = {"type": "chat_message", "message": text_of(number, self.length)}
        text = json.dumps(content, separators=(",", ":"))
        return f"{self.before}{text}{self.after}".encode()

    def number_of(self, payload: bytes) -> int | None:
        """Of a message; None if it is another frame. Raises ValueError, LoadError."""
        text = payload.decode()
        if not text.startswith(f"{self.before}{{"):
            return None
        content = json.loads(text[len(self.before) : len(text) - len(self.after)])
        if content.get("type") == "error":
            raise LoadError(f"{content}")
        if "message" not in content or content.get("type") == "connection_established":
            return None
        message = str(content["message"])
        number = message.partition(" ")[0]
        if not number.isdigit() or message != text_of(int(number), self.length):
            return None
        return int(number)


def text_of(number: int, length: int) -> str:
    """The text of a message, of one length for all."""
    return f"{number} The driver waits at the north gate. ".ljust(length, ".")


_JSON = len('{"type":"chat_message","message":""}')
OURS = Dialect("", _TEXT_LENGTH, joined='{"type":"connection_established"')
TUTORIAL = Dialect("/ws/chat/lobby/", PAYLOAD - len('{"message": ""}'))
PLAIN = Dialect("/lobby", PAYLOAD - _JSON)
SOCKETIO = Dialect(
    "/socket.io/?EIO=4&transport=websocket",
    PAYLOAD - _JSON - len('42["chat_message",]'),
    opening=("40",),
    before='42["chat_message",',
    after="]",
    joined="40",
    ping="2",
)


@dataclass
class Part:
    """What the sockets of one generator have received, by message: when, and what was wrong."""

    arrivals: dict[int, list[float]] = field(default_factory=dict)
    sent: dict[int, float] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    frame_bytes: int = 0


class Crowd:
    """The sockets of one generator, all in one conversation."""

    def __init__(self, server: Server, dialect: Dialect, first: int = 0) -> None:
        self.server = server
        self.dialect = dialect
        self._first = first
        self._links: list[Link] = []
        self._received: list[list[int]] = []
        self._known: dict[bytes, int] = {}  # the number, by payload
        self._arrivals: dict[int, list[float]] = {}
        self._sent: dict[int, float] = {}
        self._count, self._due = 0, -1
        self._stirred = asyncio.Event()
        self._problem: LoadError | None = None

    async def join(self, count: int) -> None:
        """Open this many sockets and wait until each is in the conversation. Raises LoadError."""
        gate = asyncio.Semaphore(_JOINING_AT_ONCE)
        async with asyncio.timeout(_JOIN_SECONDS), asyncio.TaskGroup() as group:
            for index in range(self._first, self._first + count):
                group.create_task(self._join(index, gate))
        await asyncio.sleep(_SETTLE_SECONDS)  # some servers join after their answer
        self._raise()

    async def _join(self, index: int, gate: asyncio.Semaphore) -> None:
        path, token = self.dialect.path, ""
        if self.server.greets:
            pair = self.server.pairs[0]
            person = (pair.rider, pair.driver)[index % 2]
            path, token = f"/ws/chat/{pair.conversation}/", person.token
        received: list[int] = []
        joined = asyncio.get_running_loop().create_future()

        def take(payload: bytes) -> None:
            number = self._known.get(payload)
            if number is None:
                number = self._parse(payload, link, joined)
                if number is None:
                    return
            received.append(number)
            self._arrivals[number].append(time.perf_counter())
            self._count += 1
            if self._count == self._due:
                self._stirred.set()

        async with gate:
            link = await open_link(self.server.port, path, take, self.failed, token, index)
            await link.upgraded
            for text in self.dialect.opening:
                link.send(text.encode())
            if self.dialect.joined:
                await joined
        self._links.append(link)
        self._received.append(received)

    def _parse(self, payload: bytes, link: Link, joined: asyncio.Future[None]) -> int | None:
        if self.dialect.ping and payload == self.dialect.ping.encode():
            link.send(b"3")  # Engine.IO's pong
            return None
        if (
            self.dialect.joined
            and not joined.done()
            and payload.startswith(self.dialect.joined.encode())
        ):
            joined.set_result(None)
            return None
        try:
            number = self.dialect.number_of(payload)
        except (ValueError, LoadError) as problem:
            self.failed(LoadError(str(problem)))
            return None
        if number is not None:
            self._known[payload] = number
            self._arrivals.setdefault(number, [])
        return number

    async def expect(self, numbers: range) -> None:
        """What comes from now on is counted, until so many have come to each socket."""
        self._known.clear()
        self._arrivals, self._sent = {}, {}
        self._count, self._due = 0, len(numbers) * len(self._links)
        self._stirred.clear()
        for received in self._received:
            received.clear()

    async def send(self, numbers: range, rate: float) -> Part:
        """Send these, so many a second, and wait as `receive` does."""
        began = time.perf_counter()
        for index, number in enumerate(numbers):
            await asyncio.sleep(max(0.0, began + index / rate - time.perf_counter()))
            payload = self.dialect.sent(number)
            self._sent[number] = time.perf_counter()
            self._links[0].send(payload)
        return await self.receive(numbers)

    async def receive(self, numbers: range) -> Part:
        """Wait until each socket has them all, or nothing comes any more. Raises LoadError."""
        seen = -1
        while self._count < self._due and self._count > seen:
            seen = self._count
            self._raise()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._stirred.wait()
            except TimeoutError:
                continue  # a busy machine makes deliveries late: as long as any come, none is lost
        await asyncio.sleep(_SETTLE_SECONDS)
        self._raise()
        part = Part(self._arrivals, self._sent, frame_bytes=max(map(len, self._known), default=0))
        for received in self._received:
            lost, doubled, disordered = faults(received, numbers)
            part.lost += lost
            part.doubled += doubled
            part.disordered += disordered
        return part

    async def leave(self) -> None:
        for link in self._links:
            link.leave()
        await asyncio.sleep(_SETTLE_SECONDS)
        for link in self._links:
            link.cut()
        await asyncio.sleep(_SETTLE_SECONDS)

    def failed(self, problem: LoadError) -> None:
        self._problem = self._problem or LoadError(f"{self.server.name}: {problem}")
        self._stirred.set()

    def _raise(self) -> None:
        if self._problem:
            raise self._problem


def _unstored(servers: Servers, name: str, kind: str = "serve") -> Server:
    return servers.ours(name, kind, settings="benchmarks.unstored")


CATALOGUE: dict[str, tuple[Dialect, Callable[[Servers], Server]]] = {
    "ours-serve": (OURS, lambda servers: servers.ours("ours-serve")),
    "ours-uvicorn": (OURS, lambda servers: servers.ours("ours-uvicorn", "uvicorn")),
    "ours-serve-unstored": (OURS, lambda servers: _unstored(servers, "ours-serve-unstored")),
    "ours-uvicorn-unstored": (
        OURS,
        lambda servers: _unstored(servers, "ours-uvicorn-unstored", "uvicorn"),
    ),
    "tutorial-core": (TUTORIAL, lambda servers: servers.tutorial("tutorial-core", "core")),
    "tutorial-pubsub": (TUTORIAL, lambda servers: servers.tutorial("tutorial-pubsub", "pubsub")),
    "socketio": (SOCKETIO, lambda servers: servers.node("socketio")),
    "ws": (PLAIN, lambda servers: servers.node("ws")),
    "nchan": (PLAIN, lambda servers: servers.nchan("nchan")),
    "null": (PLAIN, lambda servers: servers.null("null")),
}


def measure(bench: Bench) -> None:
    starts = {name: start for name, (_, start) in CATALOGUE.items()}
    for name, server in bench.each(starts):
        for size in SIZES[:1] if bench.quick else SIZES:
            run(bench, name, server, CATALOGUE[name][0], size)


def run(
    bench: Bench,
    name: str,
    server: Server,
    dialect: Dialect,
    size: int,
    scenario: str = "fanout",
    generators: int = 1,
) -> None:
    """One crowd at the slow rate, and, where the server can, at the fast one."""
    each = size // generators
    crowds = [bench.worker(Crowd, server, dialect, place * each) for place in range(generators)]
    for ready in [crowd.begin(Crowd.join, each) for crowd in crowds]:
        ready()
    speeds = (SLOW,) if name.startswith("tutorial") else (SLOW, FAST)
    for deliveries in (0, *speeds):  # the first is a warm-up
        rate = (deliveries or SLOW) / size
        count = max(_FEWEST, round(rate * bench.seconds)) if deliveries else 3
        numbers = range(first := next(_numbers), first + count)
        for _ in range(count - 1):
            next(_numbers)
        for crowd in crowds:
            crowd.run(Crowd.expect, numbers)
        meter = Meter(server)
        began = time.perf_counter()
        sends, *receives = crowds
        waiting = [sends.begin(Crowd.send, numbers, rate)]
        waiting += [crowd.begin(Crowd.receive, numbers) for crowd in receives]
        parts = [wait() for wait in waiting]
        if not deliveries:
            continue
        sent = parts[0].sent
        late = [
            arrived - sent[number]
            for part in parts
            for number, arrivals in part.arrivals.items()
            if number in sent
            for arrived in arrivals
        ]
        took = max(
            (max(arrivals) for part in parts for arrivals in part.arrivals.values()), default=began
        ) - min(sent.values())
        figures = meter.per("delivery", len(late))
        figures |= {
            "deliveries/s": len(late) / took,
            **percentiles("", late),
            "fell behind": float(took > (count - 1) / rate + _BEHIND_SECONDS),
            "deliveries": len(late),
            "frame bytes": parts[0].frame_bytes,
            "generator share": max(crowd.share for crowd in crowds),
        }
        wrong = {
            "lost": sum(part.lost for part in parts),
            "doubled": sum(part.doubled for part in parts),
            "out of order": sum(part.disordered for part in parts),
        }
        load = f"{size} sockets, {deliveries:,} deliveries/s"
        bench.record(scenario, name, load, figures, wrong)
    for ready in [crowd.begin(Crowd.leave) for crowd in crowds]:
        ready()
    for crowd in crowds:
        crowd.end()
