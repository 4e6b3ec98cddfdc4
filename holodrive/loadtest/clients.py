"""The sockets of a load test: each person listens to notifications, is in conversations, and now
and then says something.
"""

import asyncio
import itertools
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from holodrive.loadtest.figures import Figures
from holodrive.loadtest.people import Person

_CONNECT_SECONDS = 20.0
_AGAIN_SECONDS = 1.0  # until a socket that ended is opened again
_LAST_SECONDS = 20.0  # at most, for what is on its way at the end
_LOOKS_AT_THE_END = 100
_LETTERS = str.maketrans("0123456789", "ghijklmnop")
_TEXTS = ("On my way.", "I am at the main entrance.", "Two minutes, please.", "Thank you!")


class RefusedError(Exception):
    """The server does not let the people of this test in."""


class Load:
    """One run. `url` is ws://HOST:PORT or wss://HOST:PORT."""

    def __init__(
        self, url: str, people: Sequence[Person], figures: Figures, seconds_between: float
    ) -> None:
        self.figures = figures
        self._url = url
        self._people = people
        self.seconds_between = seconds_between
        self.in_room: Counter[int] = Counter()  # open sockets of a conversation
        self._ending = asyncio.Event()
        self.silent = asyncio.Event()
        self._keys = itertools.count(1)
        self._run = uuid.uuid4().hex[:8]  # the same people may be used again

    async def run(self, ramp: float, hold: float, stop: asyncio.Event) -> None:
        """Raises RefusedError if nobody gets in; else goes on until the end, or `stop`."""
        await self._probe()
        used, began = time.process_time(), time.monotonic()
        tasks = [
            asyncio.create_task(self._live(person, ramp * place / len(self._people)))
            for place, person in enumerate(random.sample(self._people, len(self._people)))
        ]
        try:
            await _first(stop, ramp + hold)
            self.figures.interrupted = stop.is_set()
            self.silent.set()
            await self._settle()
        finally:
            self._ending.set()
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            passed = time.monotonic() - began
            self.figures.generator_share = (time.process_time() - used) / passed
        for end in ends:
            if isinstance(end, Exception):
                raise end  # a fault of this program, which must not look like one of the server

    def next_key(self) -> str:
        """Without digits: in an id that may hold a number, others see null (`events.shared_id`)."""
        return f"loadtest-{self._run}-{next(self._keys)}".translate(_LETTERS)

    async def _settle(self) -> None:
        for _ in range(_LOOKS_AT_THE_END):
            if not self.figures.lost:
                return
            await asyncio.sleep(_LAST_SECONDS / _LOOKS_AT_THE_END)

    async def _probe(self) -> None:
        """Who may make tokens for this server may test it; and one socket is no load."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                async with self._connection(self._people[0], "/ws/notifications/") as socket:
                    first = json.loads(await socket.recv())
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as problem:
            raise RefusedError(f"no socket at {self._url}: {problem or 'no answer'}") from None
        if first["type"] != "connection_established":
            raise RefusedError(f"the server refuses the token: {first.get('code')}")

    def _connection(self, person: Person, path: str) -> connect:
        return connect(
            self._url + path,
            additional_headers={"Authorization": f"Bearer {person.token}"},
            compression=None,
            open_timeout=_CONNECT_SECONDS,
            close_timeout=1,
            ping_interval=None,  # the server pings
        )

    async def _live(self, person: Person, after: float) -> None:
        await asyncio.sleep(after)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_open(person, "/ws/notifications/", self._listen))
            if person.role == "admin":
                group.create_task(self._keep_open(person, "/ws/support/", self._listen))
            for conversation in person.conversations:
                chat = _Chat(self, conversation)
                path = f"/ws/chat/{conversation}/"
                group.create_task(self._keep_open(person, path, chat.take, chat))

    async def _keep_open(
        self,
        person: Person,
        path: str,
        take: Callable[[dict[str, Any]], None],
        chat: "_Chat | None" = None,
    ) -> None:
        """Opened again, behind the last event that it got, whenever it ends."""
        last_seq: int | None = None
        while not self._ending.is_set():
            began, is_open = time.monotonic(), False
            query = "" if last_seq is None else f"?last_seq={last_seq}"
            try:
                async with self._connection(person, path + query) as socket:
                    async for text in socket:
                        frame = json.loads(text)
                        if frame["type"] == "connection_established" and not is_open:
                            is_open = True
                            self.figures.opened(time.monotonic() - began)
                            last_seq = frame["last_seq"] if last_seq is None else last_seq
                            if chat is not None:
                                chat.enter(socket)
                            continue
                        last_seq = frame.get("seq", last_seq)
                        if frame["type"] == "error":
                            self.figures.problems[f"error {frame['code']}"] += 1
                        take(frame)
                self._count_end(socket)
            except ConnectionClosed:
                self._count_end(socket)
            except (OSError, TimeoutError, InvalidHandshake) as problem:
                self.figures.problems[f"connect: {type(problem).__name__}"] += 1
            finally:
                if is_open:
                    self.figures.closed()
                    if chat is not None:
                        chat.leave()
            await asyncio.sleep(_AGAIN_SECONDS)

    def _count_end(self, socket: ClientConnection) -> None:
        if not self._ending.is_set():
            self.figures.problems[f"close {socket.close_code}"] += 1

    def _listen(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "notification":
            message_id = frame["notification"]["data"].get("message_id")
            if message_id is not None:
                self.figures.notified(message_id)


class _Chat:
    """One person's socket in a conversation, and what was said there and is not acknowledged."""

    def __init__(self, load: Load, conversation: int) -> None:
        self._load = load
        self._conversation = conversation
        self._own: set[str] = set()
        self._unacked: dict[str, str] = {}
        self._talk: asyncio.Task[None] | None = None

    def enter(self, socket: ClientConnection) -> None:
        self._load.in_room[self._conversation] += 1
        self._talk = asyncio.create_task(self._say(socket))

    def leave(self) -> None:
        self._load.in_room[self._conversation] -= 1
        if self._talk is not None:
            self._talk.cancel()

    async def _say(self, socket: ClientConnection) -> None:
        load = self._load
        try:
            for frame in list(self._unacked.values()):
                await socket.send(frame)  # the server stores it once
            while not await _first(load.silent, random.expovariate(1 / load.seconds_between)):
                key = load.next_key()
                message = random.choice(_TEXTS)  # noqa: S311
                frame = json.dumps(
                    {"type": "chat_message", "message": message, "client_message_id": key}
                )
                self._own.add(key)
                self._unacked[key] = frame
                load.figures.sent(key, load.in_room[self._conversation] - 1)
                await socket.send(frame)
        except ConnectionClosed:
            return  # said again when it is open again

    def take(self, frame: dict[str, Any]) -> None:
        figures = self._load.figures
        if frame["type"] == "message_ack" and self._unacked.pop(frame["client_message_id"], None):
            figures.acked(frame["client_message_id"])
        elif frame["type"] == "error" and self._unacked.pop(frame.get("ref", ""), None):
            figures.refused(frame["ref"])
        elif frame["type"] == "chat_message" and frame["client_message_id"]:
            key = frame["client_message_id"]
            figures.delivered(key, frame["message_id"], id(self), key in self._own)


async def _first(event: asyncio.Event, seconds: float) -> bool:
    """Return whether the event came within these seconds, at their very end as well: who then went
    on to talk was not waited for any more.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
