"""WebSocket frames by hand (RFC 6455), and one socket on them: a library would cost this process
more than the servers spend that it measures.
"""

import asyncio
from collections.abc import Callable, Iterable
from itertools import pairwise

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10  # opcodes (5.2)
_SOURCES = 8  # addresses of this machine to connect from: one has some 28,000 ports
_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


class LoadError(RuntimeError):
    """A socket was refused, or ended while it was in use."""


def client_frame(opcode: int, payload: bytes) -> bytes:
    """One frame as a client must send it: masked, here with zeros, which leave the payload as it is
    (5.3)."""
    size = len(payload)
    if size < 126:
        header = bytes((0x80 | opcode, 0x80 | size))
    else:
        header = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    return header + bytes(4) + payload


def split_frame(buffer: bytes) -> tuple[int, int] | None:
    """Where the payload of the server's first frame begins and ends; None if not all is there."""
    size, start = (buffer[1] if len(buffer) >= 2 else 0), 2
    extended = {126: 2, 127: 8}.get(size, 0)
    if len(buffer) < start + extended:
        return None
    if extended:
        size, start = int.from_bytes(buffer[2 : 2 + extended], "big"), 2 + extended
    return (start, start + size) if len(buffer) >= start + size else None


def faults(received: list[int], expected: Iterable[int]) -> tuple[int, int, int]:
    """(lost, doubled, out of order) of one socket. A number not expected counts as doubled."""
    due = set(expected)
    known = set(received) & due
    disordered = sum(after < before for before, after in pairwise(received))
    return len(due) - len(known), len(received) - len(known), disordered


class Link(asyncio.Protocol):
    """One WebSocket. `take` gets the payload of each text frame. Whatever ends it before `leave`
    is told to `failed`.
    """

    def __init__(
        self,
        handshake: bytes,
        take: Callable[[bytes], None],
        failed: Callable[[LoadError], None],
    ) -> None:
        self.transport: asyncio.Transport
        self.upgraded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.take = take
        self._failed = failed
        self._handshake = handshake
        self._leaving = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._handshake)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if not self.upgraded.done():
            data = self._upgrade(data)
        while data and (place := split_frame(data)):
            start, end = place
            if data[0] == 0x80 | TEXT:
                self.take(data[start:end])
            else:
                self._control(data[0], data[start:end])
            data = data[end:]
        self._rest = data

    def _upgrade(self, data: bytes) -> bytes:
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            self._rest = data
            return b""
        if not head.startswith(b"HTTP/1.1 101"):
            self._fail(f"was refused: {head[:100]!r}")
            return b""
        self.upgraded.set_result(None)
        return rest

    def _control(self, first: int, payload: bytes) -> None:
        if first == 0x80 | PING:
            self.transport.write(client_frame(PONG, payload))
        elif first == 0x80 | CLOSE:
            self._fail(f"was closed: {int.from_bytes(payload[:2], 'big')}")
        elif first != 0x80 | PONG:  # nobody here fragments, or was asked to compress
            self._fail(f"got a frame that begins with {first:#x}")

    def send(self, payload: bytes) -> None:
        self.transport.write(client_frame(TEXT, payload))

    def connection_lost(self, problem: Exception | None) -> None:
        self._fail(f"was lost ({problem or 'by the server'})")

    def leave(self) -> None:
        self._leaving = True
        self.transport.write(client_frame(CLOSE, (1000).to_bytes(2, "big")))

    def cut(self) -> None:
        """As a phone that has lost its network, and as a last resort."""
        self._leaving = True
        self.transport.abort()

    def _fail(self, what: str) -> None:
        if self._leaving:
            return
        self._leaving = True  # once is enough
        problem = LoadError(f"a socket {what}")
        if not self.upgraded.done():
            self.upgraded.set_exception(problem)
            self.upgraded.exception()  # whoever waits for it sees it; nobody has to
        self._failed(problem)


async def open_link(
    port: int,
    path: str,
    take: Callable[[bytes], None],
    failed: Callable[[LoadError], None],
    token: str = "",
    source: int = 0,
) -> Link:
    """A socket whose handshake is on its way. Raises OSError. `source`: which socket of many it is,
    so that they share the addresses of this machine.
    """
    handshake = _HANDSHAKE.format(path=path, port=port)
    if token:
        handshake += f"Authorization: Bearer {token}\r\n"
    _, link = await asyncio.get_running_loop().create_connection(
        lambda: Link(f"{handshake}\r\n".encode(), take, failed),
        "127.0.0.1",
        port,
        local_addr=(f"127.0.0.{1 + source % _SOURCES}", 0),
    )
    return link
