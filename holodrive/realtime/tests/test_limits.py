"""What one client, user or address may ask for, and what the others feel of it: nothing."""

import json

import pytest
from asgiref.sync import sync_to_async
from websockets.exceptions import ConnectionClosed

from chat.models import Message
from holodrive.realtime import consumer
from holodrive.realtime.limits import FrameLimit, MinuteLimit
from holodrive.realtime.tests.test_access import short_token
from testing.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

NOTIFICATIONS = "/ws/notifications/"


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_a_burst_passes_and_then_the_rate():
    clock = Clock()
    limit = FrameLimit(10, 30, clock)
    assert sum(limit.allows() for _ in range(100)) == 30
    clock.now += 1
    assert sum(limit.allows() for _ in range(100)) == 10
    clock.now += 3600
    assert sum(limit.allows() for _ in range(100)) == 30


def test_ten_seconds_over_the_limit_are_enough():
    clock = Clock()
    limit = FrameLimit(10, 30, clock)
    for _ in range(99):  # 9.9 s at twice the rate
        clock.now += 0.1
        limit.allows(), limit.allows()
    while limit.allows():
        pass
    assert not limit.is_exhausted()
    for _ in range(110):
        clock.now += 0.1
        limit.allows(), limit.allows()
    assert limit.is_exhausted()


def test_a_rest_starts_the_ten_seconds_anew():
    clock = Clock()
    limit = FrameLimit(10, 30, clock)
    for _ in range(3):
        for _ in range(60):
            limit.allows()
        clock.now += 5
    limit.allows()
    assert not limit.is_exhausted()


def test_zero_is_no_limit():
    limit = FrameLimit(0, 30, Clock())
    assert all(limit.allows() for _ in range(1000))
    assert not limit.is_exhausted()


def test_a_minute_counts_for_each_key_and_is_forgotten():
    clock = Clock()
    limit = MinuteLimit(clock)
    assert [limit.count("a"), limit.count("a"), limit.count("b")] == [1, 2, 1]
    assert (limit.counted("a"), limit.counted("c")) == (2, 0)
    clock.now += 60
    assert limit.counted("a") == 0
    assert limit.count("a") == 1


def test_the_minute_of_a_key_begins_with_its_first_and_no_clock_turns_it_over():
    clock = Clock()
    limit = MinuteLimit(clock)
    for key in range(120):
        assert [limit.count(key), limit.count(key)] == [1, 2]
        clock.now += 0.5
        assert limit.counted(key) == 2


def test_only_the_keys_of_the_last_two_minutes_are_kept():
    clock = Clock()
    limit = MinuteLimit(clock)
    for key in range(1000):
        limit.count(key)
        clock.now += 1
    assert len(limit._minutes) <= 120


async def test_a_frame_too_many_is_answered_and_not_obeyed(connect, trip, settings):
    settings.REALTIME_FRAMES_PER_SECOND, settings.REALTIME_FRAMES_BURST = 1, 3
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    for n in range(5):
        socket.send({"type": "chat_message", "message": f"m{n}", "client_message_id": f"c{n}"})
    refused = [(await socket.frame("error")) for _ in range(2)]
    assert [(error["code"], error["ref"]) for error in refused] == [
        ("rate_limited", "c3"),
        ("rate_limited", "c4"),
    ]
    assert await Message.objects.acount() == 3


async def test_ten_seconds_of_too_many_close_the_socket(connect, trip, settings, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(consumer, "FrameLimit", lambda *limits: FrameLimit(*limits, clock))
    settings.REALTIME_FRAMES_PER_SECOND, settings.REALTIME_FRAMES_BURST = 1, 4
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    for _ in range(4):
        socket.send({"type": "ping"})
    for _ in range(10):
        socket.send("not even JSON")
        assert (await socket.frame("error"))["code"] == "rate_limited"
        clock.now += 1.0
        socket.send({"type": "ping"})
        await socket.frame("pong")
    socket.send("not even JSON")
    assert (await socket.frame("error"))["code"] == "rate_limited"
    assert await socket.closed() == 4429


async def test_one_socket_too_many_is_told_and_closed_and_the_others_stay(
    connect, make_user, settings
):
    settings.REALTIME_SOCKETS_PER_USER, settings.REALTIME_SOCKETS_PER_STAFF = 2, 3
    for role, most in (("rider", 2), ("admin", 3)):
        user = await sync_to_async(make_user)(role)
        open_ones = [await connect(NOTIFICATIONS, user) for _ in range(most)]
        refused = await connect(NOTIFICATIONS, user, first_frame=False)
        assert (await refused.frame())["code"] == "too_many_sockets"
        assert await refused.closed() == 4409
        await open_ones.pop().leave()
        open_ones.append(await connect(NOTIFICATIONS, user))
        for socket in open_ones:
            await socket.quiet()


async def test_too_many_connects_of_a_user_are_told_and_closed(connect, make_user, settings):
    settings.REALTIME_CONNECTS_PER_USER = 3
    user, other = [await sync_to_async(make_user)() for _ in range(2)]
    for _ in range(3):
        await (await connect(NOTIFICATIONS, user)).leave()
    refused = await connect(NOTIFICATIONS, user, first_frame=False)
    assert (await refused.frame())["code"] == "rate_limited"
    assert await refused.closed() == 4429
    await connect(NOTIFICATIONS, other)


def refusal(dial, server, **options):
    socket = dial(server, NOTIFICATIONS, **options)
    code = socket.frame()["code"]
    with pytest.raises(ConnectionClosed) as closed:
        socket.connection.recv(timeout=PATIENCE)
    return code, closed.value.rcvd.code


def test_only_failures_count_against_an_address(start_server, dial, make_user):
    """Good connects pass, whoever guesses is stopped, and who has another address is not."""
    server = start_server(REALTIME_FAILED_CONNECTS_PER_ADDRESS="3")
    user = make_user()

    def guess(address):
        return refusal(
            dial, server, headers={"Authorization": "Bearer x.y.z", "X-Real-IP": address}
        )

    for _ in range(5):
        dial(server, NOTIFICATIONS, user, headers={"X-Real-IP": "203.0.113.7"})
    assert [guess("203.0.113.7") for _ in range(4)] == [
        *[("unauthenticated", 4401)] * 3,
        ("rate_limited", 4429),
    ]
    assert guess("203.0.113.8") == ("unauthenticated", 4401)
    dial(server, NOTIFICATIONS, user, headers={"X-Real-IP": "203.0.113.8"})


async def test_an_expired_token_is_no_guess(connect, make_user, settings):
    """Every phone that wakes up brings one, and thousands may share a carrier's address."""
    settings.REALTIME_FAILED_CONNECTS_PER_ADDRESS = 2
    user = await sync_to_async(make_user)()
    headers = await sync_to_async(short_token)(user, -1)
    for _ in range(3):
        socket = await connect(NOTIFICATIONS, headers=headers)
        assert (await socket.frame())["code"] == "token_expired"
        assert await socket.closed() == 4401
    await connect(NOTIFICATIONS, user)


def test_the_limits_are_the_documented_ones():
    from holodrive.realtime.apps import DEFAULTS

    assert {name: DEFAULTS[name] for name in DEFAULTS if "_PER_" in name or "BURST" in name} == {
        "REALTIME_SOCKETS_PER_USER": 10,
        "REALTIME_SOCKETS_PER_STAFF": 50,
        "REALTIME_CONNECTS_PER_USER": 60,
        "REALTIME_FAILED_CONNECTS_PER_ADDRESS": 60,
        "REALTIME_FRAMES_PER_SECOND": 10,
        "REALTIME_FRAMES_BURST": 30,
        "REALTIME_REQUESTS_PER_SECOND": 20,
    }


def test_a_group_or_handler_is_never_what_a_client_names(server, dial, trip):
    """Frames that name what runs inside are unknown types; ids with group syntax are not found."""
    socket = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    for name in (
        "websocket.disconnect",
        "holodrive.restart",
        "judge",
        "run",
        "e",
        "participant_removed",
    ):
        socket.send({"type": name, "group": "realtime.bulk", "user_id": trip.rider.pk})
        assert socket.frame()["code"] == "unknown_type"
    for id in ("1.notes", "realtime.bulk", "user.1", "../notifications", "%2e%2e"):
        refused = dial(server, f"/ws/chat/{id}/")
        assert json.loads(refused.connection.recv(timeout=PATIENCE))["code"] in (
            "not_found",
            "unauthenticated",
        )
