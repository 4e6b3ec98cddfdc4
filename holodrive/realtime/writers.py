"""How finished WebSocket frames reach a socket's transport, whichever server holds it. ASGI can
only `send`: a task, a queue and a new frame for each socket and event.
"""

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

EXTENSION = "holodrive.write_frame"  # the scope extension that server.py offers


class FrameWriter(Protocol):
    """What the scope extension is: writes finished frames, and knows what the transport still
    holds.
    """

    def at_once(self, frame: bytes) -> bool:
        """Hand it to the operating system in this very call. False if it was not written, since
        something waits before it or the socket is ending.
        """

    def __call__(self, frame: bytes) -> None:
        """Write it behind what waits; nothing if the socket is gone."""

    def waiting(self) -> int:
        """Bytes that the operating system has not taken yet."""

    async def drained(self) -> None:
        """Return when few bytes are waiting, or the socket is gone."""

    def restart_in_band(self) -> None:
        """From now on this socket's consumer takes ANNOUNCE_RESTART and RESTART."""

    def forget_handshake(self) -> None:
        """Drop what nobody reads any more: it would stay for as long as the socket."""


class UvicornWriter:
    """Writes past uvicorn's `send` to the asyncio transport that it has, too."""

    __slots__ = ("_protocol", "_transport")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._transport = transport = protocol.transport
        # Its own answers pings without end, whether they are read or not.
        protocol.handle_ping = partial(_answer_ping, protocol.conn, protocol.writable, transport)

    def at_once(self, frame: bytes) -> bool:
        transport = self._transport
        if transport.get_write_buffer_size() or transport.is_closing():
            return False
        transport.write(frame)
        return True

    def __call__(self, frame: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame)

    def waiting(self) -> int:
        return int(self._transport.get_write_buffer_size())

    async def drained(self) -> None:
        await self._protocol.writable.wait()

    def restart_in_band(self) -> None:
        """uvicorn closes with 1012 by itself."""

    def forget_handshake(self) -> None:
        self._protocol.request = self._protocol.response = None
        self._protocol.scope["headers"] = []


def _answer_ping(conn: Any, writable: Any, transport: Any) -> None:
    """Drop the pong while a client leaves more than 64 KiB unread: it is not waiting for that."""
    pong = b"".join(conn.data_to_send())
    if writable.is_set():
        transport.write(pong)


def writer(scope: Mapping[str, Any], send: Any) -> FrameWriter | None:
    """This socket's, if its server is known here."""
    offered: FrameWriter | None = scope.get("extensions", {}).get(EXTENSION)
    return offered or _of_plain_daphne(send) or _of_uvicorn(send)


def _of_plain_daphne(send: Any) -> FrameWriter | None:
    """The `daphne` command offers no extension, and its `send` never waits: nothing would bound
    what a client does not read. But its `send` is Server.handle_reply with the protocol given.
    """
    daphne = sys.modules.get("daphne.ws_protocol")
    protocol = send.args[0] if isinstance(send, partial) and send.args else None
    if daphne is None or not isinstance(protocol, daphne.WebSocketProtocol):
        return None
    from holodrive.realtime.server import FrameWriter

    return FrameWriter(protocol)


def _of_uvicorn(send: Any) -> FrameWriter | None:
    """Its `send` is a method of the protocol. (Of the older one, `--ws websockets`, nothing says
    when it may be written to.) Where a client has offered compression, a frame may still come
    without (RFC 7692, 6).
    """
    module = sys.modules.get("uvicorn.protocols.websockets.websockets_sansio_impl")
    protocol = getattr(send, "__self__", None)
    if module is None or not isinstance(protocol, module.WebSocketsSansIOProtocol):
        return None
    return UvicornWriter(protocol)
