"""Messages that share a transaction: each is answered for itself, and is none the worse for the
others.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection, transaction
from django.db.models.signals import post_save, pre_save

from chat import consumers, services
from chat.models import Conversation, Message, Participant
from chat.services import Draft, SentMessage
from holodrive.realtime import group_commit, log, publish
from holodrive.realtime.models import Event, Stream
from holodrive.realtime.wire import ConversationClosed, IdempotencyConflict, NotFound
from notifications.models import Notification
from testing.patience import START
from testing.server import test_database_url
from testing.services import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trips(make_user):
    """Six trips; the first two are of the same rider."""
    riders = [make_user("rider") for _ in range(5)]
    made = []
    for rider in (riders[0], *riders):
        trip = services.open_trip(rider=rider, driver=make_user("driver"))
        trip.rider = rider
        made.append(trip)
    return made


def draft(trip, text="Hi", id=None, user=None):
    return Draft(user or trip.rider, trip.pk, text, id)


def frames(stream):
    rows = Event.objects.filter(stream__name=stream).order_by("seq")
    return [json.loads(text) for text in rows.values_list("text", flat=True)]


@pytest.fixture
def receive():
    """Connects a receiver of saved messages, as a project's own code would."""
    receivers = []

    def connect(receiver):
        post_save.connect(receiver, sender=Message)
        receivers.append(receiver)

    yield connect
    for receiver in receivers:
        post_save.disconnect(receiver, sender=Message)


def test_each_is_answered_for_itself(trips, make_user):
    here, elsewhere, closed, again, other, foreign = trips
    services.send_message(
        user=again.rider, conversation_id=again.pk, text="1", client_message_id="a"
    )
    services.send_message(
        user=other.rider, conversation_id=other.pk, text="1", client_message_id="a"
    )
    Conversation.objects.filter(pk=closed.pk).update(status="closed")
    answers = services.send_messages(
        [
            draft(here, "one"),
            draft(elsewhere, "two", "b"),
            draft(closed),
            draft(again, "1", "a"),
            draft(other, "2", "a"),
            draft(foreign, user=make_user("rider")),
        ]
    )
    assert [type(answer) for answer in answers] == [
        *[SentMessage] * 2, ConversationClosed, SentMessage, IdempotencyConflict, NotFound,
    ]  # fmt: skip
    assert [answer.duplicate for answer in answers if isinstance(answer, SentMessage)] == [
        False, False, True,
    ]  # fmt: skip
    assert [answers[4].ref, answers[2].ref] == ["a", None]
    stored = Message.objects.order_by("conversation", "pk").values_list("conversation", "text")
    assert list(stored) == [
        (here.pk, "one"), (elsewhere.pk, "two"), (again.pk, "1"), (other.pk, "1"),
    ]  # fmt: skip
    assert not Stream.objects.filter(name__in=[f"conversation.{foreign.pk}"]).exists()


def test_together_or_alone_the_same_is_stored_and_told(trips):
    """Of each side of all trips one: the answer also reads what it answers."""

    def told():
        names = [f"conversation.{trip.pk}" for trip in trips]
        names += [f"user.{user}" for user in users]
        varying = ("created_at", "id", "message_id", "notification_id", "notification", "seq")
        return [
            [
                (
                    frame["seq"],
                    frame.get("unread_count"),
                    sorted(frame.keys() - varying),
                    frame["type"],
                )
                for frame in frames(name)
            ]
            for name in names
        ]

    users = sorted(Participant.objects.values_list("user", flat=True).distinct())
    sides = [[draft(trip, f"{trip.pk}") for trip in trips]]
    drivers = Participant.objects.filter(role="driver").select_related("user")
    sides.append([Draft(row.user, row.conversation_id, "Yes") for row in drivers])
    sides.append(sides[0])
    for side in sides:
        services.send_messages(side)
    together = told(), sorted(Participant.objects.values_list("last_read_id", flat=True))
    assert [len(events) for events in together[0]][:6] == [3] * 6
    for trip in trips:
        conversation = Conversation.objects.get(pk=trip.pk)
        last = Message.objects.filter(conversation=trip).order_by("-pk")[0]
        assert conversation.last_message_at == last.created_at
        assert Participant.objects.get(conversation=trip, user=trip.rider).last_read_id == last.pk
        assert Notification.objects.filter(related_object_id=trip.pk, status="unread").count() == 1

    services.send_messages([])
    Event.objects.all().delete()
    Stream.objects.all().delete()
    Message._base_manager.all().delete()  # or the streams would go on after them
    Notification._base_manager.all().delete()
    for side in sides:
        for one in side:
            services.send_message(user=one.user, conversation_id=one.conversation_id, text=one.text)
    assert told() == together[0]


def test_many_take_no_more_statements_than_a_few(trips, django_assert_max_num_queries):
    services.send_messages([draft(trip) for trip in trips])
    with django_assert_max_num_queries(20) as few:
        services.send_messages([draft(trip) for trip in trips[2:4]])
    with django_assert_max_num_queries(len(few)):
        services.send_messages([draft(trip) for trip in trips[2:]])


def test_a_save_of_the_model_does_what_a_service_does(trips):
    Message.objects.create(conversation=trips[0], sender=trips[0].rider, text="Hi")
    assert [frame["type"] for frame in frames(f"conversation.{trips[0].pk}")] == ["chat_message"]
    assert Notification.objects.get().data["conversation_id"] == trips[0].pk
    assert Participant.objects.get(conversation=trips[0], user=trips[0].rider).last_read_id


def test_a_projects_own_receivers_hear_of_each_message_once(trips, receive):
    heard = []
    receive(lambda instance, created, raw, using, update_fields, **more: heard.append(
        (instance.pk, instance.text, created, transaction.get_connection().in_atomic_block)
    ))  # fmt: skip
    sent = services.send_messages([draft(trip, f"{trip.pk}") for trip in trips])
    assert heard == [
        (one.message.pk, f"{trip.pk}", True, True) for one, trip in zip(sent, trips, strict=True)
    ]


def bot_that_answers(bot):
    def reply(instance, **kwargs):
        if instance.text == "ask":
            Message(conversation=instance.conversation, sender=bot, text="answer").save()

    return reply


@pytest.mark.parametrize("order", ["ahead", "after"])
def test_a_project_lists_its_apps_in_either_order(trip, order):
    """Its receivers, connected by the model's name as well, answer what was published already."""
    script = (
        "from chat import services; from chat.models import *;"
        f"trip = Conversation.objects.get(pk={trip.pk}); rider = trip.participants.first().user;"
        "services.send_message(user=rider, conversation_id=trip.pk, text='ask');"
        "Message(conversation=trip, sender=rider, text='ask').save()"
    )
    settings = {"DJANGO_SETTINGS_MODULE": f"testing.answering.{order}"}
    run = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", script],
        cwd=ROOT,
        env=os.environ | settings | {"DATABASE_URL": test_database_url()},
        capture_output=True,
        text=True,
        timeout=START,
    )
    assert run.returncode == 0, run.stderr
    said = Message.objects.order_by("pk").values_list("text", "seq")
    assert [text for text, _ in said] == ["ask", "of all", "first", "second"] * 2
    assert [seq for _, seq in said] == sorted(seq for _, seq in said)
    logged = [
        frame["message"]
        for frame in frames(f"conversation.{trip.pk}")
        if frame["type"] == "chat_message"
    ]
    assert logged == ["ask", "of all", "first", "second"] * 2


@pytest.mark.parametrize("together", [1, 2])
def test_what_a_receiver_of_pre_save_sends_comes_first(trips, together):
    def another(instance, **kwargs):
        if instance.text == "ask":
            instance.conversation.messages.create(sender=instance.sender, text="before")

    pre_save.connect(another, sender=Message)
    try:
        services.send_messages([draft(trip, "ask") for trip in trips[:together]])
    finally:
        pre_save.disconnect(another, sender=Message)
    for trip in trips[:together]:
        said = [(frame["message"], frame["seq"]) for frame in frames(f"conversation.{trip.pk}")]
        assert said == [("before", 1), ("ask", 2)]
        assert [(row.text, row.seq) for row in trip.messages.order_by("pk")] == said


def test_of_several_none_is_stored_by_a_number_that_a_receiver_has_taken(trips, receive):
    """Each is saved by itself then (chat/consumers.py)."""
    one, other = trips[:2]

    def elsewhere(instance, **kwargs):
        if instance.conversation_id == one.pk:
            other.messages.create(sender=other.rider, text="from another")

    receive(elsewhere)
    with pytest.raises(RuntimeError, match="has moved on"):
        services.send_messages([draft(one), draft(other)])
    assert not Message.objects.exists()


@pytest.mark.parametrize("problem", [OperationalError("database is locked"), ValueError("no")])
def test_what_another_app_does_behind_the_commit_undoes_nothing(
    trips, receive, caplog, monkeypatch, problem
):
    announced = []
    monkeypatch.setattr(publish, "announce", lambda events, told, cause: announced.extend(events))

    def fail():
        raise problem

    receive(lambda **kwargs: transaction.on_commit(fail))
    answer = services.send_message(user=trips[0].rider, conversation_id=trips[0].pk, text="Hi")
    assert Message.objects.get() == answer.message
    assert announced[0].stream == f"conversation.{trips[0].pk}"
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [problem]


def test_the_longest_name_fits(trips):
    rider = trips[0].rider
    rider.first_name, rider.last_name = "A" * 150, "B" * 150
    rider.save()
    services.send_message(user=rider, conversation_id=trips[0].pk, text="Hi")
    assert len(Notification.objects.get().title) == 200


# Through sockets, which share by themselves


@pytest.fixture
async def sockets(trips, connect):
    return [await connect(f"/ws/chat/{trip.pk}/", trip.rider) for trip in trips]


@pytest.fixture
def held(monkeypatch):
    """The first transaction waits until it is let go: what comes meanwhile shares the next."""
    send, go, sizes = services.send_messages, threading.Event(), []

    def hold(drafts):
        sizes.append(len(drafts))
        if len(sizes) == 1:
            go.wait(10)
        return send(drafts)

    monkeypatch.setattr(services, "send_messages", hold)
    monkeypatch.setattr(group_commit, "_PATIENCE", 30.0)
    hold.go, hold.sizes = go, sizes
    return hold


async def say(socket, text, id=None):
    socket.send({"type": "chat_message", "message": text, "client_message_id": id})
    for _ in range(10):  # turns of the loop: then it waits for a transaction
        await asyncio.sleep(0)


async def answer(socket):
    while (frame := await socket.frame())["type"] not in ("message_ack", "error"):
        pass
    return frame


async def test_what_comes_while_a_transaction_runs_shares_the_next(sockets, held):
    for number, socket in enumerate(sockets):
        await say(socket, f"{number}", f"{number}")
    held.go.set()
    acks = [await answer(socket) for socket in sockets]
    assert [ack["client_message_id"] for ack in acks] == ["0", "1", "2", "3", "4", "5"]
    assert held.sizes == [1, 5]
    # In the order in which they came.
    assert [ack["message_id"] for ack in acks] == sorted(ack["message_id"] for ack in acks)


async def test_two_of_one_conversation_never_share(connect, trips, held, sockets):
    again = await connect(f"/ws/chat/{trips[1].pk}/", trips[1].rider)
    await say(sockets[0], "first")
    await say(sockets[1], "once", "same")
    await say(again, "once", "same")
    held.go.set()
    one, other = await answer(sockets[1]), await answer(again)
    assert [one["duplicate"], other["duplicate"]] == [False, True]
    assert one["message_id"] == other["message_id"]
    assert held.sizes == [1, 1, 1]


async def test_one_that_a_receiver_refuses_spoils_no_other(sockets, held, receive):
    def refuse(instance, **kwargs):
        if instance.text == "no":
            raise ValueError("not this one")

    receive(refuse)
    for text, socket in zip(["first", "yes", "no", "yes"], sockets, strict=False):
        await say(socket, text, text)
    held.go.set()
    answers = [await answer(socket) for socket in sockets[:4]]
    assert [one["type"] for one in answers] == [
        "message_ack",
        "message_ack",
        "error",
        "message_ack",
    ]
    assert answers[2]["code"] == "internal"
    assert await sync_to_async(Message.objects.filter(text="no").count)() == 0
    assert held.sizes == [1, 3, 1, 1, 1]


async def test_a_receiver_may_answer_in_another_conversation(sockets, held, receive, trips):
    """It takes the number that the next message of the same transaction counted on."""

    def mirror(instance, **kwargs):
        if instance.text == "mirror":
            Message(conversation=trips[2], sender=trips[2].rider, text="mirrored").save()

    receive(mirror)
    for text, socket in zip(["first", "mirror", "own"], sockets, strict=False):
        await say(socket, text)
    held.go.set()
    assert {(await answer(socket))["type"] for socket in sockets[:3]} == {"message_ack"}
    rows = await sync_to_async(
        lambda: list(Message.objects.filter(conversation=trips[2]).order_by("pk"))
    )()
    told = await sync_to_async(frames)(f"conversation.{trips[2].pk}")
    assert [row.seq for row in rows] == [1, 2]
    assert [frame["message_id"] for frame in told] == [row.pk for row in rows]


@pytest.mark.parametrize("text", ["first", "ask"])
async def test_a_receiver_may_answer_in_the_same_conversation(
    connect, make_user, trips, held, receive, sockets, text
):
    """Alone or among others, what a message brings about comes before what its answer does."""
    bot = await sync_to_async(make_user)("rider", is_staff=True, is_superuser=True)
    asked = (await sync_to_async(services.open_support)(user=trips[2].rider)).conversation
    rider = await connect(f"/ws/chat/{asked.pk}/", trips[2].rider)
    receive(bot_that_answers(bot))
    if text == "first":
        await say(sockets[0], text)
    await say(rider, "ask")
    await say(sockets[1], "other")
    held.go.set()
    assert (await answer(rider))["type"] == "message_ack"
    assert (await answer(sockets[1]))["type"] == "message_ack"
    await sync_to_async(asked.refresh_from_db)()
    newest = await Message.objects.filter(conversation=asked).alatest("pk")
    assert (newest.text, asked.waiting_since) == ("answer", None)
    assert asked.last_message_at == newest.created_at
    rung = Notification.objects.filter(related_object_id=asked.pk, recipient=trips[2].rider)
    assert [row.status async for row in rung] == ["unread"]


async def test_when_the_database_fails_all_are_told_and_none_is_tried_again(
    sockets, held, monkeypatch
):
    """It may have failed with the commit: a message without an id would be stored twice."""
    follow_up = services.send_messages

    def fail(drafts):
        answers = follow_up(drafts)
        if len(drafts) > 1:
            raise OperationalError("server closed the connection unexpectedly")
        return answers

    monkeypatch.setattr(services, "send_messages", fail)
    for socket in sockets[:3]:
        await say(socket, "Hi")
    held.go.set()
    answers = [await answer(socket) for socket in sockets[:3]]
    assert [one["type"] for one in answers] == ["message_ack", "error", "error"]
    assert {(one["code"], one["retryable"]) for one in answers[1:]} == {("unavailable", True)}
    assert held.sizes == [1, 2]


async def test_who_waits_no_longer_spoils_nothing(sockets, held, trips):
    await say(sockets[0], "first")
    gone = asyncio.create_task(consumers._send(draft(trips[1])))
    await say(sockets[2], "Hi")
    gone.cancel()
    held.go.set()
    assert (await answer(sockets[2]))["type"] == "message_ack"
    await asyncio.gather(gone, return_exceptions=True)


async def test_a_transaction_that_hangs_is_waited_for_only_so_long(sockets, held, monkeypatch):
    monkeypatch.setattr(group_commit, "_PATIENCE", 0.05)
    await say(sockets[0], "hangs")
    await say(sockets[1], "goes on")
    assert (await answer(sockets[1]))["type"] == "message_ack"
    held.go.set()
    assert (await answer(sockets[0]))["type"] == "message_ack"


async def test_many_who_wait_for_one_conversation_hold_one_thread(
    connect, trips, held, make_user, sockets, monkeypatch
):
    monkeypatch.setattr(group_commit, "_PATIENCE", 0.01)
    again = [await connect(f"/ws/chat/{trips[0].pk}/", trips[0].rider) for _ in range(3)]
    await say(sockets[0], "hangs")
    for socket in again:
        await say(socket, "waits")
    await say(sockets[1], "goes on")
    assert (await answer(sockets[1]))["type"] == "message_ack"
    assert held.sizes == [1, 1]
    held.go.set()
    for socket in (sockets[0], *again):
        assert (await answer(socket))["type"] == "message_ack"


async def test_what_ends_a_transaction_beyond_all_errors_is_answered(sockets, held, monkeypatch):
    def fail(drafts):
        if drafts[0].text == "cancelled":
            raise asyncio.CancelledError
        return held(drafts)

    monkeypatch.setattr(services, "send_messages", fail)
    await say(sockets[0], "first")
    await say(sockets[1], "cancelled")
    held.go.set()
    assert (await answer(sockets[0]))["type"] == "message_ack"
    assert (await answer(sockets[1]))["code"] == "internal"


async def test_a_locked_conversation_holds_nobody_else_up(sockets, held, trips, monkeypatch):
    monkeypatch.setattr(group_commit, "_PATIENCE", 0.05)
    locked, release = threading.Event(), threading.Event()

    def lock():
        with log.writing(f"conversation.{trips[1].pk}"):
            locked.set()
            release.wait(10)
        connection.close()

    held.go.set()
    holding = asyncio.create_task(asyncio.to_thread(lock))
    await asyncio.to_thread(locked.wait, 10)
    for socket in sockets:
        socket.send({"type": "chat_message", "message": "Hi"})
    others = [sockets[0], *sockets[2:]]
    waiting = [sockets[1], *others]
    try:
        if connection.vendor == "postgresql":  # SQLite has one lock for all
            async with asyncio.timeout(1.9):  # sooner than after the lock time-out, 2 s
                for socket in others:
                    assert (await answer(socket))["type"] == "message_ack"
            waiting = [sockets[1]]
    finally:
        release.set()
        await holding
    for socket in waiting:
        assert (await answer(socket))["type"] == "message_ack"
