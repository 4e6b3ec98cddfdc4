"""Persisted chat: pairs that talk, where every message is stored, notified and delivered.

Everybody has a chat socket and a notification socket. A message is complete when its sender has
seen it, the other one has it, and the other one's notification is there.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from benchmarks.bench import Bench, Meter, percentiles
from benchmarks.frames import Link, LoadError, faults, open_link
from benchmarks.servers import Pair, Person, Server, Servers

_TEXT_LENGTH = 120
_PREVIEW = "New message in conversation: "
_JOIN_SECONDS = 30.0
_SETTLE_SECONDS = 0.5  # for doubled ones, and for joins that a server does not tell of
_WARM_UP_SECONDS = 1.0
_BEHIND_SECONDS = 1.0
RATE = 200.0
_PATIENCE = 15.0  # seconds of silence until what has not come counts as lost


@dataclass
class Talk:
    """What one generator has seen. Times are in seconds, `latencies` one for each message, from
    when it was due until the other one had it; `notified` the same for its notification.
    """

    messages: int = 0
    seconds: float = 0.0  # from the first message to the last completed
    window: float = 0.0  # in which messages were sent
    within: int = 0  # completed by its end
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    gaps: int = 0  # places where a stream's seq did not go on by one
    unacknowledged: int = 0
    refused: int = 0  # answered with an error frame
    latencies: list[float] = field(default_factory=list)
    notified: list[float] = field(default_factory=list)


def text_of(number: int) -> str:
    """The text of a message, of one length for all."""
    return f"{number} The driver waits at the north gate. ".ljust(_TEXT_LENGTH, ".")


def preview_of(number: int) -> str:
    """What the notification of that message says."""
    return f"{_PREVIEW}{text_of(number)[:50]}..."


def number_in(text: str, expected: Callable[[int], str]) -> int:
    """The number of a text that `expected` has made. Raises LoadError if it is another."""
    number = text.removeprefix(_PREVIEW).partition(" ")[0]
    if not number.isdigit() or text != expected(int(number)):
        raise LoadError(f"not a text that was sent: {text!r}")
    return int(number)


class Speaker:
    """One person with two sockets."""

    def __init__(self, talks: "Pairs", person: Person) -> None:
        self.person = person
        self.talks = talks
        self.other: Speaker
        self.joined = 0
        self.seqs: dict[str, int] = {}  # of each socket
        self.numbers: dict[str, list[int]] = {"echo": [], "chat": [], "notification": []}
        self.acknowledged = 0
        self.sent: dict[int, float] = {}  # when each was due
        self.missing: dict[int, int] = {}  # how many of its three are to come
        self.chat: Link
        self.on_complete: Callable[[Speaker], None] | None = None

    async def join(self, server: Server, conversation: int, source: int) -> list[Link]:
        asked = "" if self.person.token else f"?user={self.person.id}&other={self.other.person.id}"
        links = []
        for name, path in (("chat", f"/ws/chat/{conversation}/"), ("bell", "/ws/notifications/")):
            links.append(
                await open_link(
                    server.port,
                    path + asked,
                    lambda payload, name=name: self.take(name, payload),  # type: ignore[misc]
                    self.talks.failed,
                    self.person.token,
                    source,
                )
            )
            await links[-1].upgraded
            if not server.greets:
                self.joined += 1
        self.chat = links[0]
        return links

    def take(self, socket: str, payload: bytes) -> None:
        try:
            self._take(socket, msgspec.json.decode(payload))
        except (LoadError, msgspec.DecodeError, KeyError) as problem:
            self.talks.failed(LoadError(f"{problem!r} in {payload[:300]!r}"))

    def _take(self, socket: str, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == "message_ack":
            self.acknowledged += 1
            return
        if (seq := frame.get("seq")) is not None:
            if seq != self.seqs.get(socket, seq - 1) + 1:
                self.talks.gaps += 1
            self.seqs[socket] = seq
        if kind == "chat_message":
            mine = frame["sender_id"] == self.person.id
            self._arrived("echo" if mine else "chat", number_in(frame["message"], text_of))
        elif kind == "notification":
            text = frame["notification"]["message"]
            self._arrived("notification", number_in(text, preview_of))
        elif kind == "connection_established":
            self.joined += 1
            self.seqs[socket] = frame["last_seq"]
        elif kind == "error":
            self.talks.refused += 1

    def _arrived(self, what: str, number: int) -> None:
        self.numbers[what].append(number)
        sender = self if what == "echo" else self.other
        due = sender.sent.get(number)
        if due is None:
            return  # counts as doubled
        talk = self.talks.talk
        if what != "echo":
            late = talk.latencies if what == "chat" else talk.notified
            late.append(time.perf_counter() - due)
        sender.missing[number] -= 1
        if not sender.missing[number]:
            self.talks.completed(sender)

    def say(self, due: float) -> None:
        number = self.talks.next_number()
        self.sent[number] = due
        self.missing[number] = 3
        content = {"type": "chat_message", "message": text_of(number)}
        self.chat.send(msgspec.json.encode(content))

    def forget(self) -> None:
        self.sent, self.missing, self.acknowledged = {}, {}, 0
        self.numbers = {what: [] for what in self.numbers}


class Pairs:
    """The pairs of one generator process."""

    def __init__(self, server: Server, pairs: tuple[Pair, ...]) -> None:
        self.server = server
        self.pairs = pairs
        self.talk = Talk()
        self.gaps = self.refused = 0
        self._speakers: list[Speaker] = []
        self._links: list[Link] = []
        self._number = 0
        self._complete = 0
        self._problem: LoadError | None = None
        self._stirred = asyncio.Event()
        self._until = 0.0  # closed loop: until when the next one is sent

    async def join(self) -> None:
        async with asyncio.timeout(_JOIN_SECONDS):
            for place, pair in enumerate(self.pairs):
                rider, driver = Speaker(self, pair.rider), Speaker(self, pair.driver)
                rider.other, driver.other = driver, rider
                for speaker in (rider, driver):
                    self._links += await speaker.join(self.server, pair.conversation, place)
                    self._speakers.append(speaker)
            while any(speaker.joined < 2 for speaker in self._speakers):
                self._raise()
                await asyncio.sleep(0.01)
        await asyncio.sleep(_SETTLE_SECONDS)

    async def leave(self) -> None:
        for link in self._links:
            link.leave()
        await asyncio.sleep(0.2)
        for link in self._links:
            link.cut()

    async def saturate(self, seconds: float) -> Talk:
        """Everybody sends the next message when the one before is complete."""
        self._begin()
        began = time.perf_counter()
        self._until = began + seconds
        for speaker in self._speakers:
            speaker.say(time.perf_counter())
        await asyncio.sleep(seconds)
        self._until = 0.0
        return await self._end(began, seconds, self._complete)

    async def pace(self, rate: float, seconds: float) -> Talk:
        """So many messages a second, whatever comes of them. Each is late from when it was due."""
        self._begin()
        began = time.perf_counter()
        for index in range(round(rate * seconds)):
            due = began + index / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            self._raise()
            self._speakers[index % len(self._speakers)].say(due)
        return await self._end(began, time.perf_counter() - began, self._complete)

    def _begin(self) -> None:
        self.talk = Talk()
        self.gaps = self.refused = self._complete = 0
        for speaker in self._speakers:
            speaker.forget()

    async def _end(self, began: float, window: float, within: int) -> Talk:
        due = sum(len(speaker.sent) for speaker in self._speakers)
        while self._complete < due:
            self._raise()
            self._stirred.clear()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._stirred.wait()
            except TimeoutError:
                break  # the rest is lost
        ended = time.perf_counter()
        await asyncio.sleep(_SETTLE_SECONDS)
        self._raise()
        talk = self.talk
        talk.messages, talk.window, talk.within = due, window, within
        talk.seconds, talk.gaps, talk.refused = ended - began, self.gaps, self.refused
        for speaker in self._speakers:
            expected = {"echo": speaker.sent}
            expected |= {"chat": speaker.other.sent, "notification": speaker.other.sent}
            for what, numbers in speaker.numbers.items():
                lost, doubled, disordered = faults(numbers, expected[what])
                talk.lost += lost
                talk.doubled += doubled
                talk.disordered += disordered
            if self.server.greets:
                talk.unacknowledged += abs(len(speaker.sent) - speaker.acknowledged)
        return talk

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def completed(self, sender: Speaker) -> None:
        self._complete += 1
        self._stirred.set()
        if time.perf_counter() < self._until:
            sender.say(time.perf_counter())

    def failed(self, problem: LoadError) -> None:
        self._problem = self._problem or LoadError(f"{self.server.name}: {problem}")
        self._stirred.set()

    def _raise(self) -> None:
        if self._problem:
            raise self._problem


def measure(bench: Bench) -> None:
    """Every server in turn, in each round: at saturation, then at a rate of 200 a second."""
    catalogue: dict[str, Callable[[Servers], Server]] = {
        f"{name}-{database}": partial(start, database=database)
        for database in ("sqlite", "postgresql")
        for name, start in {
            "ours-serve": lambda servers, database: servers.ours("ours-serve", "serve", database),
            "ours-uvicorn": lambda servers, database: servers.ours(
                "ours-uvicorn", "uvicorn", database
            ),
            "tutorial": lambda servers, database: servers.tutorial_orm("tutorial", database),
            "tutorial-tuned": lambda servers, database: servers.tutorial_orm(
                "tutorial-tuned", database, tuned=True
            ),
        }.items()
    }
    catalogue["null"] = lambda servers: servers.null("null")
    for name, server in bench.each(catalogue):
        run(bench, name, server)


def run(bench: Bench, name: str, server: Server, scenario: str = "persisted") -> None:
    worker = bench.worker(Pairs, server, server.pairs)
    worker.run(Pairs.join)
    worker.run(Pairs.saturate, _WARM_UP_SECONDS)
    for load, rate in (("saturated", 0.0), (f"{RATE:g}/s", RATE)):
        meter = Meter(server)
        if rate:
            talk = worker.run(Pairs.pace, rate, bench.seconds)
        else:
            talk = worker.run(Pairs.saturate, bench.seconds)
        figures = meter.per("message", talk.messages)
        figures |= {
            "messages/s": talk.within / talk.window,
            **percentiles("", talk.latencies),
            **percentiles("notification ", talk.notified),
            "fell behind": float(talk.seconds > talk.window + _BEHIND_SECONDS),
            "messages": talk.messages,
            "generator share": worker.share,
        }
        wrong = {
            "lost": talk.lost,
            "doubled": talk.doubled,
            "out of order": talk.disordered,
            "gaps in seq": talk.gaps,
            "unacknowledged": talk.unacknowledged,
            "refused": talk.refused,
        }
        bench.record(scenario, name, load, figures, wrong)
    worker.run(Pairs.leave)
    worker.end()
