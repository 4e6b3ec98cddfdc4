"""A snapshot, and the events behind it, are what a fresh snapshot says, whenever it was taken.

Each history is a rider's conversation and notifications under writers in several threads. A client
takes its first snapshot in the middle, may lose its socket later on, and applies what comes.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.test import Client as Browser
from django.test import override_settings

from chat import services as chat
from chat.models import Message
from holodrive.realtime import hub, log
from holodrive.realtime.database import in_database
from holodrive.realtime.wire import RealtimeError
from notifications import services as notifications
from notifications.models import Notification
from testing.client import Socket, access_token
from testing.soak import NO_LIMITS, Progress, Verdict
from testing.soak.people import conversation_of, person

_AT_ONCE = 8
_WRITERS = 3
_WRITES = 7  # of each


class Scale(NamedTuple):
    histories: int = 1_000


FULL, SHORT = Scale(), Scale(histories=25)


def prove(scale: Scale, seed: int, progress: Progress) -> Verdict:
    with override_settings(**dict.fromkeys(NO_LIMITS, 0)):
        different, checked = asyncio.run(_all(scale, seed, progress))
    return Verdict(
        checked=checked,
        wanted=scale.histories,
        faults={"different": len(different)},
        where=f"{connection.vendor}, {_WRITERS} writers each, {_AT_ONCE} at once",
        details=different,
    )


async def _all(scale: Scale, seed: int, progress: Progress) -> tuple[list[str], int]:
    different: list[str] = []
    turns = asyncio.Semaphore(_AT_ONCE)
    checked = 0

    async def one(number: int) -> None:
        nonlocal checked
        async with turns:
            history = _History(random.Random(seed + number))  # noqa: S311
            found = await history.play()
        checked += 1
        different.extend([f"history {number} of seed {seed}: {found[0]}"] if found else [])
        progress(f"{checked} histories, {len(different)} different")

    try:
        await asyncio.gather(*(one(number) for number in range(scale.histories)))
    finally:
        await hub.here().close()
    return different, checked


class _View:
    """What one app shows of one stream: a snapshot, and how each event changes it. A seq
    that is not the next is a difference of its own.
    """

    path: str
    history: str

    def __init__(self, token: str) -> None:
        self.token = token
        self.items: dict[int, dict[str, Any]] = {}
        self.counter: int | None = None
        self.cursor = 0
        self.problems: list[str] = []
        self._socket: Socket | None = None
        self._live = False  # what the snapshot had is behind us

    async def open(self, *, snapshot_first: bool) -> None:
        """Both orders are right: a snapshot and a socket that goes on from it, or a socket whose
        events wait for the snapshot.
        """
        if snapshot_first:
            await self.load()
            await self.connect(resume=True)
        else:
            await self.connect(resume=False)
            await self.load()

    async def load(self) -> None:
        page = await in_database(get, self.history, self.token)
        self.items = {self.key(item): item for item in page["results"]}
        self.cursor = page["last_seq"]

    async def connect(self, *, resume: bool) -> None:
        query = f"?last_seq={self.cursor}" if resume else ""
        headers = {"Host": "testserver", "Authorization": f"Bearer {self.token}"}
        self._socket = await Socket(self.path + query, headers, []).open()
        first = await self._socket.frame("connection_established")
        self.counter = first.get("unread_count")
        self._live = resume

    async def lose_socket(self) -> None:
        """What has come until now was seen; the rest is resumed."""
        await self._read()
        await self.connect(resume=True)

    async def catch_up(self, head: int) -> None:
        assert self._socket is not None
        try:
            while self.cursor < head:
                self.take(await self._socket.frame())
            await self._read()
        except (AssertionError, TimeoutError) as problem:
            self.problems.append(f"at seq {self.cursor} of {head}: {problem!r}")

    async def _read(self) -> None:
        """Everything that is on its way; then the socket is gone."""
        assert self._socket is not None
        self._socket.send({"type": "ping"})
        while (frame := await self._socket.frame())["type"] != "pong":
            self.take(frame)
        await self._socket.leave()

    def take(self, frame: dict[str, Any]) -> None:
        # The counter is the first frame's, and then that of whatever comes behind it.
        self.counter = frame.get("unread_count", self.counter)
        if "seq" not in frame:
            return
        if frame["seq"] <= self.cursor and not self._live:
            return  # the snapshot has it
        if frame["seq"] != self.cursor + 1:
            self.problems.append(f"seq {frame['seq']} behind {self.cursor}")
        self._live = True
        self.cursor = frame["seq"]
        self.apply(frame)

    def key(self, item: dict[str, Any]) -> int:
        raise NotImplementedError

    def apply(self, frame: dict[str, Any]) -> None:
        raise NotImplementedError


class _Chat(_View):
    def __init__(self, token: str, conversation_id: int) -> None:
        super().__init__(token)
        self.path = f"/ws/chat/{conversation_id}/"
        self.history = f"/api/conversations/{conversation_id}/messages/?limit=100"

    def key(self, item: dict[str, Any]) -> int:
        return int(item["message_id"])

    def apply(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "chat_message":
                self.items[frame["message_id"]] = frame
            case "message_edited":
                self._change(frame, "message", "edited_at", "masked")
            case "message_deleted":
                self._change({**frame, "message": ""}, "message", "deleted_at", "masked")
            case other:
                self.problems.append(f"an unknown event: {other}")

    def _change(self, frame: dict[str, Any], *fields: str) -> None:
        """These are as the frame has them; what it does not have is no more."""
        item = self.items[frame["message_id"]]
        for field in fields:
            item.pop(field, None)
        item |= {field: frame[field] for field in fields if field in frame}


class _Bell(_View):
    path = "/ws/notifications/"
    history = "/api/notifications/?limit=100"

    def key(self, item: dict[str, Any]) -> int:
        return int(item["id"])

    def apply(self, frame: dict[str, Any]) -> None:
        match frame:
            case {"type": "notification", "notification": item}:
                self.items[item["id"]] = item
            case {"type": "notification_read", "notification_id": id}:
                self.items[id]["status"] = "read"
            case {"type": "notification_read", "up_to_id": newest}:
                for id, item in self.items.items():
                    if id <= newest:
                        item["status"] = "read"
            case {"type": other}:
                self.problems.append(f"an unknown event: {other}")


def get(path: str, token: str) -> dict[str, Any]:
    answer = Browser().get(path, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.content
    page: dict[str, Any] = answer.json()
    return page


class _History:
    """One conversation, its writers, and the views of the rider who looks on."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._moments = [asyncio.Event() for _ in range(_WRITERS * _WRITES)]
        self._written = 0

    async def play(self) -> list[str]:
        """The differences, if there are any."""
        token = await in_database(self._begin)
        views = [_Chat(token, self._conversation.pk), _Bell(token)]
        async with asyncio.TaskGroup() as group:
            for _ in range(_WRITERS):
                group.create_task(self._write(random.Random(self._chance.random())))  # noqa: S311
            for view in views:
                first, then = sorted(self._chance.choices(range(len(self._moments)), k=2))
                joins, loses = self._moments[first], self._moments[then]
                group.create_task(self._look(view, joins, loses, self._chance.random()))
        streams = [f"conversation.{self._conversation.pk}", f"user.{self.rider.pk}"]
        heads = await in_database(log.heads, streams)
        problems = []
        for view, stream in zip(views, streams, strict=True):
            await view.catch_up(heads.get(stream, 0))
            problems += [f"{stream}: {problem}" for problem in view.problems]
            problems += await self._differences(view, stream)
        return problems

    def _begin(self) -> str:
        self.rider, self.driver = person(), person("driver")
        self._conversation = conversation_of(self.rider, self.driver)
        return access_token(self.rider)

    async def _look(
        self, view: _View, joins: asyncio.Event, loses: asyncio.Event, chance: float
    ) -> None:
        await joins.wait()
        await view.open(snapshot_first=chance < 0.5)
        if 0.25 < chance < 0.75:
            await loses.wait()
            await view.lose_socket()

    async def _differences(self, view: _View, stream: str) -> list[str]:
        fresh = type(view)(
            view.token, *([self._conversation.pk] if isinstance(view, _Chat) else [])
        )
        await fresh.connect(resume=False)
        await fresh.load()
        await fresh.catch_up(0)
        found = []
        if view.counter != fresh.counter:
            found.append(f"{stream}: unread {view.counter}, not {fresh.counter}")
        for id in sorted(view.items.keys() | fresh.items.keys()):
            if view.items.get(id) != fresh.items.get(id):
                found.append(f"{stream}: {view.items.get(id)}, not {fresh.items.get(id)}")
        return found

    async def _write(self, chance: random.Random) -> None:
        for _ in range(_WRITES):
            with suppress(RealtimeError, ZeroDivisionError):  # refused, and rolled back
                await in_database(chance.choice(_WRITES_OF_ALL_KINDS), self, chance)
            self._moments[self._written].set()
            self._written += 1

    # What is written, each in a thread

    def send(self, chance: random.Random) -> None:
        chat.send_message(user=self._one(chance), conversation_id=self._conversation.pk, text="Hi")

    def save(self, chance: random.Random) -> None:
        Message(conversation=self._conversation, sender=self._one(chance), text="Saved").save()

    def edit(self, chance: random.Random) -> None:
        if message := self._message(chance):
            chat.edit_message(
                user=message.sender,
                conversation_id=self._conversation.pk,
                message_id=message.pk,
                # Many of these digits look like a telephone number, which is masked.
                text=f"Edited {chance.random()}",
            )

    def delete(self, chance: random.Random) -> None:
        if message := self._message(chance):
            chat.delete_message(
                user=message.sender,
                conversation_id=self._conversation.pk,
                message_id=message.pk,
            )

    def read_conversation(self, chance: random.Random) -> None:
        if message := self._message(chance):
            chat.mark_read(
                user=self._one(chance),
                conversation_id=self._conversation.pk,
                up_to_id=message.pk,
            )

    def notify(self, chance: random.Random) -> None:
        Notification.objects.notify([self.rider, self.driver], title="Service on Sunday")

    def rewrite(self, chance: random.Random) -> None:
        if row := self._notification(chance):
            row.title, row.status = (
                f"Rewritten {chance.random()}",
                chance.choice(["read", "unread"]),
            )
            row.save()

    def read_one(self, chance: random.Random) -> None:
        if row := self._notification(chance):
            notifications.mark_read(user=self.rider, notification_id=row.pk)

    def read_all(self, chance: random.Random) -> None:
        notifications.mark_all_read(user=self.rider)

    def read_some(self, chance: random.Random) -> None:
        if row := self._notification(chance):
            notifications.mark_all_read(user=self.rider, up_to_id=row.pk)

    def roll_back(self, chance: random.Random) -> None:
        with transaction.atomic():
            Notification.objects.create(recipient=self.rider, title="never")
            raise ZeroDivisionError

    def _one(self, chance: random.Random) -> Any:
        return chance.choice([self.rider, self.driver])

    def _message(self, chance: random.Random) -> Any:
        rows = Message.objects.filter(conversation=self._conversation).select_related("sender")
        return chance.choice([*rows, None])

    def _notification(self, chance: random.Random) -> Any:
        rows = Notification.objects.filter(recipient=self.rider)
        return chance.choice([*rows, None])


_WRITES_OF_ALL_KINDS: list[Callable[[_History, random.Random], None]] = [
    _History.send, _History.send, _History.save, _History.edit, _History.edit, _History.delete,
    _History.notify, _History.rewrite, _History.read_one, _History.read_all, _History.read_some,
    _History.read_conversation, _History.roll_back,
]  # fmt: skip
