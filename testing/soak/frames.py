"""Every bad frame is answered by an error frame, harms no socket, leaks no task, stores nothing."""

import asyncio
import json
import time
from typing import Any, NamedTuple

import hypothesis
from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck, Phase
from websockets.exceptions import ConnectionClosed

from chat.consumers import ChatConsumer
from chat.models import AuditEntry, Message, Note
from chat.support_consumers import NotesConsumer, SupportConsumer
from holodrive.realtime import hub
from holodrive.realtime.models import Event
from notifications.consumers import NotificationConsumer
from notifications.models import Notification
from testing.client import RemoteSocket, Socket, access_token
from testing.patience import PATIENCE
from testing.server import ServerProcess
from testing.soak import NO_LIMITS, Progress, Verdict
from testing.soak.mutations import BadFrame, bad_frames, corpus
from testing.soak.people import conversation_of, person

_CONSUMERS = (ChatConsumer, NotificationConsumer, SupportConsumer, NotesConsumer)
_COMMANDS = {consumer.endpoint: [*consumer.commands] for consumer in _CONSUMERS}
_BAD_IN_A_ROW = 15  # twenty would close the socket
_UNASKED = ("presence", "unread_count", "typing", "token_expiring", "reconnect")
_SETTLES = 1.0  # seconds until Redis has confirmed what was left
_PER_ROUND = 2_000  # examples that hypothesis makes before it begins anew: it remembers each


class Scale(NamedTuple):
    frames: int = 100_000
    through_a_server: int = 2_000  # of these


FULL, SHORT = Scale(), Scale(frames=600, through_a_server=100)


class _Door(NamedTuple):
    """Where a socket is opened, and by whom."""

    path: str
    user: Any


class _ClosedError(Exception):
    """The server closed a socket, which it never should."""


def prove(scale: Scale, seed: int, progress: Progress) -> Verdict:
    doors = _doors()
    rows = _rows()
    in_process = _InProcess(doors, progress)
    in_process.ask_all(scale.frames - scale.through_a_server, seed)
    remote = _Remote(doors)
    if not in_process.problems:
        remote.ask_all(in_process.sample(scale.through_a_server))
    return Verdict(
        checked=in_process.answered + remote.answered,
        wanted=scale.frames,
        faults={
            "closed_1011": in_process.closed_1011 + remote.closed_1011,
            "leaked_tasks": in_process.leaked_tasks,
            "stored": abs(_rows() - rows),
        },
        where=f"{connection.vendor}, {remote.answered} through a server process",
        details=in_process.problems + remote.problems,
    )


def _doors() -> dict[str, _Door]:
    rider, agent = person(), person("admin")
    conversation = conversation_of(rider)
    return {
        "chat": _Door(f"/ws/chat/{conversation.pk}/", rider),
        "notifications": _Door("/ws/notifications/", rider),
        "support": _Door("/ws/support/", agent),
        "notes": _Door(f"/ws/support/notes/{conversation.pk}/", agent),
    }


def _rows() -> int:
    kinds = (Message, Note, Event, Notification)
    # That the agent's socket was opened is no frame's doing.
    audited = AuditEntry.objects.exclude(action=AuditEntry.Action.VIEWED).count()
    return audited + sum(model._base_manager.count() for model in kinds)


def _judge(bad: BadFrame, reply: dict[str, Any]) -> None:
    assert reply["type"] == "error", f"{bad} was answered by {reply}"
    assert reply["code"] in bad.codes, f"{bad} was answered by {reply}"


class _InProcess:
    """The application in this process, asked one frame after another."""

    def __init__(self, doors: dict[str, _Door], progress: Progress) -> None:
        self.answered = self.closed_1011 = self.leaked_tasks = 0
        self.problems: list[str] = []
        self._doors, self._progress = doors, progress
        self._tokens = {endpoint: access_token(door.user) for endpoint, door in doors.items()}
        self._sockets: dict[str, Socket] = {}
        self._bad_in_a_row = 0
        self._kept: list[BadFrame] = []

    def ask_all(self, count: int, seed: int) -> None:
        with asyncio.Runner() as runner:
            tasks = runner.run(self._open())
            known = corpus(self._doors, settings.REALTIME_MAX_FRAME_BYTES)
            try:
                for bad in known:
                    runner.run(self._ask(bad))
                while self.answered < count:
                    self._round(runner, min(_PER_ROUND, count - self.answered), seed)
                    seed += 1
                    self._progress(f"{self.answered} answered")
            except (AssertionError, TimeoutError, _ClosedError) as problem:
                self.problems.append(
                    "\n  ".join([str(problem), *getattr(problem, "__notes__", [])])
                )
            self.leaked_tasks = runner.run(self._leave(tasks))

    def _round(self, runner: asyncio.Runner, count: int, seed: int) -> None:
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(bad_frames(_COMMANDS, settings.REALTIME_MAX_FRAME_BYTES))
        def every_one_is_answered(bad: BadFrame) -> None:
            runner.run(self._ask(bad))

        every_one_is_answered()

    def sample(self, count: int) -> list[BadFrame]:
        """Frames that were answered here, evenly chosen; without those no client library sends."""
        sendable = [bad for bad in self._kept if isinstance(bad.content, bytes) or _is_unicode(bad)]
        return [sendable[n * len(sendable) // count] for n in range(count)]

    async def _open(self) -> set[asyncio.Task[Any]]:
        """Open the sockets. What runs without them: the hub, and its connection to Redis."""
        for endpoint in self._doors:
            await self._connect(endpoint)
        for socket in self._sockets.values():
            await self._leave_socket(socket)
        await asyncio.sleep(_SETTLES)
        tasks = asyncio.all_tasks()
        for endpoint in self._doors:
            await self._connect(endpoint)
        return tasks

    async def _connect(self, endpoint: str) -> None:
        headers = {"Host": "testserver", "Authorization": f"Bearer {self._tokens[endpoint]}"}
        socket = await Socket(self._doors[endpoint].path, headers, []).open()
        await socket.frame("connection_established")
        self._sockets[endpoint] = socket

    async def _ask(self, bad: BadFrame) -> None:
        socket = self._sockets[bad.endpoint]
        try:
            if isinstance(bad.content, bytes):
                socket.send_bytes(bad.content)
            else:
                socket.send_text(bad.content)
            _judge(bad, await self._reply(socket))
            self._bad_in_a_row += 1
            if self._bad_in_a_row == _BAD_IN_A_ROW:
                self._bad_in_a_row = 0
                await self._good()
        except (AssertionError, TimeoutError, _ClosedError):
            await self._leave_socket(socket)
            await self._connect(bad.endpoint)  # hypothesis goes on looking for a smaller one
            raise
        self.answered += 1
        self._kept.append(bad)

    async def _reply(self, socket: Socket) -> dict[str, Any]:
        while True:
            async with asyncio.timeout(PATIENCE):
                message = await socket.from_app.get()
            if message["type"] == "websocket.close":
                self.closed_1011 += message.get("code") == 1011
                raise _ClosedError(f"closed: {message}")
            frame: dict[str, Any] = json.loads(message["text"])
            if frame["type"] not in _UNASKED:
                return frame

    async def _good(self) -> None:
        """In between: each socket still does what it is there for."""
        for socket in self._sockets.values():
            socket.send({"type": "ping"})
            reply = await self._reply(socket)
            assert reply["type"] == "pong", f"a ping was answered by {reply}"

    async def _leave_socket(self, socket: Socket) -> None:
        try:
            await socket.leave()
        except Exception:  # noqa: BLE001 - for whatever the application raises a server closes with 1011
            self.closed_1011 += 1

    async def _leave(self, before: set[asyncio.Task[Any]]) -> int:
        """How many tasks are left over when the sockets are gone."""
        for socket in self._sockets.values():
            await self._leave_socket(socket)
        deadline = time.monotonic() + PATIENCE  # the hub may be in the middle of a reconcile
        while (  # noqa: ASYNC110 - tasks have no event for their end
            leaked := asyncio.all_tasks() - before - {asyncio.current_task()}
        ) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        self.problems += [f"left over: {task}" for task in leaked]
        await hub.here().close()
        return len(leaked)


def _is_unicode(bad: BadFrame) -> bool:
    assert isinstance(bad.content, str)
    return bad.content.isascii() or bad.content.encode("utf-8", "ignore").decode() == bad.content


class _Remote:
    """A server process, asked through a WebSocket library."""

    def __init__(self, doors: dict[str, _Door]) -> None:
        self.answered = self.closed_1011 = 0
        self.problems: list[str] = []
        self._doors = doors

    def ask_all(self, frames: list[BadFrame]) -> None:
        server = ServerProcess(**NO_LIMITS)
        sockets: dict[str, RemoteSocket] = {}
        try:
            for endpoint, door in self._doors.items():
                sockets[endpoint] = RemoteSocket(server.address, door.path, door.user)
            for number, bad in enumerate(frames):
                self._ask(sockets[bad.endpoint], bad)
                if number % _BAD_IN_A_ROW == 0:
                    for socket in sockets.values():
                        socket.send({"type": "ping"})
                        assert self._reply(socket)["type"] == "pong"
        except ConnectionClosed as closed:
            self.closed_1011 += closed.rcvd is not None and closed.rcvd.code == 1011
            self.problems.append(f"closed: {closed}")
        except (AssertionError, TimeoutError) as problem:
            self.problems.append(str(problem))
        finally:
            for socket in sockets.values():
                socket.close()
            server.discard()

    def _ask(self, socket: RemoteSocket, bad: BadFrame) -> None:
        socket.connection.send(bad.content)
        _judge(bad, self._reply(socket))
        self.answered += 1

    def _reply(self, socket: RemoteSocket) -> dict[str, Any]:
        while (frame := socket.frame())["type"] in _UNASKED:
            pass
        return frame
