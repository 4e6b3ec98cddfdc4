"""One HTTP connection of `manage.py serve`: Twisted's, which would collect a body of any size and
wait for any time, with a limit and a deadline for what arrives.
"""

import asyncio
from time import monotonic
from typing import Any

from daphne.http_protocol import WebRequest
from django.conf import settings
from twisted.internet.protocol import connectionDone
from twisted.web.http import RESPONSES, HTTPChannel, _GenericHTTPChannelProtocol

from holodrive.realtime import answers
from holodrive.realtime.addresses import address_of_scope
from holodrive.realtime.bodies import Refused, Waiting, due, is_too_large

_IDLE_SECONDS = 60  # before a request, and between two parts of a body
_UNREAD_SECONDS = 300  # for a client to take the 128 KiB that wait for it at most
_LINGER_SECONDS = 2  # for a refused client to read why
_EARLY_BYTES = 16_384  # of the next requests, while one is answered
_CHUNK_COST = 64  # bytes that a chunk counts beside its own: one-byte chunks took 2 s of a core

waiting = Waiting()


class Request(WebRequest):
    """Daphne's, without Twisted's own parsing of forms: nobody reads its outcome, and a body of
    2 MB takes a second of the event loop.
    """

    def __init__(self, channel: Any, *args: Any) -> None:
        super().__init__(channel, *args, parsePOSTFormSubmission=False)
        self.address = ""
        self.counted = 0

    def process(self) -> Any:
        processed = super().process()
        if self.transport is None:  # it has become a WebSocket
            self._uncount()
        return processed

    async def read(self) -> None:
        """Return once the client has taken most of what was written."""
        channel = getattr(self, "channel", None)
        if channel is not None and channel.unread is not None:
            await channel.unread.wait()

    def handleContentChunk(self, data: bytes) -> None:
        self.channel.count(self, len(data))
        super().handleContentChunk(data)

    def finish(self) -> None:
        super().finish()
        self._uncount()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self._uncount()

    def _uncount(self) -> None:
        waiting.give_back(self.address, self.counted)
        self.counted = 0


class Channel(HTTPChannel):
    transport: Any
    _networkProducer: Any

    def __init__(self) -> None:
        super().__init__()
        self.timeOut = None  # Twisted's begins anew with every byte
        self._timer: Any = None
        self._is_waiting = True  # for the first byte of a request
        self._has_headers = False
        self._began = self._heard = self._received = 0.0
        self.unread: asyncio.Event | None = None  # set once that has gone

    def connectionMade(self) -> None:
        super().connectionMade()
        self._wait(_IDLE_SECONDS)

    # What arrives, and by when

    def dataReceived(self, data: bytes) -> None:
        if not self._handlingRequest:
            self._heard = monotonic()
            if self._is_waiting:
                self._is_waiting, self._has_headers, self._began = False, False, self._heard
                self._received = 0
                self._wait(settings.REALTIME_REQUEST_SECONDS or _IDLE_SECONDS)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        request.address = self._address(request)
        if self.length and is_too_large(self.path(), self.length):
            self.refuse(413)  # and no "100 Continue"
            return
        super().allHeadersReceived()
        self._has_headers, self._began = True, monotonic()

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        try:
            return bool(super()._maybeChooseTransferDecoder(header, data))
        except ValueError:  # int() of more than 4,300 digits: Twisted would hang up without a word
            self.refuse(413)
            return False

    def rawDataReceived(self, data: bytes) -> None:
        if self._handlingRequest and self._dataBuffer:
            # What comes early: Twisted adds the lengths of all parts up, for each part.
            data = b"".join([*self._dataBuffer, data])
            self._dataBuffer.clear()
        try:
            super().rawDataReceived(data)
        except Refused as refusal:
            self.refuse(refusal.status)
        self._hold_back()

    def _finishRequestBody(self, data: bytes) -> None:
        super()._finishRequestBody(data)
        self._hold_back()

    def _hold_back(self) -> None:
        """Read no more while much has come early; `requestDone` reads on. Twisted does not look at
        what came with the end of a body, nor while a client does not read: each request of 200
        bytes let another 64 KiB in, 140 MB in 8 s from ten connections.
        """
        if self._handlingRequest and sum(map(len, self._dataBuffer)) > _EARLY_BYTES:
            self._networkProducer.pauseProducing()

    def count(self, request: Request, length: int) -> None:
        """Raise Refused if a part of this length is too much."""
        self._received += length
        if self.length is None:
            self._received += _CHUNK_COST
            if is_too_large(self.path(), int(self._received)):
                raise Refused(413)
        waiting.take(request.address, length)
        request.counted += length

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(431)

    def allContentReceived(self) -> None:
        self._wait(None)
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        self._is_waiting = True
        self._wait(_UNREAD_SECONDS if self._waitingForTransport else _IDLE_SECONDS)
        super().requestDone(request)  # and with the next one, if it is there already

    def _wait(self, seconds: float | None, then: Any = None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if seconds is None else self.callLater(seconds, then or self._look)

    def _look(self) -> None:
        now = monotonic()
        if self._is_waiting:
            self.timeoutConnection()
            return
        until = due(self._began, int(self._received) if self._has_headers else 0)
        until = min(until, self._heard + _IDLE_SECONDS)
        if now < until:
            self._wait(until - now)
        else:
            self.refuse(408)

    def _address(self, request: Request) -> str:
        peer = getattr(self.transport.getPeer(), "host", None)
        pairs = request.requestHeaders.getAllRawHeaders()
        headers = [(name.lower(), value) for name, values in pairs for value in values]
        return address_of_scope({"client": [peer, 0] if peer else None, "headers": headers})

    # What is refused

    def path(self) -> str:
        return getattr(self, "_path", b"").split(b"?", 1)[0].decode("latin1")

    def _origin(self) -> str | None:
        """Return the request's Origin, if that header has come yet."""
        found = self.requests[-1].requestHeaders.getRawHeaders(b"origin") if self.requests else None
        return found[0].decode("latin1") if found else None

    def refuse(self, status: int) -> None:
        """Say so, read no more, and close once that is read or two seconds are over: closed at
        once, with the rest of the body on its way, the system would take the answer back.
        """
        self._wait(None)
        headers, body = answers.headers_and_body(self.path(), status, origin=self._origin())
        phrase = RESPONSES.get(status, b"Refused")
        lines = [b"HTTP/1.1 %d %s" % (status, phrase), *(b"%s: %s" % each for each in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.dataReceived = lambda data: None  # type: ignore[method-assign]
        self.clearLineBuffer()
        self._networkProducer.unregisterProducer()
        self._networkProducer.pauseProducing()
        self.transport.loseWriteConnection()
        self._wait(_LINGER_SECONDS, self.transport.abortConnection)
        self._log_refusal(status)

    def _log_refusal(self, status: int) -> None:
        peer = self.transport.getPeer()
        details = {
            "path": getattr(self, "_path", b"-").decode("latin1"),
            "status": status,
            "method": getattr(self, "_command", b"-").decode("latin1"),
            "client": f"{peer.host}:{peer.port}" if hasattr(peer, "port") else None,
            "time_taken": monotonic() - self._began,
        }
        self.factory.server.log_action("http", "complete", details)

    # What is answered

    def pauseProducing(self) -> None:
        super().pauseProducing()
        if self._handlingRequest and self.unread is None:
            self.unread = asyncio.Event()
            self._wait(_UNREAD_SECONDS, self.transport.abortConnection)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._let_write()
        self._wait(_IDLE_SECONDS if self._is_waiting else None)

    def _let_write(self) -> None:
        if self.unread is not None:
            self.unread.set()
            self.unread = None

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self._wait(None)
        self._let_write()
        super().connectionLost(reason)


def bound(factory: Any) -> None:
    """Let a server's factory make these channels and requests."""
    build = factory.buildProtocol

    def build_ours(address: Any) -> Any:
        protocol = build(address)
        protocol.timeOut = None
        protocol.requestFactory = Request
        return protocol

    factory.protocol = lambda: _GenericHTTPChannelProtocol(Channel())
    factory.buildProtocol = build_ours
