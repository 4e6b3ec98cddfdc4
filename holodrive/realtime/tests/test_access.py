"""Who is connected stays so only as long as the right to be: within a second of the change on every
process, and within a minute when nobody was told of it.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import Client
from rest_framework_simplejwt.tokens import RefreshToken
from websockets.exceptions import ConnectionClosed

from chat.models import Conversation, Message, Participant
from chat.services import open_trip
from holodrive.realtime import hub as hub_module
from holodrive.realtime.lifetime import Lifetime
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.tokens import ObtainSerializer
from notifications.models import Notification
from testing.browser import session_of
from testing.client import access_token, bearer

pytestmark = pytest.mark.django_db(transaction=True)

NOTIFICATIONS = "/ws/notifications/"
PROMISED = 1.0  # seconds until a socket is closed that may not stay


# Expiry


class Timers:
    """A loop's `call_later` and a clock, moved by hand."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.waiting = []

    def call_later(self, delay, call):
        self.waiting.append((self.now + timedelta(seconds=delay), call))
        timers = self

        class Handle:
            def __init__(self, entry):
                self.entry = entry

            def cancel(self):
                if self.entry in timers.waiting:
                    timers.waiting.remove(self.entry)

        return Handle(self.waiting[-1])

    def pass_to(self, moment):
        while due := [entry for entry in self.waiting if entry[0] <= moment]:
            entry = min(due, key=lambda entry: entry[0])
            self.waiting.remove(entry)
            self.now = entry[0]
            entry[1]()
        self.now = moment


def lifetime(timers, said):
    return Lifetime(
        lambda: said.append(("warn", timers.now)),
        lambda: said.append(("end", timers.now)),
        timers,
        lambda: timers.now,
    )


def test_the_end_is_told_a_minute_ahead_and_then_comes():
    timers, said = Timers(), []
    begin = timers.now
    lifetime(timers, said).lasts(begin + timedelta(minutes=5))
    timers.pass_to(begin + timedelta(minutes=10))
    minutes = [(what, (when - begin).total_seconds() / 60) for what, when in said]
    assert minutes == [("warn", 4), ("end", 5)]


def test_less_than_a_minute_is_told_at_once():
    timers, said = Timers(), []
    lifetime(timers, said).lasts(timers.now + timedelta(seconds=30))
    assert [what for what, _ in said] == ["warn"]


def test_a_later_end_takes_the_place_of_the_first():
    timers, said = Timers(), []
    begin, life = timers.now, lifetime(timers, said)
    life.lasts(begin + timedelta(minutes=5))
    timers.pass_to(begin + timedelta(minutes=4, seconds=30))
    life.lasts(begin + timedelta(minutes=60))
    timers.pass_to(begin + timedelta(minutes=58))
    assert [what for what, _ in said] == ["warn"]
    timers.pass_to(begin + timedelta(minutes=60))
    assert [what for what, _ in said] == ["warn", "warn", "end"]


def test_no_end_and_a_stopped_one_have_no_timer():
    timers, said = Timers(), []
    life = lifetime(timers, said)
    life.lasts(None)
    life.lasts(timers.now + timedelta(minutes=5))
    life.stop()
    assert timers.waiting == []


def short_token(user, seconds):
    token = ObtainSerializer.get_token(user).access_token
    token.set_exp(lifetime=timedelta(seconds=seconds))
    return bearer(token)


async def test_a_socket_is_warned_and_closed_when_its_token_expires(connect, make_user):
    headers = await sync_to_async(short_token)(await sync_to_async(make_user)(), 2)
    socket = await connect(NOTIFICATIONS, headers=headers)
    expires_at = (await socket.frame("connection_established"))["expires_at"]
    assert await socket.frame("token_expiring") == {
        "type": "token_expiring",
        "expires_at": expires_at,
    }
    assert (await socket.frame("error"))["code"] == "token_expired"
    assert await socket.closed() == 4401


async def test_a_new_token_keeps_the_socket_open(connect, make_user):
    user = await sync_to_async(make_user)()
    socket = await connect(NOTIFICATIONS, headers=await sync_to_async(short_token)(user, 2))
    await socket.frame("token_expiring")
    socket.send({"type": "token_refresh", "token": await sync_to_async(access_token)(user)})
    until = datetime.fromisoformat((await socket.frame("token_refreshed"))["expires_at"])
    assert until > datetime.now(UTC) + timedelta(minutes=50)
    await asyncio.sleep(2.5)  # past the end of the first
    await socket.quiet()


@pytest.mark.parametrize(
    ("whose", "code"),
    [("another's", "forbidden"), ("nobody's", "unauthenticated"), ("old", "token_expired")],
)
async def test_a_wrong_new_token_is_refused_and_closes_nothing(connect, make_user, whose, code):
    user, other = await sync_to_async(make_user)(), await sync_to_async(make_user)()
    token = {
        "another's": await sync_to_async(access_token)(other),
        "nobody's": "x.y.z",
        "old": (await sync_to_async(short_token)(user, -1))["Authorization"].split()[1],
    }[whose]
    socket = await connect(NOTIFICATIONS, user)
    socket.send({"type": "token_refresh", "token": token})
    error = await socket.frame("error")
    assert (error["code"], error["ref"]) == (code, "token_refresh")
    assert token not in json.dumps(error)
    await socket.quiet()


# Logout, deactivation and the like, on two processes


def end_of(socket, seconds=PROMISED):
    """The close code, and the error's code before it, within that time; no event is among them."""
    while "seq" not in (frame := socket.frame(seconds=seconds)) and frame["type"] != "error":
        pass
    error = frame.get("code")
    with pytest.raises(ConnectionClosed) as closed:
        socket.connection.recv(timeout=seconds)
    return error, closed.value.rcvd.code


def is_open(socket):
    socket.send({"type": "ping"})
    return socket.frame("pong")["type"] == "pong"


def test_a_logout_closes_that_device_on_every_process_and_no_other(servers, dial, make_user):
    user = make_user()
    ended, kept = ObtainSerializer.get_token(user), ObtainSerializer.get_token(user)
    gone = [dial(server, NOTIFICATIONS, headers=bearer(ended.access_token)) for server in servers]
    stay = [dial(server, NOTIFICATIONS, headers=bearer(kept.access_token)) for server in servers]
    for socket in gone + stay:
        socket.frame("connection_established")
    status, _ = servers[0].request("POST", "/api/token/logout/", {"refresh": str(ended)})
    assert status == 204
    for socket in gone:
        assert end_of(socket) == ("unauthenticated", 4401)
    assert all(is_open(socket) for socket in stay)


def test_a_browsers_logout_closes_its_own_sockets(servers, dial, make_user, settings):
    admin = make_user("admin")
    sessions = [session_of(admin), session_of(admin)]
    gone, stay = (
        dial(
            servers[1],
            NOTIFICATIONS,
            headers={"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"},
            origin=f"http://{servers[1].address}",
        )
        for session in sessions
    )
    gone.frame("connection_established"), stay.frame("connection_established")
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = sessions[0]
    assert client.post("/admin/logout/").status_code in (200, 302)
    assert end_of(gone) == ("unauthenticated", 4401)
    assert is_open(stay)


CHANGES = {
    "deactivated": "user.is_active = False",
    "a new password": "user.set_password('another')",
    "another role": "user.role = 'driver'",
    "staff rights": "user.is_staff = True",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_account_is_out_on_every_process(servers, dial, trip, change):
    sockets = [dial(servers[0], NOTIFICATIONS, trip.rider)]
    sockets.append(dial(servers[1], f"/ws/chat/{trip.pk}/", trip.rider))
    other = dial(servers[1], f"/ws/chat/{trip.pk}/", trip.driver)
    user = get_user_model().objects.get(pk=trip.rider.pk)
    exec(change, {"user": user})  # noqa: S102
    user.save()
    for socket in sockets:
        assert end_of(socket) == ("unauthenticated", 4401)
    assert is_open(other)


def test_what_changes_no_right_closes_nothing(server, dial, trip):
    socket = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    trip.rider.first_name = "Another"
    trip.rider.save()
    assert is_open(socket)
    Message(conversation=trip, sender=trip.driver, text="still there").save()
    assert socket.frame("chat_message")["message"] == "still there"


def test_a_deleted_user_is_out(server, dial, make_user):
    user = make_user()
    socket = dial(server, NOTIFICATIONS, user)
    user.delete()
    assert end_of(socket) == ("unauthenticated", 4401)


def test_support_that_may_no_longer_see_conversations_is_out(server, dial, trip, make_user):
    agents = Group.objects.create(name="agents")
    agents.permissions.add(Permission.objects.get(codename="view_conversation"))
    agent = make_user("admin", is_superuser=False)
    agent.groups.add(agents)
    chat, bell = dial(server, f"/ws/chat/{trip.pk}/", agent), dial(server, NOTIFICATIONS, agent)
    agent.groups.clear()
    assert end_of(chat) == ("not_found", 4404)
    assert is_open(bell)


# Removal


def test_who_is_removed_gets_nothing_behind_the_removal(servers, dial, trip):
    removed = [dial(server, f"/ws/chat/{trip.pk}/", trip.rider) for server in servers]
    stays = dial(servers[1], f"/ws/chat/{trip.pk}/", trip.driver)
    Participant.objects.get(conversation=trip, user=trip.rider).delete()
    for n in range(20):
        Message(conversation=trip, sender=trip.driver, text=f"behind her back {n}").save()
    for socket in removed:
        assert socket.frame("participant_removed", PROMISED)["user_id"] == trip.rider.pk
        assert end_of(socket) == ("not_found", 4404)
    assert stays.frame("participant_removed")["user_id"] == trip.rider.pk
    for n in range(20):
        assert stays.frame("chat_message")["message"] == f"behind her back {n}"


def test_a_removal_arrives_without_redis_as_well(start_server, valkey, dial, trip):
    server = start_server(REDIS_URL=valkey.url)
    socket = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    valkey.kill()
    server.shell(
        f"from chat.models import *; Participant.objects.filter({trip.rider.pk}).delete()".replace(
            "filter(", "filter(user_id="
        )
    )
    assert socket.frame("participant_removed")["user_id"] == trip.rider.pk
    assert end_of(socket) == ("not_found", 4404)


async def test_support_stays_when_it_is_removed_and_misses_nothing(connect, make_user):
    admin, rider = await sync_to_async(make_user)("admin"), await sync_to_async(make_user)()
    conversation = await Conversation.objects.acreate(kind="support")
    for user, role in ((admin, "support"), (rider, "rider")):
        await Participant.objects.acreate(conversation=conversation, user=user, role=role)
    socket = await connect(f"/ws/chat/{conversation.pk}/", admin)
    await Participant.objects.filter(user=admin).adelete()
    await Message(conversation=conversation, sender=rider, text="hello?").asave()
    assert (await socket.frame())["type"] == "participant_removed"
    assert (await socket.frame("chat_message"))["message"] == "hello?"


async def test_who_joins_while_being_removed_gets_nothing_behind_it(
    connect, trip, monkeypatch, settings
):
    """The removal is committed between the snapshot and the first frame."""
    from holodrive.realtime import consumer

    in_database = consumer.in_database

    async def slow(function, *args, **kwargs):
        found = await in_database(function, *args, **kwargs)
        if function.__name__ == "_look":
            await Participant.objects.filter(user=trip.rider).adelete()
            await Message(conversation=trip, sender=trip.driver, text="secret").asave()
            await asyncio.sleep(0.2)  # the hub has both before the socket is released
        return found

    monkeypatch.setattr(consumer, "in_database", slow)
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    assert (await socket.frame())["type"] == "participant_removed"
    assert (await socket.frame())["code"] == "not_found"
    assert await socket.closed() == 4404


# The net: nobody was told


SILENT = {
    "deactivated": lambda user: get_user_model().objects.filter(pk=user.pk).update(is_active=False),
    "demoted": lambda user: get_user_model().objects.filter(pk=user.pk).update(is_staff=False),
    "logged out": lambda user: RevokedSession.objects.bulk_create(
        [RevokedSession(sid=user.sid, expires_at=datetime.now(UTC) + timedelta(days=1))]
    ),
    "session gone": lambda user: user.session.delete(),
}


@pytest.mark.parametrize("what", SILENT)
async def test_what_nobody_told_is_found_by_looking(connect, make_user, settings, what):
    user = await sync_to_async(make_user)("admin")
    if what == "session gone":
        from importlib import import_module

        store = import_module(settings.SESSION_ENGINE).SessionStore
        user.session = store(await sync_to_async(session_of)(user))
        cookie = f"{settings.SESSION_COOKIE_NAME}={user.session.session_key}"
        headers = {"Cookie": cookie, "Origin": "http://testserver"}
    else:
        token = await sync_to_async(ObtainSerializer.get_token)(user)
        user.sid = token["sid"]
        headers = bearer(token.access_token)
    socket = await connect(NOTIFICATIONS, headers=headers)
    await socket.frame("connection_established")
    await sync_to_async(SILENT[what])(user)
    await hub_module.here().judge_all()
    assert (await socket.frame("error"))["code"] == "unauthenticated"
    assert await socket.closed() == 4401


async def test_looking_asks_little_and_closes_nobody_else(
    connect, make_user, django_assert_num_queries
):
    users = [await sync_to_async(make_user)() for _ in range(5)]
    sockets = [await connect(NOTIFICATIONS, user) for user in users]
    asked = []
    from holodrive.realtime import auth

    doubtful = auth.doubtful

    def counted(identities):
        with django_assert_num_queries(2):
            asked.append(len(identities))
            return doubtful(identities)

    original, auth.doubtful = auth.doubtful, counted
    try:
        await hub_module.here().judge_all()
    finally:
        auth.doubtful = original
    assert asked == [5]
    for socket in sockets:
        await socket.quiet()


def test_everybody_is_looked_at_within_the_promised_minute():
    assert hub_module._JUDGE_ALL_SECONDS <= 30


async def test_a_doubt_heard_while_one_is_authenticated_is_not_lost(
    connect, make_user, monkeypatch
):
    """The logout arrives between the query that lets a socket in and its place in the hub."""
    from holodrive.realtime import consumer

    user = await sync_to_async(make_user)()
    token = await sync_to_async(ObtainSerializer.get_token)(user)
    identify = consumer._identify

    async def slow(caller):
        found = await identify(caller)
        await RevokedSession.objects.acreate(
            sid=token["sid"], expires_at=datetime.now(UTC) + timedelta(days=1)
        )
        await asyncio.sleep(0)  # the hub hears of it
        return found

    hub_module.here()
    monkeypatch.setattr(consumer, "_identify", slow)
    socket = await connect(NOTIFICATIONS, headers=bearer(token.access_token))
    assert (await socket.frame())["code"] == "unauthenticated"
    assert await socket.closed() == 4401


async def test_a_judgement_that_the_database_cannot_give_is_given_later(connect, trip, monkeypatch):
    """Who was removed stays without news until it is known whether they may have them."""
    from django.db import OperationalError

    from holodrive.realtime import auth, consumer

    monkeypatch.setattr(consumer, "_JUDGE_AGAIN", 0.05)
    judge, failures = auth.judge, [OperationalError("gone")] * 3

    def failing(identity):
        if failures:
            raise failures.pop()
        return judge(identity)

    monkeypatch.setattr(auth, "judge", failing)
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    await Participant.objects.filter(user=trip.rider).adelete()
    await Message(conversation=trip, sender=trip.driver, text="secret").asave()
    assert (await socket.frame())["type"] == "participant_removed"
    assert (await socket.frame())["code"] == "not_found"
    assert await socket.closed() == 4404
    assert not failures


def test_a_refresh_tokens_logout_leaves_nothing_to_join_with(server, make_user):
    """The other half of a logout: what is closed does not come back."""
    refresh = ObtainSerializer.get_token(make_user())
    server.request("POST", "/api/token/logout/", {"refresh": str(refresh)})
    status, answer = server.request("POST", "/api/token/refresh/", {"refresh": str(refresh)})
    assert (status, answer["code"]) == (401, "unauthenticated")
    assert isinstance(refresh, RefreshToken)


def test_the_conversation_deleted_with_its_members_closes_their_sockets(server, dial, make_user):
    rider, driver = make_user("rider"), make_user("driver")
    trip = open_trip(rider=rider, driver=driver)
    socket = dial(server, f"/ws/chat/{trip.pk}/", rider)
    trip.delete()
    assert socket.frame("participant_removed")["user_id"] == rider.pk
    assert end_of(socket) == ("not_found", 4404)


# A client that does not read


@pytest.fixture
def stalled(monkeypatch):
    """From now on no client takes what it missed."""
    from holodrive.realtime.outbox import Outbox

    async def ready(self):
        while self.closed is None:  # noqa: ASYNC110 - a stalled transport says nothing either
            await asyncio.sleep(0.01)
        return False

    monkeypatch.setattr(Outbox, "ready", ready)


@pytest.mark.parametrize("missed", ["at the join", "by a resume"])
@pytest.mark.parametrize("end", ["deactivated", "expired"])
async def test_who_does_not_read_what_was_missed_stays_no_longer(
    connect, make_user, stalled, missed, end
):
    user = await sync_to_async(make_user)()
    await Notification.objects.acreate(recipient=user, title="missed")
    headers = await sync_to_async(short_token)(user, 2 if end == "expired" else 600)
    asked = "?last_seq=0" if missed == "at the join" else ""
    socket = await connect(NOTIFICATIONS + asked, headers=headers)
    await socket.frame("connection_established")
    if not asked:
        socket.send({"type": "resume", "last_seq": 0})
        await asyncio.sleep(0.1)  # it has begun: no frame says so
    if end == "deactivated":
        user.is_active = False
        await user.asave()
    expected = "token_expired" if end == "expired" else "unauthenticated"
    assert (await socket.frame("error"))["code"] == expected
    assert await socket.closed() == 4401


async def test_a_resume_that_fails_gives_nothing_that_a_removal_holds_back(
    connect, trip, monkeypatch
):
    from django.db import OperationalError

    from holodrive.realtime import auth, consumer

    judge, failures = auth.judge, [OperationalError("gone")] * 2

    def failing(*args):
        if failures:
            raise failures.pop()
        return judge(*args)

    def gone(*args):
        raise OperationalError("gone")

    socket = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    monkeypatch.setattr(consumer, "_JUDGE_AGAIN", 0.2)
    monkeypatch.setattr(auth, "judge", failing)
    monkeypatch.setattr(consumer.RealtimeConsumer, "_look", gone)
    await Participant.objects.filter(user=trip.rider).adelete()
    await Message(conversation=trip, sender=trip.driver, text="secret").asave()
    assert (await socket.frame())["type"] == "participant_removed"
    socket.send({"type": "resume", "last_seq": 0})
    assert (await socket.frame())["code"] == "unavailable"
    assert (await socket.frame())["code"] == "not_found"
    assert await socket.closed() == 4404


async def test_a_failed_resume_costs_no_event(connect, trip, monkeypatch):
    from django.db import OperationalError

    from holodrive.realtime import consumer

    async def failing(function, *args, **kwargs):
        if function.__name__ == "_look":
            await Message(conversation=trip, sender=trip.driver, text="held").asave()
            await asyncio.sleep(0.1)  # the hub has it
            raise OperationalError("gone")
        return await in_database(function, *args, **kwargs)

    in_database = consumer.in_database
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    monkeypatch.setattr(consumer, "in_database", failing)
    socket.send({"type": "resume", "last_seq": 0})
    assert (await socket.frame())["code"] == "unavailable"
    assert (await socket.frame("chat_message"))["message"] == "held"


async def test_a_login_ended_while_its_token_is_taken_over_is_not_lost(
    connect, make_user, monkeypatch
):
    """As for a connect, now for `token_refresh`."""
    from holodrive.realtime import consumer

    user = await sync_to_async(make_user)()
    token = await sync_to_async(ObtainSerializer.get_token)(user)
    in_database = consumer.in_database

    async def slow(function, *args, **kwargs):
        found = await in_database(function, *args, **kwargs)
        await RevokedSession.objects.acreate(
            sid=token["sid"], expires_at=datetime.now(UTC) + timedelta(days=1)
        )
        await asyncio.sleep(0)  # the hub hears of it
        return found

    socket = await connect(NOTIFICATIONS, user)
    monkeypatch.setattr(consumer, "in_database", slow)
    socket.send({"type": "token_refresh", "token": str(token.access_token)})
    assert (await socket.frame())["code"] == "unauthenticated"
    assert await socket.closed() == 4401


async def test_a_session_that_no_database_can_hold_is_refused(connect, make_user, settings):
    """PostgreSQL takes no NUL; a quoted cookie can bring one."""
    cookie = f'{settings.SESSION_COOKIE_NAME}="{"a" * 32}\\000"'
    socket = await connect(NOTIFICATIONS, headers={"Cookie": cookie, "Origin": "http://testserver"})
    assert (await socket.frame())["code"] == "unauthenticated"
    assert await socket.closed() == 4401
