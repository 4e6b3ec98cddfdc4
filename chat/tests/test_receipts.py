"""Read and delivered: cursors that only move forward, on the socket and over REST."""

import json
import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from rest_framework.test import APIClient

from chat import overview, services
from chat.models import Conversation, Message, Participant
from holodrive.realtime import log
from notifications import services as notifications
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


def say(conversation, sender, text="Hi"):
    message = Message(conversation=conversation, sender=sender, text=text)
    message.save()
    return message.pk


def cursors_of(user):
    row = Participant.objects.get(user=user)
    return row.last_read_id, row.last_delivered_id


def read(user, conversation, up_to_id):
    return services.mark_read(user=user, conversation_id=conversation.pk, up_to_id=up_to_id)


def events_of(stream):
    return [json.loads(event.text) for event in log.read(stream, 0, 10_000)]


@pytest.fixture
def ids(trip):
    """Three messages of the driver."""
    return [say(trip, trip.driver) for _ in range(3)]


@pytest.fixture
def post(trip):
    def post(user, body, id=None):
        client = APIClient()
        client.force_authenticate(user)
        return client.post(f"/api/conversations/{id or trip.pk}/read/", body, format="json")

    return post


# On the socket


async def test_a_read_mark_reaches_everybody_in_the_conversation(connect, trip, ids):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    second = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    rider.send({"type": "message_read", "up_to_id": ids[1]})
    for socket in (rider, second, driver):
        assert await socket.frame("message_read") == {
            "type": "message_read",
            "user_id": trip.rider.pk,
            "up_to_id": ids[1],
        }
        await socket.quiet()
    assert await sync_to_async(cursors_of)(trip.rider) == (ids[1], ids[1])


async def test_delivered_moves_behind_read_and_never_moves_it(connect, trip, ids):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    rider.send({"type": "message_delivered", "up_to_id": ids[2]})
    for socket in (rider, driver):
        assert await socket.frame("message_delivered") == {
            "type": "message_delivered",
            "user_id": trip.rider.pk,
            "up_to_id": ids[2],
        }
    assert await sync_to_async(cursors_of)(trip.rider) == (0, ids[2])
    rider.send({"type": "message_read", "up_to_id": ids[0]})
    await driver.frame("message_read")
    assert await sync_to_async(cursors_of)(trip.rider) == (ids[0], ids[2])


def test_what_is_delivered_behind_a_read_mark_leaves_it_where_it_is(trip, ids):
    services.mark_read(user=trip.rider, conversation_id=trip.pk, up_to_id=ids[1])
    services.mark_delivered(user=trip.rider, conversation_id=trip.pk, up_to_id=ids[2])
    assert cursors_of(trip.rider) == (ids[1], ids[2])


@pytest.mark.parametrize("kind", ["message_read", "message_delivered"])
async def test_what_moves_nothing_is_answered_to_the_one_who_asked(connect, trip, ids, kind):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    rider.send({"type": kind, "up_to_id": ids[2]})
    told = await rider.frame(kind)
    assert await driver.frame() == told
    for up_to_id in (ids[2], ids[0]):
        rider.send({"type": kind, "up_to_id": up_to_id})
        assert await rider.frame() == told
    await driver.quiet()


@pytest.mark.parametrize("kind", ["message_read", "message_delivered"])
async def test_a_cursor_stands_on_a_message_of_its_conversation(connect, trip, ids, kind):
    other = await sync_to_async(services.open_trip)(rider=trip.rider, driver=trip.driver)
    beyond = await sync_to_async(say)(other, trip.driver)
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    for up_to_id in (beyond, 2**63 - 1):
        rider.send({"type": kind, "up_to_id": up_to_id})
        assert (await rider.frame(kind))["up_to_id"] == ids[2]


@pytest.mark.parametrize("kind", ["message_read", "message_delivered"])
@pytest.mark.parametrize("up_to_id", [0, -1, 2**63, "1", None, 1.5, True])
async def test_a_wrong_id_is_an_error(connect, trip, kind, up_to_id):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    rider.send({"type": kind, "up_to_id": up_to_id})
    error = await rider.frame()
    assert (error["code"], error["ref"]) == ("invalid_message", kind)
    await rider.quiet()


@pytest.mark.parametrize("kind", ["message_read", "message_delivered"])
async def test_an_empty_conversation_moves_nothing(connect, trip, kind):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    rider.send({"type": kind, "up_to_id": 5})
    assert (await rider.frame(kind))["up_to_id"] == 0


@pytest.mark.parametrize("kind", ["message_read", "message_delivered"])
async def test_who_was_removed_moves_nothing(connect, trip, ids, kind):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    await Participant.objects.filter(user=trip.rider).adelete()
    rider.send({"type": kind, "up_to_id": ids[0]})
    assert (await rider.frame("error"))["code"] == "not_found"
    assert not await Participant.objects.filter(user=trip.rider).aexists()


async def test_the_first_frame_has_everybodys_cursors(connect, trip, ids):
    await sync_to_async(read)(trip.rider, trip, ids[1])
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    assert rider.welcome["last_read_id"] == ids[1]
    assert rider.welcome["receipts"] == [
        {"user_id": trip.rider.pk, "last_read_id": ids[1], "last_delivered_id": ids[1]},
        {"user_id": trip.driver.pk, "last_read_id": ids[2], "last_delivered_id": ids[2]},
    ]


async def test_the_first_frame_of_a_conversation_without_participants(connect, make_user):
    conversation = await Conversation.objects.acreate()
    staff = await connect(f"/ws/chat/{conversation.pk}/", await sync_to_async(make_user)("admin"))
    assert (staff.welcome["receipts"], staff.welcome["last_read_id"]) == ([], 0)


async def test_staff_take_part_from_their_first_read_mark_on(connect, trip, ids, make_user):
    staff = await sync_to_async(make_user)("admin")
    socket = await connect(f"/ws/chat/{trip.pk}/", staff)
    socket.send({"type": "message_delivered", "up_to_id": ids[0]})
    assert (await socket.frame("message_delivered"))["up_to_id"] == 0
    assert not await Participant.objects.filter(user=staff).aexists()
    socket.send({"type": "message_read", "up_to_id": ids[0]})
    assert (await socket.frame("message_read"))["up_to_id"] == ids[0]
    row = await Participant.objects.aget(user=staff)
    assert (row.role, row.last_read_id, row.last_delivered_id) == ("support", ids[0], ids[0])
    assert (await sync_to_async(overview.unread_counts)(staff)) == {trip.pk: 2}


# What reading does to notifications


def test_reading_marks_the_notifications_of_what_was_read_and_no_others(trip, ids):
    other = services.open_trip(rider=trip.rider, driver=trip.driver)
    say(other, trip.driver)
    Notification.objects.create(recipient=trip.rider, title="a receipt", related_object_id=trip.pk)
    before = len(events_of(f"user.{trip.rider.pk}"))
    read(trip.rider, trip, ids[1])
    concerned = Notification.objects.filter(
        recipient=trip.rider, data__message_id__in=ids[:2]
    ).order_by("id")
    told = events_of(f"user.{trip.rider.pk}")[before:]
    assert told == [
        {
            "type": "notification_read",
            "seq": before + place + 1,
            "notification_id": row.pk,
            "unread_count": 4 - place,
        }
        for place, row in enumerate(concerned)
    ]
    assert all(row.status == "read" and row.read_at for row in concerned)
    assert notifications.unread_count(trip.rider) == 3


def test_the_cursor_and_the_notifications_change_together_or_not_at_all(trip, ids, monkeypatch):
    monkeypatch.setattr(services.cursors, "move", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read(trip.rider, trip, ids[2])
    assert notifications.unread_count(trip.rider) == 3
    assert len(events_of(f"user.{trip.rider.pk}")) == 3


def test_a_read_mark_that_moves_nothing_writes_no_event(trip, ids):
    read(trip.rider, trip, ids[2])
    before = len(events_of(f"user.{trip.rider.pk}"))
    assert not read(trip.rider, trip, ids[2]).moved
    assert len(events_of(f"user.{trip.rider.pk}")) == before


def test_who_answers_has_read_what_came_before(trip, ids):
    mine = say(trip, trip.rider)
    assert cursors_of(trip.rider) == (mine, mine)
    assert notifications.unread_count(trip.rider) == 0
    assert overview.unread_counts(trip.rider) == {}
    assert cursors_of(trip.driver) == (ids[2], ids[2])


def test_delivery_is_not_reading(trip, ids):
    services.mark_delivered(user=trip.rider, conversation_id=trip.pk, up_to_id=ids[2])
    assert notifications.unread_count(trip.rider) == 3


def test_the_notifications_of_a_conversation_are_found_by_an_index(trip, ids):
    rows = notifications.unread_of_conversation(trip.rider.pk, trip.pk)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET enable_seqscan = off")
        plan = rows.explain()
    assert re.search("notification_(unread|of_conversation)", plan)  # each finds it


# Over REST


def test_reading_over_rest_is_told_like_any_other(post, trip, ids):
    answer = post(trip.rider, {"up_to_id": ids[1]})
    assert answer.status_code == 200
    assert answer.json() == {
        "type": "message_read",
        "user_id": trip.rider.pk,
        "up_to_id": ids[1],
    }
    assert post(trip.rider, {"up_to_id": ids[0]}).json() == answer.json()


async def test_a_socket_hears_of_what_was_read_over_rest(connect, post, trip, ids):
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    answer = await sync_to_async(post)(trip.rider, {"up_to_id": ids[1]})
    assert await driver.frame() == answer.json()


@pytest.mark.parametrize("body", [{}, {"up_to_id": 0}, {"up_to_id": "x"}, {"up_to_id": 2**63}])
def test_a_wrong_body_is_refused(post, trip, body):
    answer = post(trip.rider, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


@pytest.mark.parametrize("id", ["999999", "abc", "9223372036854775808"])
def test_a_strangers_conversation_looks_like_none(post, trip, make_user, id):
    answers = [post(trip.rider, {"up_to_id": 1}, id), post(make_user("rider"), {"up_to_id": 1})]
    assert {answer.status_code for answer in answers} == {404}
    assert answers[0].content == answers[1].content


# Whatever happens at the same time


def test_concurrent_marks_only_move_forward(trip):
    ids = [say(trip, trip.driver) for _ in range(24)]
    start, seen = threading.Barrier(4), [[] for _ in range(4)]

    def mark(thread):
        start.wait()
        mine = ids[thread::4]
        random.Random(thread).shuffle(mine)  # noqa: S311
        for id in mine:
            seen[thread].append(read(trip.rider, trip, id).frame.up_to_id)
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(mark, range(4)))
    for told in seen:
        assert told == sorted(told)
    assert cursors_of(trip.rider) == (ids[-1], ids[-1])
    assert notifications.unread_count(trip.rider) == 0


@pytest.mark.parametrize("seed", range(3))
def test_counters_and_cursors_hold_after_any_history(make_user, seed):
    """Two conversations and three people, each in a thread of their own: they send, read, mark
    and delete. In the end each cursor is where the calls say, and the last number told is true.
    """
    rider, driver, staff = make_user("rider"), make_user("driver"), make_user("admin")
    people = [rider, driver, staff]
    trips = [services.open_trip(rider=rider, driver=driver) for _ in range(2)]
    start = threading.Barrier(3)
    marked = {}  # (user, conversation): the highest id that was marked, or sent

    def live(number):
        chance, user = random.Random(seed * 10 + number), people[number]  # noqa: S311
        start.wait()
        for _ in range(25):
            trip = chance.choice(trips)
            known = list(Message.objects.filter(conversation=trip).values_list("pk", flat=True))
            key, id = (user.pk, trip.pk), chance.choice(known or [1])
            match chance.choice(["send", "send", "read", "delivered", "one", "all", "delete"]):
                case "send":
                    id = services.send_message(
                        user=user, conversation_id=trip.pk, text="Hi"
                    ).message.pk
                    marked[key] = max(marked.get(key, 0), id)
                case "read" if known:
                    told = read(user, trip, id).frame.up_to_id
                    marked[key] = max(marked.get(key, 0), id)
                    assert told >= marked[key]
                case "delivered" if known:
                    services.mark_delivered(user=user, conversation_id=trip.pk, up_to_id=id)
                case "one":
                    row = Notification.objects.filter(recipient=user).order_by("?").first()
                    if row:
                        notifications.mark_read(user=user, notification_id=row.pk)
                case "all":
                    notifications.mark_all_read(user=user)
                case "delete":
                    own = Message.objects.filter(conversation=trip, sender=user).first()
                    if own:
                        services.delete_message(
                            user=user, conversation_id=trip.pk, message_id=own.pk
                        )
        connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(live, range(3)))

    rows = Participant.objects.values_list("user", "conversation", "last_read_id")
    assert {(user, trip): cursor for user, trip, cursor in rows if cursor} == marked
    for row in Participant.objects.all():
        assert row.last_delivered_id >= row.last_read_id
    for user in people:
        unread = set(
            Notification.objects.filter(recipient=user, status="unread").values_list(
                "pk", flat=True
            )
        )
        told, count = replay(events_of(f"user.{user.pk}"))
        assert (told, count) == (unread, len(unread))
        for trip in trips:
            cursor = marked.get((user.pk, trip.pk), 0)
            left = Notification.objects.filter(pk__in=unread, related_object_id=trip.pk)
            assert all(row.data["message_id"] > cursor for row in left)


def replay(frames):
    """What a client holds for unread after these events, and the last number it was told."""
    unread, count = set(), 0
    for frame in frames:
        count = frame["unread_count"]
        if frame["type"] == "notification":
            body = frame["notification"]
            (unread.add if body["status"] == "unread" else unread.discard)(body["id"])
        elif "notification_id" in frame:
            unread.discard(frame["notification_id"])
        else:
            unread = {id for id in unread if id > frame["up_to_id"]}
        assert len(unread) == count  # at every event, not only in the end
    return unread, count
