"""The load: many sockets in one conversation, one of which sends numbered messages at a fixed rate.

Every frame is parsed, and every socket must get each number once and in order. Parsing 10,000
frames a second one by one would make this process the limit. But the frames of one message are the
same bytes for all sockets: bytes not seen before are parsed in full, equal bytes are the same
message.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.processes import Server

_JOINING_AT_ONCE = 20  # Daphne's backlog is 50
_JOIN_SECONDS = 60.0
_PATIENCE = 10.0  # seconds of silence until what has not come counts as lost, and not as late
_BEHIND_SECONDS = 1.0
_SETTLE_SECONDS = 0.5  # after the last frame due: for doubled ones, and what the server still does
_TEXT_LENGTH = 120
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10  # opcodes (RFC 6455, 5.2)
_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


class LoadError(RuntimeError):
    """A socket was refused, or ended while it was in use."""


@dataclass(frozen=True)
class Measurement:
    """One run. Times and CPU are in seconds; CPU counts from just before the first message until
    all is settled."""

    deliveries: int
    lost: int
    doubled: int
    disordered: int
    planned: float  # from the first message to the last, by the rate
    seconds: float  # from the first message to the last delivery
    server_cpu: float
    valkey_cpu: float
    generator_share: float  # of one core, over the whole run
    latencies: list[float]  # sorted, one for each delivery
    frame_bytes: int

    def is_correct(self) -> bool:
        return not (self.lost or self.doubled or self.disordered)

    def fell_behind(self) -> bool:
        """The server did not keep up with the rate: its latency is then that of a queue."""
        return self.seconds > self.planned + _BEHIND_SECONDS

    def latency(self, percent: float) -> float:
        if not self.latencies:
            return 0.0
        return self.latencies[
            min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))
        ]


def text_of(number: int) -> str:
    """The text of a message, of one length for all."""
    return f"{number} The driver waits at the north gate. ".ljust(_TEXT_LENGTH, ".")


def client_frame(opcode: int, payload: bytes) -> bytes:
    """One frame as a client must send it: masked, here with zeros, which leave the payload as it is
    (RFC 6455, 5.3)."""
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


def faults(received: list[int], expected: range) -> tuple[int, int, int]:
    """(lost, doubled, out of order) of one socket. A number not expected counts as doubled."""
    known = set(received) & set(expected)
    disordered = sum(after < before for before, after in pairwise(received))
    return len(expected) - len(known), len(received) - len(known), disordered


class Crowd:
    """All sockets in one conversation of one server, and what they have received."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.numbers: dict[bytes, int] = {}  # by the whole frame
        self.latencies: list[float] = []
        self.leaving = False
        self._sockets: list[_Socket] = []
        self._sent: dict[int, float] = {}
        self._due = 0
        self._ended: asyncio.Future[None] | None = None  # all is there, or never will be

    async def join(self, count: int) -> None:
        """Open this many sockets and wait until each is in the conversation. Raises LoadError."""
        gate = asyncio.Semaphore(_JOINING_AT_ONCE)
        async with asyncio.timeout(_JOIN_SECONDS), asyncio.TaskGroup() as group:
            for index in range(count):
                group.create_task(self._join(index, gate))

    async def _join(self, index: int, gate: asyncio.Semaphore) -> None:
        server = self.server
        handshake = _HANDSHAKE.format(path=server.path, port=server.port)
        if server.tokens:
            handshake += f"Authorization: Bearer {server.tokens[index % len(server.tokens)]}\r\n"
        async with gate:
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: _Socket(self, handshake + "\r\n"), "127.0.0.1", server.port
            )
            self._sockets.append(client)
            await client.joined

    async def leave(self) -> None:
        self.leaving = True
        for client in self._sockets:
            client.transport.write(client_frame(_CLOSE, (1000).to_bytes(2, "big")))
        await asyncio.sleep(_SETTLE_SECONDS)
        for client in self._sockets:
            client.transport.abort()
        await asyncio.sleep(_SETTLE_SECONDS)

    async def measure(self, numbers: range, rate: float) -> Measurement:
        """Send these messages, so many a second, and wait for all deliveries. Raises LoadError."""
        self._ended = asyncio.get_running_loop().create_future()
        self._due = len(numbers) * len(self._sockets)
        self.latencies.clear()
        self.numbers.clear()
        for client in self._sockets:
            client.received.clear()

        began, own = time.perf_counter(), time.process_time()
        server_cpu, valkey_cpu = self.server.cpu(), self.server.valkey_cpu()
        await self._send(numbers, rate)
        await self._until_complete_or_silent()
        ended = time.perf_counter()
        await asyncio.sleep(_SETTLE_SECONDS)
        server_cpu = self.server.cpu() - server_cpu
        valkey_cpu = self.server.valkey_cpu() - valkey_cpu
        own_share = (time.process_time() - own) / (time.perf_counter() - began)

        if self._ended.done():
            self._ended.result()  # raises if a socket ended
        lost, doubled, disordered = (
            sum(column)
            for column in zip(
                *(faults(client.received, numbers) for client in self._sockets), strict=True
            )
        )
        return Measurement(
            deliveries=len(self.latencies),
            planned=(len(numbers) - 1) / rate,
            lost=lost,
            doubled=doubled,
            disordered=disordered,
            seconds=ended - began,
            server_cpu=server_cpu,
            valkey_cpu=valkey_cpu,
            generator_share=own_share,
            latencies=sorted(self.latencies),
            frame_bytes=max(map(len, self.numbers), default=0),
        )

    async def _until_complete_or_silent(self) -> None:
        """A busy machine makes deliveries late: as long as any come, none is called lost."""
        assert self._ended is not None
        seen = -1
        while not self._ended.done() and len(self.latencies) > seen:
            seen = len(self.latencies)
            await asyncio.wait([self._ended], timeout=_PATIENCE)

    async def _send(self, numbers: range, rate: float) -> None:
        sender = self._sockets[0]
        began = time.perf_counter()
        for index, number in enumerate(numbers):
            await asyncio.sleep(began + index / rate - time.perf_counter())
            frame = {"type": "chat_message", "message": text_of(number)}
            payload = client_frame(_TEXT, json.dumps(frame).encode())
            self._sent[number] = time.perf_counter()
            sender.transport.write(payload)

    def delivered(self, number: int) -> None:
        self.latencies.append(time.perf_counter() - self._sent[number])
        if len(self.latencies) == self._due and self._ended and not self._ended.done():
            self._ended.set_result(None)

    def number_of(self, frame: bytes, payload: bytes) -> int | None:
        """Parse a frame that was not seen before; None if it is none of the messages."""
        content = json.loads(payload)
        if content.get("type") == "error":
            self.failed(LoadError(f"{self.server.name}: {content}"))
        text = str(content.get("message", ""))
        number = text.partition(" ")[0]
        if not number.isdigit() or text != text_of(int(number)) or int(number) not in self._sent:
            return None
        self.numbers[frame] = int(number)
        return int(number)

    def failed(self, problem: LoadError) -> None:
        if self._ended and not self._ended.done():
            self._ended.set_exception(problem)


class _Socket(asyncio.Protocol):
    """One WebSocket. `received`: the numbers of the messages, as they came."""

    def __init__(self, crowd: Crowd, handshake: str) -> None:
        self.transport: asyncio.Transport
        self.received: list[int] = []
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._crowd = crowd
        self._numbers = crowd.numbers
        self._handshake = handshake
        self._upgraded = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._handshake.encode())

    def data_received(self, data: bytes) -> None:
        data, self._rest = self._rest + data, b""
        number = self._numbers.get(data)
        if number is not None:  # nearly always: exactly one frame, and another socket has had it
            self.received.append(number)
            self._crowd.delivered(number)
            return
        if not self._upgraded:
            data = self._upgrade(data)
        while data and (place := split_frame(data)):
            start, end = place
            self._take(data[:end], data[start:end])
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
        self._upgraded = True
        if not self._crowd.server.greets:
            self.joined.set_result(None)
        return rest

    def _take(self, frame: bytes, payload: bytes) -> None:
        opcode = frame[0] & 0x0F
        if opcode == _PING:
            self.transport.write(client_frame(_PONG, payload))
        elif opcode == _CLOSE:
            self._fail(f"was closed: {int.from_bytes(payload[:2], 'big')}")
        elif frame[0] != 0x80 | _TEXT:  # our servers do not fragment, and negotiate no compression
            self._fail(f"got a frame that begins with {frame[0]:#x}")
        else:
            self._take_text(frame, payload)

    def _take_text(self, frame: bytes, payload: bytes) -> None:
        if not self.joined.done():
            if json.loads(payload).get("type") != "connection_established":
                self._fail(f"was refused: {payload.decode()[:200]}")
            else:
                self.joined.set_result(None)
            return
        number = self._numbers.get(frame)
        if number is None:
            number = self._crowd.number_of(frame, payload)
        if number is not None:
            self.received.append(number)
            self._crowd.delivered(number)

    def connection_lost(self, problem: Exception | None) -> None:
        self._fail(f"was lost ({problem or 'by the server'})")

    def _fail(self, what: str) -> None:
        if self._crowd.leaving:
            return
        error = LoadError(f"{self._crowd.server.name}: a socket {what}")
        if not self.joined.done():
            self.joined.set_exception(error)
        self._crowd.failed(error)
