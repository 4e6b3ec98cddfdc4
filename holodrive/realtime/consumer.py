"""The base of both sockets: origin, identity, join, resume, and the loop that reads commands.

A subclass says which stream a socket joins, what its first frame is, and which command runs what.
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qs

from django.conf import settings
from django.utils import timezone

from holodrive.realtime import auth, hub, log, metrics, wire
from holodrive.realtime.credentials import OriginRule, Scope, answered_subprotocol, judge_origin
from holodrive.realtime.database import in_database
from holodrive.realtime.outbox import (
    ANNOUNCE_RESTART,
    RESTART,
    Outbox,
    Send,
    SharedFrame,
    outbox,
)
from holodrive.realtime.wire import CloseCode, LoggedEvent, RealtimeError, Welcome

logger = logging.getLogger("holodrive.realtime.socket")

_BAD_FRAMES_IN_A_ROW = 20
_CLOSES: dict[type[RealtimeError], CloseCode] = {
    wire.Unauthenticated: CloseCode.UNAUTHENTICATED,
    wire.TokenExpired: CloseCode.UNAUTHENTICATED,
    wire.Forbidden: CloseCode.FORBIDDEN,
    wire.NotFound: CloseCode.NOT_FOUND,
}

Receive = Callable[[], Awaitable[dict[str, Any]]]
Consumer = TypeVar("Consumer", bound="RealtimeConsumer")
Handler = Callable[[Any, Any], Awaitable[None]]


class RealtimeConsumer:
    """One socket, from its handshake to its log line."""

    endpoint: ClassVar[str]
    commands: ClassVar[dict[type[wire.Command], Handler]]
    _reader: ClassVar[wire.CommandReader]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.commands = {
            wire.Ping: RealtimeConsumer.ping,
            wire.Resume: RealtimeConsumer.resume,
            **cls.commands,
        }
        cls._reader = wire.CommandReader(tuple(cls.commands), settings.REALTIME_MAX_FRAME_BYTES)

    @classmethod
    def as_asgi(cls) -> Any:
        """The ASGI application, as URLRouter takes it (Django types its routes as views)."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await cls(scope, receive, send).run()

        return application

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.session_id = uuid.uuid4().hex
        self.outbox: Outbox = outbox(scope, send, settings.REALTIME_OUTBOX_BYTES)
        self.hub = hub.here()
        self.subscription: hub.Subscription | None = None
        self.identity: auth.Identity | None = None
        self._receive = receive
        self._send = send
        self._began = time.monotonic()
        self._received = 0
        self._bad_in_a_row = 0
        self._code = 1006

    # What a subclass says

    def stream(self) -> str:
        """The stream this socket joins. Raises NotFound. Must not touch the database."""
        raise NotImplementedError

    def welcome(self) -> Welcome:
        """Check the right to be here and build the first frame, in ONE query. Runs in a database
        thread; raises NotFound.
        """
        raise NotImplementedError

    # The life of a socket

    async def run(self) -> None:
        await self._receive()  # websocket.connect
        credential = self.scope.get("credential")
        origin = judge_origin(self.scope, has_token=credential is not None)
        if origin is OriginRule.FOREIGN:
            await self._send({"type": "websocket.close", "code": HTTPStatus.FORBIDDEN})
            return
        # Accept before any query: a handshake must never wait for the database.
        protocol = answered_subprotocol(self.scope)
        await self._send({"type": "websocket.accept", "subprotocol": protocol})
        with metrics.sockets.labels(self.endpoint).track_inprogress():
            try:
                await self._join(origin)
                await self._listen()
            except asyncio.CancelledError:
                if not self.outbox.is_abandoned:
                    raise
            except Exception:
                # Say so, then let it through: every server logs it and closes with 1011.
                self.send_error(RealtimeError("The server could not do this: try again."))
                await self.outbox.flush()
                raise
            finally:
                await self._end()

    async def _join(self, origin: OriginRule) -> None:
        try:
            cookie = auth.session_key(self.scope)
            if origin is OriginRule.MISSING and cookie is not None:
                raise wire.Forbidden("A session needs an Origin header.")
            self.identity = await in_database(auth.identify, self.scope.get("credential"), cookie)
            stream = self.stream()
            # Subscribe first, read after: what is committed in between is held, not missed.
            self.subscription = self.hub.subscribe(stream, self.outbox, self.user.pk)
            last_seq = self._asked_last_seq()
            welcome, missed = await in_database(self._look, last_seq)
        except RealtimeError as refusal:
            self._refuse(refusal)
            return
        self.send(welcome)
        if last_seq is not None:
            await self._send_missed(missed, last_seq, welcome.last_seq)
        self.subscription.release(welcome.last_seq)

    def _look(self, last_seq: int | None) -> tuple[Welcome, list[LoggedEvent] | None]:
        welcome = self.welcome()
        welcome.heartbeat_interval = settings.REALTIME_HEARTBEAT_SECONDS
        welcome.session_id = self.session_id
        if self.identity and self.identity.expires_at:
            welcome.expires_at = wire.timestamp(self.identity.expires_at)
        if last_seq is None:
            return welcome, []
        limit = settings.REALTIME_RESUME_LIMIT
        return welcome, log.missed(self.stream(), last_seq, welcome.last_seq, limit)

    def _refuse(self, refusal: RealtimeError) -> None:
        """Say why in a frame, then close: browsers and React Native cannot see a handshake's
        status.
        """
        if self.subscription is not None:
            self.hub.unsubscribe(self.subscription)
            self.subscription = None
        self.send_error(refusal)
        self.outbox.close(_CLOSES[type(refusal)])

    async def _listen(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._code = message.get("code") or 1005
                return
            if message["type"] == ANNOUNCE_RESTART:
                self.send(wire.Reconnect(delay_ms=message["delay_ms"]))
            elif message["type"] == RESTART:
                self.outbox.close(CloseCode.RESTART)
            elif self.outbox.closed is None:
                self._received += 1
                await self._obey(message.get("text"))

    async def _obey(self, text: str | None) -> None:
        try:
            command = self._reader.read(text)
        except RealtimeError as problem:
            self.send_error(problem)
            self._bad_in_a_row += 1
            if self._bad_in_a_row >= _BAD_FRAMES_IN_A_ROW:
                self.outbox.close(CloseCode.BAD_FRAMES)
            return
        self._bad_in_a_row = 0
        try:
            await self.commands[type(command)](self, command)
        except RealtimeError as problem:
            problem.ref = problem.ref or _ref(command)
            self.send_error(problem)
        except Exception:
            logger.exception("A command failed: session=%s", self.session_id)
            self.send_error(
                RealtimeError("The server could not do this: try again.", _ref(command))
            )

    async def _end(self) -> None:
        if self.subscription is not None:
            self.hub.unsubscribe(self.subscription)
        code = int(self.outbox.closed or self._code)
        metrics.closes.labels(self.endpoint, code).inc()
        metrics.frames_received.labels(self.endpoint).inc(self._received)
        logger.info(
            "socket ended endpoint=%s user=%s code=%s seconds=%.1f in=%s out=%s session=%s",
            self.endpoint,
            self.identity.user.pk if self.identity else "-",
            code,
            time.monotonic() - self._began,
            self._received,
            self.outbox.frames,
            self.session_id,
        )
        await self.outbox.stop()  # the only step that waits, and so that a cancel may cut short

    # What every socket can do

    @property
    def user(self) -> Any:
        assert self.identity is not None
        return self.identity.user

    def send(self, frame: wire.Frame) -> None:
        self.outbox.send(SharedFrame(wire.encode(frame)))

    def send_error(self, problem: RealtimeError) -> None:
        metrics.errors_sent.labels(problem.code).inc()
        self.send(wire.error(problem))

    async def ping(self, command: wire.Ping) -> None:
        self.send(wire.Pong(server_time=wire.timestamp(timezone.now())))

    async def resume(self, command: wire.Resume) -> None:
        """Everything behind `last_seq`, as it was sent; live events wait until it is out. Who has
        lost the right to be here gets nothing but a close.
        """
        subscription = self.subscription
        assert subscription is not None
        subscription.hold()
        head = subscription.cursor
        try:
            welcome, missed = await in_database(self._look, command.last_seq)
            head = welcome.last_seq
            await self._send_missed(missed, command.last_seq, head)
        except wire.NotFound as refusal:
            self._refuse(refusal)
        finally:
            subscription.release(head)

    async def _send_missed(
        self, missed: list[LoggedEvent] | None, last_seq: int, head: int
    ) -> None:
        for event in missed or ():
            if not await self.outbox.ready():
                return
            self.outbox.send(SharedFrame(event.text))
        recovered = missed is not None
        metrics.resumes.labels(str(recovered).lower()).inc()
        self.send(
            wire.Resumed(
                recovered=recovered, from_seq=last_seq, to_seq=head, count=len(missed or ())
            )
        )

    def _asked_last_seq(self) -> int | None:
        """`?last_seq=` of the URL. A wrong one is answered with an error frame, and nothing is
        resumed.
        """
        asked = parse_qs(self.scope.get("query_string", b"").decode("latin1")).get("last_seq")
        if not asked:
            return None
        try:
            frame = json.dumps({"type": "resume", "last_seq": int(asked[0])})
            command = wire.CommandReader((wire.Resume,), 0).read(frame)
        except (ValueError, RealtimeError):
            problem = wire.InvalidMessage("last_seq must be a whole number, 0 or more.", "resume")
            self.send_error(problem)
            return None
        assert isinstance(command, wire.Resume)
        return command.last_seq


def _ref(command: wire.Command) -> str:
    return getattr(command, "client_message_id", None) or str(command.__struct_config__.tag)


class UnknownEndpoint(RealtimeConsumer):
    """A /ws/ path that is none of ours: says so in a frame."""

    endpoint = "unknown"
    commands: ClassVar[dict[type[wire.Command], Handler]] = {}

    async def _join(self, origin: OriginRule) -> None:
        self._refuse(wire.NotFound("There is no socket at this path."))
