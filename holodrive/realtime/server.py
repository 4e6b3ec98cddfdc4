"""Daphne, extended by what ASGI cannot say: finished frames written straight to each transport,
clean closes for bad UTF-8 and frames that are too big, and logs without tokens.
"""

import logging
from typing import Any

from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import main, tcp

from holodrive.realtime.operations import Operations
from holodrive.realtime.outbox import EXTENSION
from holodrive.realtime.redaction import redact

_CLOSE_SECONDS = 10  # for a client to answer a close

logger = logging.getLogger("holodrive.realtime.access")


class FrameWriter:
    """Writes finished WebSocket frames to one client (see `outbox.FrameWriter`)."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: WebSocketProtocol) -> None:
        self._protocol = protocol

    def __call__(self, frame: bytes) -> None:
        protocol = self._protocol
        if protocol.state == protocol.STATE_OPEN and protocol.transport is not None:
            write_now(protocol.transport, frame)

    def waiting(self) -> int:
        return waiting_bytes(self._protocol.transport)


def write_now(transport: Any, data: bytes) -> None:
    """Write in this very call when nothing is queued in the transport, else queue behind it.

    Twisted would wait for the next turn of its reactor. The private names are of its TCP
    connection; any other transport (TLS wraps one, and would pass them through to the bare socket)
    gets an ordinary `write`.
    """
    if not isinstance(transport, tcp.Connection) or (
        transport._tempDataLen or transport.dataBuffer or transport.disconnecting
    ):
        transport.write(data)
        return
    written = transport.writeSomeData(data)
    if written is main.CONNECTION_LOST or isinstance(written, Exception):
        return  # Twisted finds out by itself at the next read
    if written < len(data):
        transport.write(data[written:])  # type: ignore[no-untyped-call]


def waiting_bytes(transport: Any) -> int:
    """What the operating system has not taken yet; 0 where that cannot be known."""
    if not isinstance(transport, tcp.Connection):
        return 0
    return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)


class _Protocol(WebSocketProtocol):
    def __repr__(self) -> str:
        """Daphne logs this for applications that were too slow, path and all."""
        return f"<WebSocket client={self.client_addr} path={redact(self.path.decode('latin1'))}>"


class RealtimeServer(Server):
    """One process's server. `application` finds a `FrameWriter` in each WebSocket scope's
    extensions.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            *args,
            action_logger=log_access,
            ready_callable=self._configure,
            server_name="holodrive",
            **kwargs,
        )

    def _configure(self) -> None:
        self.ws_factory.protocol = _Protocol
        self.ws_factory.setProtocolOptions(
            # Close with 1007 (bad UTF-8) and 1009 (too big) instead of dropping the connection.
            failByDrop=False,
            # Autobahn's own 1 s resets the connection of a slow client, and the reason is lost.
            closeHandshakeTimeout=_CLOSE_SECONDS,
            # Daphne has set this, but autobahn resets it at every call. Origins are ours to judge.
            allowNullOrigin=True,
        )

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, WebSocketProtocol):
            scope.setdefault("extensions", {})[EXTENSION] = FrameWriter(protocol)
        return super().create_application(protocol, scope)

    def kill_all_applications(self) -> Any:
        """Daphne's shutdown step."""
        Operations.draining = True
        # A connection that has no application yet makes Daphne's own loop raise KeyError and cancel
        # nobody.
        for protocol, details in list(self.connections.items()):
            if "application_instance" not in details:
                del self.connections[protocol]
        return super().kill_all_applications()


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
