"""The base of both sockets: origin, identity, join, resume, and the loop that reads commands.

A subclass says which stream a socket joins, what its first frame is, and which command runs what.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qs

from django.conf import settings
from django.utils import timezone

from holodrive.realtime import auth, budgets, hub, log, metrics, tracing, wire
from holodrive.realtime.addresses import address_of_scope
from holodrive.realtime.credentials import (
    Credential,
    OriginRule,
    Scope,
    answered_subprotocol,
    judge_origin,
)
from holodrive.realtime.database import FAULTS, in_database, unavailable
from holodrive.realtime.group_commit import GroupCommit
from holodrive.realtime.lifetime import Lifetime
from holodrive.realtime.limits import Bucket, FrameLimit
from holodrive.realtime.outbox import (
    ANNOUNCE_RESTART,
    OVER_BUDGET,
    RESTART,
    Outbox,
    Send,
    SharedFrame,
    outbox,
)
from holodrive.realtime.wire import CloseCode, LoggedEvent, RealtimeError, Welcome

logger = logging.getLogger("holodrive.realtime.socket")

_BAD_FRAMES_IN_A_ROW = 20
_JUDGE_AGAIN = 1.0  # seconds, when the database did not answer
_TURN_SECONDS = 0.5  # until a connect or a catch-up that must wait for its turn asks again
_FRAMES_IN_A_TURN = 8  # of a resume, before the other sockets have theirs
_CLOSES: dict[type[RealtimeError], CloseCode] = {
    wire.Unauthenticated: CloseCode.UNAUTHENTICATED,
    wire.TokenExpired: CloseCode.UNAUTHENTICATED,
    wire.Forbidden: CloseCode.FORBIDDEN,
    wire.NotFound: CloseCode.NOT_FOUND,
    wire.Unavailable: CloseCode.TRY_LATER,
    wire.TooManySockets: CloseCode.TOO_MANY_SOCKETS,
    wire.RateLimited: CloseCode.RATE_LIMITED,
}

# Thousands of apps come back at once: two queries for a hundred. A ticket or session is looked at
# alone: a ticket that somebody else's failure has used up would be lost.
_identify = GroupCommit(auth.identify_together, key=id)

_COUNTED = {*range(1000, 1016), *CloseCode}

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
            wire.RefreshToken: RealtimeConsumer.refresh_token,
            **cls.commands,
        }
        cls._reader = wire.CommandReader(tuple(cls.commands), settings.REALTIME_MAX_FRAME_BYTES)

    @classmethod
    def as_asgi(cls) -> Any:
        """The ASGI application, as URLRouter takes it (Django types its routes as views). It is no
        coroutine itself, here as in all that stands around it: each costs every socket 0.5 kB.
        """

        def application(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            return cls(scope, receive, send).run()

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
        self._frames = FrameLimit(
            settings.REALTIME_FRAMES_PER_SECOND, settings.REALTIME_FRAMES_BURST
        )
        self._lifetime = Lifetime(self._warn_of_expiry, self._expire, self.hub.loop)
        self._catching_up = asyncio.Lock()  # join or resume; as slow as the client reads
        self._identifying = asyncio.Lock()  # token_refresh and judgement: one at a time
        self._doubtful = False
        self._judgement: asyncio.Task[None] | None = None
        self._paid_by: Bucket | None = None  # for this connect, until it has joined
        self._late: asyncio.Task[None] | None = None  # a catch-up that waits for its budget

    # What a subclass says

    def stream(self) -> str:
        """The stream this socket joins. Raises NotFound. Must not touch the database."""
        raise NotImplementedError

    def welcome(self) -> Welcome:
        """Check the right to be here and build the first frame, in ONE query. Runs in a database
        thread; raises NotFound.
        """
        raise NotImplementedError

    def entered(self, welcome: Welcome) -> None:
        """The last word on the first frame, on the event loop, right before it goes out."""

    def digest(self) -> hub.Digest | None:
        """What follows each event (see `Hub.subscribe`)."""
        return None

    # The life of a socket

    async def run(self) -> None:
        await self._receive()  # websocket.connect
        if not await self._has_its_turn():
            return
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
                self.scope["headers"].clear()  # ours (see `lift`), and read for the last time
                self.outbox.forget_handshake()
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

    async def _has_its_turn(self) -> bool:
        """Wait while others of this address use up more than their share (budgets.py). False if the
        client has gone meanwhile, or the server is about to stop: before the accept nothing else
        can come.
        """
        if not settings.REALTIME_FAILED_CONNECTS_PER_ADDRESS:
            return True
        address, credential = address_of_scope(self.scope), self.scope.get("credential")
        while (paid_by := self.hub.newcomers.admit(address, credential)) is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TURN_SECONDS):
                    message = await self._receive()
                    if message["type"] != "websocket.disconnect":
                        await self._send({"type": "websocket.close", "code": CloseCode.RESTART})
                    return False
        self._paid_by = paid_by
        return True

    async def _join(self, origin: OriginRule) -> None:
        with tracing.span("connect", endpoint=self.endpoint, session=self.session_id):
            try:
                await self._authenticate(origin)
                async with self._catching_up:
                    await self._enter()
            except RealtimeError as refusal:
                self._refuse(refusal)
            except FAULTS as problem:
                self._pay_back()  # it is no fault of the client's
                self._refuse(unavailable(problem))

    def _pay_back(self) -> None:
        if self._paid_by is not None:
            self._paid_by.give_back(1)
            self._paid_by = None

    async def _authenticate(self, origin: OriginRule) -> None:
        """Say who it is, and count it. Only failures count against an address: thousands of riders
        share a carrier's.
        """
        cookie = auth.session_key(self.scope)
        if origin is OriginRule.MISSING and cookie is not None:
            raise wire.Forbidden("A session needs an Origin header.")
        self.identity = await self._identified(self.scope.get("credential"), cookie)
        self.hub.arrived(self, self.user.pk)
        most = settings.REALTIME_CONNECTS_PER_USER
        if most and self.hub.connects.count(self.user.pk) > most:
            raise wire.RateLimited(f"At most {most} connects in a minute: back off.")
        staff = getattr(self.user, "is_staff", False)
        most = settings.REALTIME_SOCKETS_PER_STAFF if staff else settings.REALTIME_SOCKETS_PER_USER
        if most and len(self.hub.users[self.user.pk]) > most:
            raise wire.TooManySockets(f"At most {most} sockets at a time: close one.")

    async def _identified(self, credential: Credential | None, cookie: str | None) -> auth.Identity:
        address = address_of_scope(self.scope)
        most = settings.REALTIME_FAILED_CONNECTS_PER_ADDRESS
        if most and self.hub.failed_connects.counted(address) >= most:
            return await self._identified_among_failures(credential, cookie)
        try:
            return await _identify_by(credential, cookie)
        except wire.TokenExpired:
            raise  # it was good once: no guess, but what every app does that was asleep
        except wire.Unauthenticated:
            self.hub.failed_connects.count(address)
            raise

    async def _identified_among_failures(
        self, credential: Credential | None, cookie: str | None
    ) -> auth.Identity:
        """From an address with too many failures a good credential still gets in. A bad signature
        costs it no query, and whoever floods us uses two threads at most.
        """
        refusal = wire.RateLimited("Too many failed connects from this address: wait a minute.")
        if credential is None and cookie is None:
            raise refusal
        async with self.hub.doubtful_connects:
            try:
                if credential is None or credential.kind == "ticket":
                    return await in_database(auth.identify, credential, cookie)
                await in_database(auth.verify, credential)
            except wire.TokenExpired:
                raise
            except wire.Unauthenticated:
                raise refusal from None
        return await _identify(credential)

    async def _enter(self) -> None:
        stream = self.stream()
        # Subscribe first, read after: what is committed in between is held, not missed.
        subscription = self.hub.subscribe(
            stream, self.outbox, self.user.pk, self.judge, self.digest()
        )
        self.subscription = subscription
        last_seq = self._asked_last_seq()
        # Over its budget a resume comes later, and the first frame now.
        is_late = last_seq is not None and self._seconds_over_budget() > 0
        welcome, missed = await self._read_missed(None if is_late else last_seq)
        if self.outbox.closed is not None:
            return  # logged out or judged meanwhile
        self.entered(welcome)
        self.send(welcome)
        self._pay_back()
        # Both before what is missed: a client may take any time to read that.
        assert self.identity is not None
        self._lifetime.lasts(self.identity.expires_at)
        subscription.begin(welcome.last_seq)
        if last_seq is not None and is_late:
            self._late = self.hub.loop.create_task(self._catch_up_late(last_seq))
            return  # what is live is held until then
        if last_seq is not None:
            await self._send_missed(missed, last_seq, welcome.last_seq)
        subscription.release(welcome.last_seq)

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
        self._lifetime.stop()
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
            elif message["type"] == OVER_BUDGET:
                self._refuse(wire.RateLimited("Too many frames: back off."))
            elif self.outbox.closed is None:
                self._received += 1
                if self._frames.allows():
                    await self._obey(message.get("text"))
                else:
                    self._refuse_frame(message.get("text"))

    def _refuse_frame(self, text: str | None) -> None:
        """One frame too many: answered, so that the client knows what to repeat; not obeyed."""
        refusal = wire.RateLimited("Too many frames: slow down, then send this again.")
        if self._frames.is_exhausted():
            self._refuse(refusal)
            return
        try:
            refusal.ref = _ref(self._reader.read(text))
        except RealtimeError as problem:
            refusal.ref = problem.ref
        self.send_error(refusal)

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
        name = f"command {command.__struct_config__.tag}"
        with tracing.span(name, endpoint=self.endpoint, session=self.session_id):
            await self._run_command(command)

    async def _run_command(self, command: wire.Command) -> None:
        await self._answered(command, self.commands[type(command)](self, command))

    async def _answered(self, command: wire.Command, work: Awaitable[None]) -> None:
        """Await what a command does; tell the client if it fails."""
        try:
            await work
        except RealtimeError as problem:
            problem.ref = problem.ref or _ref(command)
            self.send_error(problem)
        except FAULTS as problem:
            answer = unavailable(problem)
            answer.ref = _ref(command)
            self.send_error(answer)
        except Exception:
            logger.exception("A command failed: session=%s", self.session_id)
            self.send_error(
                RealtimeError("The server could not do this: try again.", _ref(command))
            )

    async def _end(self) -> None:
        if self.subscription is not None:
            self.hub.unsubscribe(self.subscription)
            self.subscription = None  # it knows this consumer's method
        if self.identity is not None:
            self.hub.left(self, self.user.pk)
        self._lifetime.forget()
        for task in (self._judgement, self._late):
            if task is not None:
                task.cancel()
        code = int(self.outbox.closed or self._code)
        # A client may close with any of 4,096 codes, and each label is kept for ever.
        metrics.closes.labels(self.endpoint, code if code in _COUNTED else "other").inc()
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

    # The right to be here ends

    def _warn_of_expiry(self) -> None:
        assert self.identity is not None
        assert self.identity.expires_at is not None
        self.send(wire.TokenExpiring(expires_at=wire.timestamp(self.identity.expires_at)))

    def _expire(self) -> None:
        self._refuse(wire.TokenExpired("The token has expired: get a new one."))

    def log_out(self) -> None:
        self._refuse(wire.Unauthenticated(auth.LOGGED_OUT))

    def doubt(self) -> None:
        if self.subscription is not None:
            self.subscription.hold()
        self.judge()

    def judge(self) -> None:
        """Look again whether this user may be here, in a task of its own. What the subscription
        holds back since a removal goes out if so.
        """
        self._doubtful = True
        if self._judgement is None and self.outbox.closed is None:
            self._judgement = self.hub.loop.create_task(self._judge())

    async def _judge(self) -> None:
        try:
            while self._doubtful and self.outbox.closed is None:
                self._doubtful = False
                await self._judge_once()
        finally:
            self._judgement = None

    async def _judge_once(self) -> None:
        try:
            async with self._identifying:
                await in_database(self._judge_in_database)
        except RealtimeError as refusal:
            self._refuse(refusal)
        except Exception as problem:  # noqa: BLE001 - the right is still in doubt, whatever failed
            logger.warning("A right could not be judged (%s): trying again", problem)
            self._doubtful = True
            await asyncio.sleep(_JUDGE_AGAIN)
        else:
            subscription = self.subscription
            # Who is catching up has looked as well, and releases what is held itself.
            is_catching_up = self._catching_up.locked() or self._late is not None
            if subscription and subscription.held is not None and not is_catching_up:
                subscription.release(subscription.cursor)

    def _judge_in_database(self) -> None:
        assert self.identity is not None
        self.identity = auth.judge(self.identity)
        self.welcome()

    # What every socket can do

    @property
    def user(self) -> Any:
        assert self.identity is not None
        return self.identity.user

    def send(self, frame: wire.Frame) -> None:
        self.outbox.send(SharedFrame(wire.encode(frame)))

    def send_error(self, problem: RealtimeError) -> None:
        metrics.errors_sent.labels(problem.code).inc()
        tracing.note(error=problem.code)
        self.send(wire.error(problem))

    async def ping(self, command: wire.Ping) -> None:
        self.send(wire.Pong(server_time=wire.timestamp(timezone.now())))

    async def resume(self, command: wire.Resume) -> None:
        """Everything behind `last_seq`, as it was sent; live events wait until it is out. Who has
        lost the right to be here gets nothing but a close.
        """
        if self._late is not None or self._seconds_over_budget():
            raise wire.RateLimited("Too much was resumed: wait a few seconds, then resume again.")
        await self._catch_up(command.last_seq)

    async def _catch_up(self, last_seq: int) -> None:
        async with self._catching_up:
            subscription = self.subscription
            if subscription is None:
                return  # refused while this waited
            subscription.hold()
            try:
                welcome, missed = await self._read_missed(last_seq)
                await self._send_missed(missed, last_seq, welcome.last_seq)
            except wire.NotFound as refusal:
                self._refuse(refusal)
            except Exception:
                self.judge()  # releases what is held, once the right to it is known
                raise
            else:
                subscription.release(welcome.last_seq)

    async def _catch_up_late(self, last_seq: int) -> None:
        """The resume of a join, when its user's budget allows. Until its `resumed` the client knows
        that it has not everything.
        """
        try:
            while True:
                if not (wait := self._seconds_over_budget()):
                    break
                await asyncio.sleep(min(wait, _TURN_SECONDS))  # another resume may give back
            await self._answered(wire.Resume(last_seq=last_seq), self._catch_up(last_seq))
        finally:
            self._late = None

    def _budget(self) -> Bucket | None:
        staff = getattr(self.user, "is_staff", False)
        sockets = (
            settings.REALTIME_SOCKETS_PER_STAFF if staff else settings.REALTIME_SOCKETS_PER_USER
        )
        return self.hub.resumes.of(self.user.pk, sockets)

    def _seconds_over_budget(self) -> float:
        budget = self._budget()
        return 0.0 if budget is None else budget.wait()

    async def _read_missed(self, last_seq: int | None) -> tuple[Welcome, list[LoggedEvent] | None]:
        """Read, and charge the user with what comes back. A whole window is taken in advance, so
        that many at the same moment do not all find the budget full.
        """
        budget = self._budget() if last_seq is not None else None
        if budget is None:
            return await in_database(self._look, last_seq)
        window = settings.REALTIME_RESUME_LIMIT
        budget.take(window)
        spent = 0
        try:
            welcome, missed = await in_database(self._look, last_seq)
            spent = budgets.cost(missed)
            return welcome, missed
        finally:
            budget.give_back(window - spent)

    async def refresh_token(self, command: wire.RefreshToken) -> None:
        async with self._identifying:  # a judgement must not bring the old token back
            identity = await in_database(auth.identify, Credential(command.token), None)
            if identity.user.pk != self.user.pk:
                raise wire.Forbidden("This token is another user's.")
            self.identity = identity
            self.hub.arrived(self, self.user.pk)  # what made this login doubtful meanwhile
        self._lifetime.lasts(identity.expires_at)
        until = wire.timestamp_if(identity.expires_at)
        self.send(wire.TokenRefreshed(expires_at=until))

    async def _send_missed(
        self, missed: list[LoggedEvent] | None, last_seq: int, head: int
    ) -> None:
        for count, event in enumerate(missed or ()):
            if count % _FRAMES_IN_A_TURN == 0:
                await asyncio.sleep(0)  # a client that reads fast never makes this wait
            if not await self.outbox.ready():
                return
            self.outbox.send(SharedFrame(wire.view_of(event.text, self.user.pk)))
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
        last_seq = wire.whole_number(asked[0])
        if last_seq is None:
            problem = wire.InvalidMessage("last_seq must be a whole number, 0 or more.", "resume")
            self.send_error(problem)
        return last_seq


async def _identify_by(credential: Credential | None, cookie: str | None) -> auth.Identity:
    if credential is not None and credential.kind == "token":
        return await _identify(credential)
    return await in_database(auth.identify, credential, cookie)


def _ref(command: wire.Command) -> str:
    return getattr(command, "client_message_id", None) or str(command.__struct_config__.tag)


class UnknownEndpoint(RealtimeConsumer):
    """A /ws/ path that is none of ours: says so in a frame."""

    endpoint = "unknown"
    commands: ClassVar[dict[type[wire.Command], Handler]] = {}

    async def _join(self, origin: OriginRule) -> None:
        self._refuse(wire.NotFound("There is no socket at this path."))
