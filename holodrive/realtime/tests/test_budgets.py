"""What one socket, address or user may cost, counted in turns of the parser, answers and events."""

import asyncio
import functools
from contextlib import suppress
from unittest.mock import MagicMock

import pytest
from asgiref.sync import sync_to_async
from autobahn.websocket.protocol import WebSocketProtocol
from daphne.ws_protocol import WebSocketFactory
from twisted.internet.testing import StringTransport
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from chat.events import stream_of
from chat.models import Message
from holodrive.realtime import budgets, consumer, hub, inflow, server
from holodrive.realtime.budgets import Newcomers, Resumes
from holodrive.realtime.credentials import Credential
from holodrive.realtime.inflow import Inflow
from holodrive.realtime.limits import Bucket, Buckets
from holodrive.realtime.outbox import ANNOUNCE_RESTART, OVER_BUDGET
from holodrive.realtime.tests.test_access import short_token
from holodrive.realtime.tests.test_limits import Clock
from holodrive.realtime.wire import LoggedEvent
from holodrive.realtime.writers import UvicornWriter
from testing.client import Socket, access_token
from testing.patience import PATIENCE
from testing.soak.attackers import KINDS, frame

MORE_THAN_A_MINUTE_BRINGS = 100_000  # events
CHUNK = 65_536  # bytes that Twisted reads at once
FLOODS = sorted(KINDS)
HANDSHAKE = (
    b"GET /ws/x HTTP/1.1\r\nHost: testserver\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def clock(settings, monkeypatch):
    settings.REALTIME_FRAMES_PER_SECOND = 10
    clock = Clock()
    monkeypatch.setattr(server, "Inflow", functools.partial(Inflow, clock))
    monkeypatch.setattr(inflow, "_REST", 0.001)
    return clock


@pytest.fixture
def turns(monkeypatch):
    """Counts the turns of autobahn's parser."""
    count = []
    turn = WebSocketProtocol.processData

    def counted(self):
        count.append(1)
        return turn(self)

    monkeypatch.setattr(WebSocketProtocol, "processData", counted)
    return count


class Line:
    """One socket of `manage.py serve` without a network: what it reads is given to it."""

    def __init__(self, application):
        self.server = server.RealtimeServer(application, endpoints=["none"])
        self.server.connections = {}
        self.server.ws_factory = WebSocketFactory(self.server)
        self.server.http_factory = MagicMock()  # no HTTP is spoken here
        self.server._configure()
        self.transport = StringTransport(lenient=True)
        self.transport.registerProducer(object(), True)  # the HTTP request's
        self.protocol = self.server.ws_factory.buildProtocol(None)
        self.protocol._raw_query_string = b""
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(HANDSHAKE)

    @property
    def reads(self):
        return self.transport.producerState == "producing" and not self.transport.disconnecting

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - of a protocol without events
                await asyncio.sleep(0.001)

    async def opened(self):
        await self.until(lambda: self.protocol.state == self.protocol.STATE_OPEN)
        self.transport.clear()
        return self


@pytest.fixture
def dialled(clock):
    """Connects to an application that accepts, and then keeps the messages that it gets."""
    lines = []

    async def dial(accepts=None):
        async def application(scope, receive, send):
            await receive()
            if accepts is not None:
                await accepts.wait()
            await send({"type": "websocket.accept"})
            while True:
                line.received.append(await receive())

        line = Line(application)
        line.received = []
        lines.append(line)
        return await line.opened() if accepts is None else line

    yield dial
    for line in lines:
        for details in line.server.connections.values():
            details["application_instance"].cancel()
        line.protocol._stop_timers()
        with suppress(AttributeError):
            line.protocol.closeHandshakeTimeoutCall.cancel()


def flood(kind):
    kind = KINDS[kind]
    return (kind.first + kind.again * (CHUNK // len(kind.again) + 1))[:CHUNK]


# One connection, before anything is parsed


@pytest.mark.parametrize("is_closed", [False, True], ids=["open", "after our close"])
@pytest.mark.parametrize("kind", FLOODS)
async def test_a_chunk_is_parsed_no_further_than_the_budget(dialled, turns, kind, is_closed):
    line = await dialled()
    if is_closed:
        line.protocol.end(4404, "not found")
    for _ in range(20):
        if line.reads:
            line.protocol.dataReceived(flood(kind))
    assert not line.reads
    assert len(turns) < 200
    assert len(line.received) < 100


@pytest.mark.parametrize("kind", FLOODS)
async def test_whoever_floods_after_our_close_is_cut_off(dialled, monkeypatch, kind):
    monkeypatch.setattr(server, "_CUT_SECONDS", 0.01)
    line = await dialled()
    line.protocol.end(4404, "not found")
    while line.reads:
        line.protocol.dataReceived(flood(kind))
    await line.until(lambda: line.transport.disconnecting)


async def test_whoever_is_quiet_after_our_close_has_time_to_answer_it(dialled, monkeypatch):
    monkeypatch.setattr(server, "_CUT_SECONDS", 0.001)
    line = await dialled()
    line.protocol.dataReceived(frame(1, b"x" * 60_000)[:30_000])  # on its way when we close
    line.protocol.end(4404, "not found")
    line.protocol.dataReceived(frame(1, b"x" * 60_000)[30_000:45_000])
    await asyncio.sleep(0.01)
    assert line.reads
    assert not line.transport.disconnecting


async def test_ten_seconds_over_the_budget_end_a_socket(dialled, clock):
    line = await dialled()
    line.protocol.writer.restart_in_band()
    began = clock.now
    while not line.received:
        if line.reads:
            line.protocol.dataReceived(flood("pings"))
        await asyncio.sleep(0.002)
        clock.now += 0.1
        assert clock.now - began < 60
    assert line.received == [{"type": OVER_BUDGET}]
    assert clock.now - began >= 10
    assert not line.reads


async def test_the_rest_of_a_burst_is_read_by_and_by(dialled, clock):
    line = await dialled()
    texts = [f'{{"n":{n}}}' for n in range(50)]
    line.protocol.dataReceived(b"".join(frame(1, text.encode()) for text in texts))
    assert not line.reads
    for _ in range(10):
        clock.now += 1
        await asyncio.sleep(0.01)
    await line.until(lambda: len(line.received) == 50)
    assert [message["text"] for message in line.received] == texts
    await line.until(lambda: line.reads)


async def test_frames_of_a_client_that_was_not_accepted_yet_wait(dialled, turns):
    accepts = asyncio.Event()
    line = await dialled(accepts)
    line.protocol.dataReceived(b"\r\n\r\n" + flood("pings"))
    assert not line.reads
    assert not line.transport.disconnecting
    accepts.set()
    await line.until(lambda: turns)
    assert len(turns) < 200


async def test_a_frame_that_comes_byte_by_byte_uses_up_the_budget(dialled, clock):
    line = await dialled()
    for byte in frame(1, b"x" * 60_000)[:100]:
        if line.reads:
            line.protocol.dataReceived(bytes([byte]))
    line.protocol.dataReceived(b"x")
    assert not line.reads


async def test_one_large_frame_in_many_parts_is_no_drip(dialled):
    line = await dialled()
    whole = frame(1, b"x" * 60_000)
    for start in range(0, len(whole), 1_400):
        line.protocol.dataReceived(whole[start : start + 1_400])
    await line.until(lambda: line.received)
    assert line.reads


async def test_without_a_limit_of_frames_whole_messages_cost_nothing(dialled, settings):
    settings.REALTIME_FRAMES_PER_SECOND = 0
    line = await dialled()
    for _ in range(20):
        await line.until(lambda: line.reads)
        line.protocol.dataReceived(frame(1, b"{}") * 100)
    await line.until(lambda: len(line.received) == 2000)


# What is written in answer


async def test_pongs_wait_for_a_client_that_does_not_read(dialled):
    line = await dialled()
    line.transport.producer.pauseProducing()  # more than 64 KiB wait
    for n in range(20):
        line.protocol.dataReceived(frame(9, str(n).encode()))
    await asyncio.sleep(0)
    assert line.transport.value() == b""
    line.transport.producer.resumeProducing()
    await line.until(line.transport.value)
    assert line.transport.value() == b"\x8a\x0219"  # the latest only (RFC 6455, 5.5.3)
    line.protocol.dataReceived(frame(9, b"20"))
    assert line.transport.value().endswith(b"\x8a\x0220")


def test_pongs_of_uvicorn_are_dropped_for_a_client_that_does_not_read():
    assert hasattr(WebSocketsSansIOProtocol, "handle_ping")
    protocol = MagicMock()
    protocol.conn.data_to_send.return_value = [b"pong"]
    UvicornWriter(protocol)
    protocol.writable.is_set.return_value = False
    protocol.handle_ping()
    protocol.transport.write.assert_not_called()
    protocol.writable.is_set.return_value = True
    protocol.handle_ping()
    protocol.transport.write.assert_called_once_with(b"pong")


async def test_whoever_takes_no_answer_to_its_close_is_cut_off(dialled, monkeypatch):
    monkeypatch.setattr(server, "_CLOSE_SECONDS", 0.01)
    line = await dialled()
    line.protocol.dataReceived(frame(8, (1000).to_bytes(2, "big")))
    assert line.transport.value().startswith(b"\x88")
    await line.until(lambda: line.transport.disconnected)


# What healthy clients do


@pytest.mark.parametrize(("frames", "size"), [(1, 0), (12, 100), (10, 4_000), (1, 60_000)], ids=str)
def test_an_hour_of_a_healthy_client_never_rests(clock, frames, size):
    budget = Inflow(clock)
    for _ in range(3600):
        clock.now += 1
        for _ in range(frames):
            assert budget.room(0) or not budget.rest()
            budget.begun(1, True, size)
    assert not budget.is_exhausted


def test_the_budget_follows_a_higher_limit_of_frames(settings, clock):
    settings.REALTIME_FRAMES_PER_SECOND, settings.REALTIME_FRAMES_BURST = 200, 1000
    budget = Inflow(clock)
    clock.now += 60
    budget.rest()
    for _ in range(2000):
        budget.begun(1, True, 10)
    assert budget.room(0)


def test_a_new_socket_may_send_a_higher_burst_at_once(settings, clock):
    settings.REALTIME_FRAMES_BURST = 300
    budget = Inflow(clock)
    for _ in range(300):
        assert budget.room(0)
        budget.begun(1, True, 10)
    assert not budget.room(0)


# Several sockets of one address or user


def test_a_bucket_may_owe_and_pays_by_waiting():
    clock = Clock()
    bucket = Bucket(10, 100, clock)
    assert bucket.wait() == 0
    bucket.take(150)
    assert bucket.wait() == pytest.approx(5.1)
    clock.now += 5.2
    assert bucket.wait() == 0
    bucket.give_back(1000)
    assert bucket.is_full


def test_buckets_that_are_full_again_are_forgotten():
    clock = Clock()
    buckets = Buckets(clock)
    for key in range(1000):
        buckets.of(key, 1, 10).take(5)
        clock.now += 1
    assert len(buckets) <= 120


def test_refused_connects_of_an_address_wait_and_a_signed_token_comes_in(make_user_token):
    clock = Clock()
    newcomers = Newcomers(clock)
    admitted = [newcomers.admit("a", None) for _ in range(300)]
    assert sum(bucket is not None for bucket in admitted) == budgets._CONNECTS_BURST
    assert newcomers.admit("b", None) is not None
    assert newcomers.admit("a", Credential("x.y.z")) is None
    assert newcomers.admit("a", Credential("x", kind="ticket")) is None
    for token in make_user_token:
        assert newcomers.admit("a", Credential(token)) is not None
    clock.now += 1
    assert sum(newcomers.admit("a", None) is not None for _ in range(300)) == 10


@pytest.fixture
def make_user_token(make_user, transactional_db):
    """A good one, and one that has expired."""
    user = make_user()
    return [access_token(user), short_token(user, -1)["Authorization"].split()[1]]


def test_one_signed_token_does_not_connect_for_ever(make_user_token, settings):
    settings.REALTIME_CONNECTS_PER_USER = 60
    newcomers = Newcomers(Clock())
    while newcomers.admit("a", None) is not None:
        pass
    got_in = sum(
        newcomers.admit("a", Credential(make_user_token[1])) is not None for _ in range(99)
    )
    assert got_in == 60


def test_a_resume_costs_what_it_brings_back():
    small, large = LoggedEvent("s", 1, "x"), LoggedEvent("s", 1, "x" * 40_000)
    assert budgets.cost(None) == budgets.cost([]) == budgets.cost([small]) == 5
    assert budgets.cost([small] * 500) == 500
    assert budgets.cost([large] * 500) == 1500


def test_all_sockets_of_a_user_may_resume_a_full_window_at_once(settings):
    clock = Clock()
    resumes = Resumes(clock)
    for _ in range(10):
        bucket = resumes.of(1, 10)
        assert bucket.wait() == 0
        bucket.take(settings.REALTIME_RESUME_LIMIT)
    assert bucket.wait() > 0
    assert resumes.of(2, 10).wait() == 0
    assert resumes.of(1, 0) is None
    clock.now += 60
    assert bucket.is_full


db = pytest.mark.django_db(transaction=True)


@pytest.fixture
def spent(settings):
    """Uses up a user's budget of resumes, for minutes."""

    async def spend(user):
        bucket = hub.here().resumes.of(user.pk, settings.REALTIME_SOCKETS_PER_USER)
        bucket.take(MORE_THAN_A_MINUTE_BRINGS)
        return bucket

    return spend


def write(trip, count):
    for n in range(count):
        Message(conversation=trip, sender=trip.rider, text=f"m{n}").save()


@db
async def test_a_resume_over_the_budget_is_refused_and_the_socket_lives(connect, trip, spent):
    await sync_to_async(write)(trip, 3)
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    bucket = await spent(trip.driver)
    socket.send({"type": "resume", "last_seq": 0})
    refusal = await socket.frame()
    assert (refusal["code"], refusal["ref"]) == ("rate_limited", "resume")
    assert refusal["retryable"]
    await socket.quiet()
    bucket.give_back(MORE_THAN_A_MINUTE_BRINGS)
    socket.send({"type": "resume", "last_seq": 0})
    assert [(await socket.frame())["seq"] for _ in range(3)] == [1, 2, 3]
    assert (await socket.frame("resumed"))["count"] == 3


@db
async def test_a_join_over_the_budget_is_caught_up_later_and_loses_nothing(
    connect, trip, spent, monkeypatch
):
    monkeypatch.setattr(consumer, "_TURN_SECONDS", 0.01)
    await sync_to_async(write)(trip, 3)
    await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    bucket = await spent(trip.driver)
    socket = await connect(f"/ws/chat/{trip.pk}/?last_seq=1", trip.driver)
    await socket.quiet()  # nothing of the stream, and commands are obeyed
    socket.send({"type": "chat_message", "message": "live"})
    await socket.frame("message_ack")
    await socket.quiet()
    bucket.give_back(MORE_THAN_A_MINUTE_BRINGS)
    seqs = [(await socket.frame("chat_message"))["seq"] for _ in range(3)]
    assert seqs == [2, 3, 4]
    resumed = await socket.frame("resumed")
    assert (resumed["recovered"], resumed["from_seq"], resumed["to_seq"]) == (True, 1, 4)
    await sync_to_async(write)(trip, 1)
    assert (await socket.frame("chat_message"))["seq"] == 5


@db
async def test_a_catch_up_that_waits_ends_with_its_socket(connect, trip, spent):
    bucket = await spent(trip.driver)
    socket = await connect(f"/ws/chat/{trip.pk}/?last_seq=0", trip.driver)
    await socket.leave()
    bucket.give_back(MORE_THAN_A_MINUTE_BRINGS)
    assert stream_of(trip.pk) not in hub.here()._topics


@db
async def test_a_storm_of_resumes_brings_back_no_more_than_the_budget(connect, trip, settings):
    settings.REALTIME_RESUME_LIMIT, settings.REALTIME_SOCKETS_PER_USER = 20, 2
    await sync_to_async(write)(trip, 20)
    sockets = [await connect(f"/ws/chat/{trip.pk}/", trip.driver) for _ in range(2)]
    brought = refused = 0
    for _ in range(10):
        for socket in sockets:
            socket.send({"type": "resume", "last_seq": 0})
            while (answer := await socket.frame())["type"] == "chat_message":
                brought += 1
            refused += answer["type"] == "error"
    assert brought <= 3 * 20
    assert refused >= 10


@db
async def test_a_resume_lets_go_of_the_loop(connect, trip, monkeypatch):
    await sync_to_async(write)(trip, 40)
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    made = consumer.SharedFrame
    frames, seen_by_others = [], set()

    def counted(text):
        frames.append(text)
        asyncio.get_running_loop().call_soon(lambda: seen_by_others.add(len(frames)))
        return made(text)

    monkeypatch.setattr(consumer, "SharedFrame", counted)
    socket.send({"type": "resume", "last_seq": 0})
    await socket.frame("resumed")
    assert {8, 16, 24, 32} <= seen_by_others


@db
async def test_an_over_budget_socket_is_told_and_closed(connect, trip):
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    socket.to_app.put_nowait({"type": OVER_BUDGET})
    assert (await socket.frame())["code"] == "rate_limited"
    assert await socket.closed() == 4429


@db
async def test_connects_that_are_refused_wait_and_those_who_join_pay_nothing(
    connect, make_user, settings, monkeypatch
):
    monkeypatch.setattr(budgets, "_CONNECTS_BURST", 3)
    monkeypatch.setattr(consumer, "_TURN_SECONDS", 0.01)
    settings.REALTIME_FAILED_CONNECTS_PER_ADDRESS = 60
    user = await sync_to_async(make_user)()
    for _ in range(5):
        await (await connect("/ws/notifications/", user)).leave()
    clock = Clock()
    monkeypatch.setattr(hub.here(), "newcomers", Newcomers(clock))
    for _ in range(3):
        refused = await connect("/ws/x", first_frame=False)
        assert await refused.closed() == 4404
    waiting = asyncio.create_task(connect("/ws/x", first_frame=False))
    await connect("/ws/notifications/", user)  # the token shows who it is
    assert not waiting.done()
    clock.now += 1
    assert await (await waiting).closed() == 4404


@db
@pytest.mark.parametrize(
    ("kind", "is_answered"), [(ANNOUNCE_RESTART, True), ("websocket.disconnect", False)]
)
async def test_a_connect_that_waits_is_refused_when_the_server_stops(
    monkeypatch, settings, kind, is_answered
):
    settings.REALTIME_FAILED_CONNECTS_PER_ADDRESS = 60
    monkeypatch.setattr(Newcomers, "admit", lambda *_: None)
    sent = []

    async def send(message):
        sent.append(message["type"])

    received = asyncio.Queue()
    for each in ("websocket.connect", kind):
        received.put_nowait({"type": each})
    scope = Socket("/ws/x", {}, []).scope
    await consumer.UnknownEndpoint(scope, received.get, send).run()
    assert sent == ["websocket.close"] * is_answered
