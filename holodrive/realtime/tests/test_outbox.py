"""Outboxes and shared frames."""

import asyncio
import inspect
import socket
from contextlib import suppress
from functools import partial
from unittest.mock import MagicMock

import pytest
from twisted.internet import abstract, tcp
from uvicorn import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from holodrive.realtime import server
from holodrive.realtime.outbox import DirectOutbox, QueuedOutbox, SharedFrame, outbox
from holodrive.realtime.publish import Breaker
from holodrive.realtime.wire import CloseCode
from holodrive.realtime.writers import EXTENSION, UvicornWriter
from testing.patience import PATIENCE


def parsed(content):
    """The frame as the `websockets` library reads it."""
    reader = StreamReader()
    reader.feed_data(content)
    parsing = Frame.parse(reader.read_exact, mask=False)
    try:
        while True:
            next(parsing)
    except StopIteration as done:
        return done.value


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_shared_frame_is_one_unmasked_text_frame(size):
    text = "ў" + "x" * (size - 2) if size > 1 else "x" * size
    frame = parsed(SharedFrame(text).bytes)
    assert (frame.opcode, frame.fin, bytes(frame.data).decode()) == (Opcode.TEXT, True, text)


class Writer:
    def __init__(self, waiting=0):
        self.frames, self.bytes_waiting = [], waiting

    def at_once(self, frame):
        if self.bytes_waiting:
            return False
        self.frames.append(frame)
        return True

    def __call__(self, frame):
        self.frames.append(frame)

    def waiting(self):
        return self.bytes_waiting

    async def drained(self):
        pass

    def restart_in_band(self):
        pass

    def forget_handshake(self):
        pass


@pytest.fixture
def sent():
    return []


@pytest.fixture
def send(sent):
    async def record(message):
        sent.append(message)

    return record


async def test_the_server_extension_is_used_where_there_is_one(send):
    assert isinstance(outbox({"extensions": {EXTENSION: Writer()}}, send, 0), DirectOutbox)
    assert isinstance(outbox({"extensions": {}}, send, 0), QueuedOutbox)
    assert isinstance(outbox({}, send, 0), QueuedOutbox)


async def test_over_half_of_the_limit_only_what_is_in_the_log_goes_out(send):
    writer = Writer(waiting=600)
    box = DirectOutbox(send, 1000, writer)
    box.send(SharedFrame("typing"), ephemeral=True)
    box.send(SharedFrame("event"))
    assert len(writer.frames) == 1


async def test_over_the_limit_the_socket_closes_with_4408(send, sent):
    writer = Writer(waiting=990)
    box = DirectOutbox(send, 1000, writer)
    box.send(SharedFrame("x" * 50))
    box.send(SharedFrame("later"))
    await box._closing
    assert writer.frames == []
    assert sent == [{"type": "websocket.close", "code": 4408, "reason": "too slow"}]


async def test_a_large_frame_passes_when_nothing_waits(send):
    writer = Writer()
    DirectOutbox(send, 10, writer).send(SharedFrame("x" * 50))
    assert len(writer.frames) == 1


async def test_without_a_limit_nothing_is_bounded(send):
    writer = Writer(waiting=10**9)
    DirectOutbox(send, 0, writer).send(SharedFrame("x"))
    assert len(writer.frames) == 1


async def test_a_queue_keeps_the_order_and_closes_behind_it(send, sent):
    box = QueuedOutbox(send, 0)
    for number in range(3):
        box.send(SharedFrame(str(number)))
    box.close(CloseCode.NOT_FOUND)
    async with asyncio.timeout(PATIENCE):
        await box._closing
    assert [message.get("text") for message in sent] == ["0", "1", "2", None]
    assert sent[-1]["code"] == 4404


async def test_a_slow_reader_on_asgi_is_bounded_too(sent):
    async def never(message):
        sent.append(message)
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()

    box = QueuedOutbox(never, 1000)
    for _ in range(100):
        box.send(SharedFrame("x" * 90))
    assert box.closed == 4408
    assert box.waiting() <= 1000
    await box.stop()


@pytest.mark.parametrize("box_of", [QueuedOutbox, partial(DirectOutbox, write=Writer())])
async def test_a_close_for_a_client_that_left_is_no_error(box_of):
    """uvicorn raises ClientDisconnected: of a task that nobody awaits asyncio logs a traceback."""

    async def send(message):
        raise ClientDisconnected

    box = box_of(send, 0)
    box.close(CloseCode.NOT_FOUND)
    async with asyncio.timeout(PATIENCE):
        await box._closing


async def test_a_reader_that_takes_nothing_is_too_slow_for_a_resume(send, sent, monkeypatch):
    monkeypatch.setattr("holodrive.realtime.outbox._STALLED_SECONDS", 0.01)
    writer = Writer()
    writer.drained = asyncio.Event().wait
    box = DirectOutbox(send, 1000, writer)
    assert not await box.ready()
    await box._closing
    assert sent[0]["code"] == 4408


async def test_many_frames_wait_for_the_queue_to_empty():
    gate = asyncio.Event()

    async def send(message):
        await gate.wait()

    box = QueuedOutbox(send, 0)
    assert await box.ready()
    box.send(SharedFrame("x" * 70_000))
    ready = asyncio.ensure_future(box.ready())
    await asyncio.sleep(0)
    assert not ready.done()
    gate.set()
    async with asyncio.timeout(PATIENCE):
        assert await ready


async def test_a_gate_is_closed_while_twisted_has_much_to_write():
    """Twisted's own transport closes and opens it."""
    transport = abstract.FileDescriptor(reactor=MagicMock())
    transport.connected = 1
    gate = server.Gate()
    transport.registerProducer(gate, True)
    transport.write(b"x" * 65_536)
    await gate.passed()
    transport.write(b"x")
    passed = asyncio.ensure_future(gate.passed())
    await asyncio.sleep(0)
    assert not passed.done()
    transport.writeSomeData = len
    transport.doWrite()
    async with asyncio.timeout(PATIENCE):
        await passed
    transport.write(b"x" * 70_000)
    passed = asyncio.ensure_future(gate.passed())
    transport.connectionLost(None)
    async with asyncio.timeout(PATIENCE):
        await passed


async def test_plain_daphne_is_recognised_by_what_it_gives_as_send():
    """Else nothing would bound what its clients do not read."""
    from daphne.server import Server
    from daphne.ws_protocol import WebSocketProtocol

    protocol = WebSocketProtocol()
    protocol.transport = MagicMock()
    daphne = Server(None, endpoints=["unused"])
    assert isinstance(outbox({}, partial(daphne.handle_reply, protocol), 0), DirectOutbox)
    source = inspect.getsource(Server.create_application)
    assert "send=partial(self.handle_reply, protocol)" in source


@pytest.fixture
def inbox():
    protocol = server.Protocol()
    protocol.client_addr = None
    protocol.application_queue = asyncio.Queue()
    protocol.transport = MagicMock()
    return protocol


@pytest.mark.parametrize(("frames", "size"), [(64, 1), (8, 65_536)])
async def test_reading_pauses_while_a_long_inbox_is_worked_off(inbox, frames, size):
    for _ in range(frames - 1):
        inbox.onMessage(b"x" * size, isBinary=False)
    inbox.transport.pauseProducing.assert_not_called()
    for _ in range(2):  # those of the same chunk still come
        inbox.onMessage(b"x" * size, isBinary=False)
    inbox.transport.pauseProducing.assert_called_once()
    for _ in range(frames):
        await inbox.receive()
    inbox.transport.resumeProducing.assert_not_called()
    await inbox.receive()
    inbox.transport.resumeProducing.assert_called_once()


async def test_a_full_inbox_gives_the_other_sockets_their_turn(inbox):
    for _ in range(1000):
        inbox.onMessage(b"x", isBinary=False)
    others = asyncio.ensure_future(asyncio.sleep(0))
    for _ in range(100):
        await inbox.receive()
    assert others.done()


def test_autobahn_still_takes_any_code_and_a_reason_in_a_close_frame(inbox):
    frames = []
    inbox.state = inbox.STATE_OPEN
    inbox.closeHandshakeTimeout = 0
    inbox.sendFrame = lambda opcode, payload: frames.append((opcode, payload))
    inbox.handle_reply({"type": "websocket.close", "code": 1012, "reason": "ў" * 100})
    inbox.handle_reply({"type": "websocket.close", "code": 4404})  # it is closing already
    [(opcode, payload)] = frames
    assert (opcode, payload[:2]) == (8, (1012).to_bytes(2, "big"))
    assert len(payload) <= 125
    assert payload[2:].decode() == "ў" * 61


class Connection(tcp.Connection):
    """Twisted's, on one end of a pair of sockets."""

    def __init__(self, ours):
        super().__init__(ours, MagicMock(), MagicMock())
        self.connected = True


def writer_on(transport):
    protocol = server.Protocol()
    protocol.transport, protocol.state = transport, protocol.STATE_OPEN
    return server.FrameWriter(protocol)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Connection(ours), theirs


def test_twisted_still_has_the_names_that_are_written_past():
    """An upgrade that renames them would silently cost the direct write."""
    for name in ("_tempDataLen", "dataBuffer", "offset"):
        assert hasattr(abstract.FileDescriptor(reactor=object()), name)


def test_a_transport_that_wraps_the_socket_gets_an_ordinary_write():
    """TLS passes the private names through: past it the frame would go out in the clear."""

    class Wrapped(MagicMock):
        _tempDataLen, dataBuffer, offset = 0, b"", 0

    transport = Wrapped()
    write = writer_on(transport)
    assert not write.at_once(b"frame")
    write(b"frame")
    transport.write.assert_called_once_with(b"frame")
    transport.socket.send.assert_not_called()
    assert write.waiting() == 0


def test_a_frame_is_handed_over_in_this_very_call(pair):
    transport, theirs = pair
    assert writer_on(transport).at_once(b"frame")
    assert theirs.recv(100) == b"frame"


def test_what_the_system_does_not_take_waits_and_the_next_goes_behind_it(pair):
    transport, theirs = pair
    write = writer_on(transport)
    large = b"x" * 4_000_000
    assert write.at_once(large)
    waiting = write.waiting()
    assert 0 < waiting < len(large)
    assert not write.at_once(b"next")
    write(b"next")
    assert write.waiting() == waiting + len(b"next")
    theirs.setblocking(False)
    received = bytearray()
    while len(received) < len(large) + len(b"next"):
        with suppress(BlockingIOError):
            received += theirs.recv(1_000_000)
        transport.doWrite()
    assert received.endswith(b"xnext")


@pytest.mark.parametrize("full", [True, False])
def test_nothing_is_written_to_a_socket_that_takes_nothing_or_is_gone(pair, full):
    transport, theirs = pair
    write = writer_on(transport)
    if full:
        with suppress(BlockingIOError):
            while True:
                transport.socket.send(b"x" * 65_536)
        assert not write.at_once(b"frame")
    else:
        theirs.close()
        assert write.at_once(b"frame")  # nobody is left to miss it
        write.protocol.state = write.protocol.STATE_CLOSED
        assert not write.at_once(b"frame")
    assert write.waiting() == 0


async def test_uvicorn_is_recognised_and_written_to_in_order(sent):
    protocol = WebSocketsSansIOProtocol(
        Config(None), MagicMock(default_headers=[]), {}, asyncio.get_running_loop()
    )
    transport = protocol.transport = MagicMock(spec=asyncio.Transport)
    transport.is_closing.return_value = False
    transport.get_write_buffer_size.return_value = 0
    box = outbox({}, protocol.send, 0)
    assert isinstance(box, DirectOutbox)
    box.send(SharedFrame("one"))
    transport.get_write_buffer_size.return_value = 9
    assert not UvicornWriter(protocol).at_once(b"two")
    box.send(SharedFrame("two"))
    assert box.waiting() == 9
    transport.is_closing.return_value = True
    box.send(SharedFrame("three"))
    frames = [call.args[0] for call in transport.write.call_args_list]
    assert frames == [SharedFrame("one").bytes, SharedFrame("two").bytes]


def test_a_breaker_lets_one_try_through_after_its_pause():
    now = 0.0
    breaker = Breaker(clock=lambda: now)
    assert breaker.allows
    breaker.failed(1, OSError("gone"))
    assert not breaker.allows
    now = 1.1
    assert breaker.allows
