"""Daphne, extended by what ASGI cannot say: finished frames written straight to each transport,
back-pressure both ways, clean closes with a reason, an orderly stop, and logs without tokens.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from autobahn.util import encode_truncate
from autobahn.websocket.types import ConnectionDeny
from daphne.http_protocol import WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from django.conf import settings
from twisted.internet import defer, tcp
from twisted.internet.protocol import connectionDone

from holodrive.realtime import http_channel, hub, supervisor
from holodrive.realtime.drain import Drain
from holodrive.realtime.inflow import Inflow
from holodrive.realtime.operations import Operations
from holodrive.realtime.outbox import ANNOUNCE_RESTART, OVER_BUDGET, RESTART
from holodrive.realtime.redaction import redact
from holodrive.realtime.wire import CloseCode
from holodrive.realtime.writers import EXTENSION

_CLOSE_SECONDS = 10  # for a client to answer a close
_CUT_SECONDS = 2  # for one that goes on sending, to see it
_LEAVE_SECONDS = 2  # for Redis to take the last wake-ups
_OFFERS = "sec-websocket-protocol"
_REASON_BYTES = 123  # of a close frame (RFC 6455, 5.5)
_REGISTERED_CODES = {*range(1000, 1004), *range(1007, 1015)}

_OPEN = WebSocketProtocol.STATE_OPEN

# What one socket may have waiting for its consumer; above it, reading pauses and TCP pushes back.
_INBOX_FRAMES = 64
_INBOX_BYTES = 512 * 1024
_DRIP_BYTES = 512  # a read of less that begins no frame is a drip
_FRAMES_IN_A_TURN = 32  # that one socket's consumer takes before the others have theirs

logger = logging.getLogger("holodrive.realtime.access")


class Gate:
    """A push producer of Twisted's: closed while more than the transport's `bufferSize` (64 KiB)
    waits there, open again when all of that is gone.
    """

    __slots__ = ("_opened",)

    def __init__(self) -> None:
        self._opened: asyncio.Event | None = None

    def pauseProducing(self) -> None:
        if self._opened is None:
            self._opened = asyncio.Event()

    def resumeProducing(self) -> None:
        if self._opened is not None:
            self._opened.set()
            self._opened = None

    stopProducing = resumeProducing

    @property
    def is_open(self) -> bool:
        return self._opened is None

    async def passed(self) -> None:
        if self._opened is not None:
            await self._opened.wait()


class FrameWriter:
    """Writes finished WebSocket frames to one client (see `writers.FrameWriter`)."""

    __slots__ = ("_gate", "_tcp", "is_in_band", "protocol")

    def __init__(self, protocol: WebSocketProtocol) -> None:
        self.protocol = protocol
        self.is_in_band = False
        self._gate = Gate()
        transport = protocol.transport
        # The private names that are looked at below are of a TCP connection. Any other transport
        # (TLS wraps one, and would pass them through to the bare socket) gets ordinary writes.
        self._tcp = transport if isinstance(transport, tcp.Connection) else None
        transport.unregisterProducer()  # that of the HTTP request that this was
        transport.registerProducer(self._gate, True)

    def at_once(self, frame: bytes) -> bool:
        """Twisted's own write would wait for the next turn of its reactor."""
        tcp = self._tcp
        if tcp is None or tcp._tempDataLen or tcp.dataBuffer or self.protocol.state != _OPEN:
            return False
        try:
            taken = tcp.socket.send(frame)
        except BlockingIOError:
            return False
        except OSError:
            return True  # Twisted finds out by itself at the next read
        if taken < len(frame):
            tcp.write(frame[taken:])  # type: ignore[no-untyped-call]
        return True

    def __call__(self, frame: bytes) -> None:
        protocol = self.protocol
        if protocol.state == _OPEN and protocol.transport is not None:
            protocol.transport.write(frame)

    def waiting(self) -> int:
        """What the operating system has not taken yet; 0 where that cannot be known."""
        tcp = self._tcp
        return 0 if tcp is None else len(tcp.dataBuffer) - tcp.offset + tcp._tempDataLen

    async def drained(self) -> None:
        await self._gate.passed()

    @property
    def is_open(self) -> bool:
        """Whether little waits, on any transport."""
        return self._gate.is_open

    def restart_in_band(self) -> None:
        self.is_in_band = True

    def forget_handshake(self) -> None:
        """Its path is still asked for; the rest is there four times over."""
        protocol, nothing = self.protocol, dict[str, Any]()
        protocol.http_headers = protocol.request.headers = protocol.request.params = nothing
        protocol.http_request_data, protocol.clean_headers = b"", ()
        protocol._transport_details = None


def answer_to_close(code: int | None, reason: bytes | None) -> int:
    """Return the code that answers a client's close: its own, if it may stand on the wire (RFC
    6455, 7.4, and the IANA registry), else 1002; 1007 if the reason is not UTF-8.
    """
    if code is None:
        return 1000
    if not (code in _REGISTERED_CODES or 3000 <= code <= 4999):
        return 1002
    try:
        (reason or b"").decode()
    except UnicodeDecodeError:
        return 1007
    return code


class Protocol(WebSocketProtocol):
    """One WebSocket: Daphne's, with a bounded inbox, any close code, and reasons."""

    def __init__(self) -> None:
        super().__init__()
        self.writer: FrameWriter | None = None
        self._inbox_bytes = 0
        self._is_paused = False
        self._taken = 0
        self._inflow = Inflow()
        self._unparsed = memoryview(b"")
        self._awaits_accept = False
        self._has_begun = False  # a frame, in what was read last
        self._resting: asyncio.TimerHandle | None = None  # nothing is read until then
        self._cutting: asyncio.TimerHandle | None = None
        self._latest_ping = b""
        self._late_pong: asyncio.Future[None] | None = None  # for a client that does not read

    def __repr__(self) -> str:
        """Daphne logs this for applications that were too slow, path and all."""
        return f"<WebSocket client={self.client_addr} path={redact(self.path.decode('latin1'))}>"

    # The handshake

    def onConnect(self, request: Any) -> Any:
        self._awaits_accept = True
        if not request.headers.get(_OFFERS, "").isascii():  # Daphne: a 500, with a traceback
            del request.headers[_OFFERS]
        return super().onConnect(request).addErrback(_while_draining)

    def onOpen(self) -> None:
        self._awaits_accept = False
        super().onOpen()
        self._read_on()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Let go of what leads back here, so that it is freed now and not by a collection."""
        self._stop_timers()
        self._unparsed = memoryview(b"")
        super().connectionLost(reason)
        self.writer = self.is_closed = self.application_deferred = None

    # From the client: no more than its budget, and TCP pushes back on the rest

    def dataReceived(self, data: bytes) -> None:
        """Autobahn's own first paints three strings in colours for a log that nobody reads, and
        then parses all there is: one chunk of TCP (64 KiB) may hold ten thousand pings.
        """
        self._has_begun = False
        is_first = self.state == _OPEN and not self._unparsed and self._may_read()
        if is_first and len(data) <= self._inflow.room(0):
            self._dataReceived(data)  # what nearly all are: one small frame
        else:
            self._unparsed = memoryview(bytes(self._unparsed) + data if self._unparsed else data)
            self._parse()
        if not self._has_begun and len(data) < _DRIP_BYTES:
            self._inflow.dripped()
        if self._awaits_accept and self._unparsed:
            self.transport.pauseProducing()  # only now: or it would not be seen that a client went

    def _parse(self) -> None:
        while self._unparsed and self._may_read() and self.state != self.STATE_CLOSED:
            size = len(self._unparsed)
            if self.state != self.STATE_CONNECTING:
                size = min(size, self._inflow.room(self._rest_of_frame()))
            if size:
                part, self._unparsed = bytes(self._unparsed[:size]), self._unparsed[size:]
                self._inflow.parsed(size)
                self._dataReceived(part)
            elif seconds := self._inflow.rest():
                self._rest(seconds)

    def _may_read(self) -> bool:
        return not (self._awaits_accept or self._is_paused or self._resting or self._cutting)

    def _rest_of_frame(self) -> int:
        frame = self.current_frame
        return 0 if frame is None else frame.length - self.current_frame_masker.pointer()

    def _rest(self, seconds: float) -> None:
        self.transport.pauseProducing()
        loop = asyncio.get_running_loop()
        if not self._inflow.is_exhausted:
            self._resting = loop.call_later(seconds, self._read_on)
        elif self.state == _OPEN:
            # Reading goes on when the close is out; a command that runs may keep it waiting.
            self._resting = loop.call_later(_CLOSE_SECONDS, self._cut_off)
            self._close_in_band(OVER_BUDGET, CloseCode.RATE_LIMITED)
        else:
            self._cut_off_after(_CUT_SECONDS)

    def _read_on(self) -> None:
        """Go on after a rest, an accept, or when the consumer has caught up; then read again."""
        self._stop_resting()
        if self.transport is not None:
            self._parse()
            if self._may_read():
                self.transport.resumeProducing()

    def onFrameBegin(self) -> None:
        frame = self.current_frame
        self._has_begun = True
        self._inflow.begun(frame.opcode, frame.fin, frame.length)
        super().onFrameBegin()

    def onPing(self, payload: bytes) -> None:
        """A client that does not read is answered its latest ping only, once it reads again
        (RFC 6455, 5.5.3): all that waits for it is bounded.
        """
        if self.writer is None or self.writer.is_open:
            super().onPing(payload)
        else:
            self._latest_ping = payload
            if self._late_pong is None:
                self._late_pong = asyncio.ensure_future(self._pong_late(self.writer))

    async def _pong_late(self, writer: FrameWriter) -> None:
        await writer.drained()
        self._late_pong = None
        if self.transport is not None:
            self.sendPong(self._latest_ping)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Daphne's queue has no bound: stop reading when it is long. The slice of a chunk of TCP
        that is being parsed may hold some more frames, and they all come.
        """
        if self.application_queue.empty():
            self._inbox_bytes = 0
        super().onMessage(payload, isBinary)
        self._inbox_bytes += len(payload)
        is_full = (
            self.application_queue.qsize() >= _INBOX_FRAMES or self._inbox_bytes >= _INBOX_BYTES
        )
        if is_full and not self._is_paused:
            self._is_paused = True
            self.transport.pauseProducing()

    async def receive(self) -> dict[str, Any]:
        """What the application awaits."""
        message: dict[str, Any] = await self.application_queue.get()
        if self._is_paused and self.application_queue.empty():
            self._is_paused = False
            if self._resting is None:
                self._read_on()
        self._taken += 1
        if self._taken % _FRAMES_IN_A_TURN == 0:
            await asyncio.sleep(0)  # a queue that is not empty never lets go of the event loop
        return message

    # From the application

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message.get("type") == "websocket.close" and self.state != self.STATE_CONNECTING:
            self.end(message.get("code") or 1000, message.get("reason") or "")
        else:
            super().handle_reply(message)

    def end(self, code: int, reason: str) -> None:
        """Daphne drops the reason, and autobahn's `sendClose` refuses 1012; its frame takes
        both.
        """
        if self.state == _OPEN:
            self.sendCloseFrame(code, encode_truncate(reason, _REASON_BYTES), isReply=False)

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> None:
        """Answer a close: autobahn says 1000 to any valid code, and cuts the connection before its
        1002 to an invalid one is out.
        """
        if self.state != _OPEN and not self.failedByMe:
            super().onCloseFrame(code, reasonRaw)
            return
        if self.state != _OPEN:  # a close of one byte was refused by its head already
            self.dropConnection(abort=False)
            return
        self.remoteCloseCode, self.wasClean = code, True
        self.remoteCloseReason = (reasonRaw or b"").decode(errors="replace")
        self.sendCloseFrame(answer_to_close(code, reasonRaw), isReply=True)
        self.dropConnection(abort=False)

    def sendCloseFrame(self, *args: Any, **kwargs: Any) -> None:
        """All closes go through here, autobahn's own too. Little more is read after one."""
        was_open = self.state == _OPEN
        super().sendCloseFrame(*args, **kwargs)
        if was_open:
            self._inflow.close()
            if self._resting is not None:
                self._stop_resting()
                asyncio.get_running_loop().call_soon(self._read_on)

    def _closeConnection(self, abort: bool = False) -> None:
        """A client that does not read would keep what waits for it, and its place, for ever."""
        super()._closeConnection(abort)
        if not abort:
            self._cut_off_after(_CLOSE_SECONDS)

    def _cut_off_after(self, seconds: float) -> None:
        if self._cutting is None:
            self._cutting = asyncio.get_running_loop().call_later(seconds, self._cut_off)

    def _cut_off(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def _stop_resting(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def _stop_timers(self) -> None:
        self._stop_resting()
        if self._cutting is not None:
            self._cutting.cancel()
            self._cutting = None

    # From the drain

    def announce_restart(self, delay_ms: int) -> None:
        if self.writer is not None and self.writer.is_in_band:
            self.application_queue.put_nowait({"type": ANNOUNCE_RESTART, "delay_ms": delay_ms})

    def restart(self) -> None:
        self._close_in_band(RESTART, CloseCode.RESTART)

    def _close_in_band(self, message: str, code: CloseCode) -> None:
        """Close behind the command that runs and those that came before; a consumer that is not of
        ours just loses its socket.
        """
        if self.writer is not None and self.writer.is_in_band:
            self.application_queue.put_nowait({"type": message})
        else:
            self.end(code, code.reason)


def _while_draining(refusal: Any) -> Any:
    """Daphne says 403 to whatever was refused; a server that is about to stop says: elsewhere."""
    if Operations.draining:
        raise ConnectionDeny(ConnectionDeny.SERVICE_UNAVAILABLE, "The server restarts")  # type: ignore[no-untyped-call]
    return refusal


class RealtimeServer(Server):
    """One process's server. `application` finds a `FrameWriter` in each WebSocket scope's
    extensions.
    """

    def __init__(self, application: Any, outlived_by_port: bool = False, **kwargs: Any) -> None:
        super().__init__(
            _with_bounded_inbox(application),
            action_logger=log_access,
            ready_callable=self._configure,
            server_name="holodrive",
            **kwargs,
        )
        self.ports: list[Any] = []
        self.outlived_by_port = outlived_by_port

    def _configure(self) -> None:
        self.ws_factory.setProtocolOptions(
            # Close with 1007 (bad UTF-8) and 1009 (too big) instead of dropping the connection.
            failByDrop=False,
            # Autobahn's own 1 s resets the connection of a slow client, and the reason is lost.
            closeHandshakeTimeout=_CLOSE_SECONDS,
            # Daphne has set this, but autobahn resets it at every call. Origins are ours to judge.
            allowNullOrigin=True,
        )
        self.ws_factory.protocol = _with_options(self.ws_factory)
        http_channel.bound(self.http_factory)

    def listen_success(self, port: Any) -> None:
        self.ports.append(port)
        # In the loop's first turn: before, a signal would not lead to a drain.
        _reactor().callLater(0, supervisor.notify, "READY=1")
        # Before the first socket: who is asked for (status.py) is there.
        _reactor().callLater(0, hub.here)
        super().listen_success(port)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, Protocol):
            protocol.writer = FrameWriter(protocol)
            scope.setdefault("extensions", {})[EXTENSION] = protocol.writer
        return super().create_application(protocol, scope)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Daphne takes whatever an application sends, however slowly its client reads."""
        await super().handle_reply(protocol, message)
        if message.get("more_body") and isinstance(protocol, http_channel.Request):
            await protocol.read()

    def protocol_disconnected(self, protocol: Any) -> None:
        super().protocol_disconnected(protocol)
        if isinstance(protocol, WebRequest) and protocol.transport is None:
            # It has become a WebSocket. In the next turn: it is not quite through with its channel.
            _reactor().callLater(0, _let_go_of_transport, protocol.channel)

    def sockets(self) -> list[Protocol]:
        return [each for each in self.connections if isinstance(each, Protocol)]

    def is_busy(self) -> bool:
        """Whether an application runs, or what it answered has not left yet."""
        running = (details.get("application_instance") for details in self.connections.values())
        return any(task and not task.done() for task in running) or bool(_reactor().getWriters())

    def kill_all_applications(self) -> Any:
        """Daphne's shutdown step: the shutdown goes on when the Deferred fires."""
        drained = defer.Deferred.fromFuture(asyncio.ensure_future(self._drain()))
        return drained.addBoth(self._kill_the_rest).addBoth(_leave_hub)

    async def _drain(self) -> None:
        supervisor.notify("STOPPING=1")
        drain = Drain(self, settings.REALTIME_DRAIN_SECONDS)
        drain.take_signals()
        await drain.run()

    def _kill_the_rest(self, _: object) -> Any:
        # A connection that has no application (any more) makes Daphne's own loop raise KeyError and
        # cancel nobody.
        for protocol, details in list(self.connections.items()):
            if "application_instance" not in details:
                del self.connections[protocol]
        return super().kill_all_applications()


def _with_options(factory: Any) -> type[Protocol]:
    """Autobahn copies each socket its factory's 29 options, and formats them for its log, which is
    most of what it takes to open one. As attributes of the class all share them.
    """
    options = {name: getattr(factory, name) for name in Protocol.CONFIG_ATTRS}
    # A function (who judges an offer of compression, which every browser makes) is no method.
    options = {name: staticmethod(it) if callable(it) else it for name, it in options.items()}
    return type("Protocol", (Protocol,), {**options, "CONFIG_ATTRS": ()})


def _let_go_of_transport(channel: Any) -> None:
    """Request and channel know each other, and would keep the socket's transport, with all that a
    client has not read, until a collection (garbage.py).
    """
    channel.requests, channel.transport, channel._networkProducer = [], None, None


def _leave_hub(_: object) -> Any:
    """What the ends of the sockets have told other processes (nobody types here any more) leaves
    first.
    """

    async def leave() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await hub.leave()

    return defer.Deferred.fromFuture(asyncio.ensure_future(leave()))


def _reactor() -> Any:
    from twisted.internet import reactor  # typed as a module, and installed late

    return reactor


def _with_bounded_inbox(application: Any) -> Any:
    def bounded(scope: Any, receive: Any, send: Any) -> Any:
        writer: FrameWriter | None = scope.get("extensions", {}).get(EXTENSION)
        return application(scope, writer.protocol.receive if writer else receive, send)

    return bounded


def log_access(protocol: str, action: str, details: dict[str, Any]) -> None:
    """One line for each finished HTTP request; sockets write theirs at their end (consumer.py)."""
    if protocol == "http" and action == "complete":
        logger.info(
            "%s %s status=%s client=%s seconds=%.3f",
            details["method"],
            redact(details["path"]),
            details["status"],
            details["client"],
            details["time_taken"],
        )
