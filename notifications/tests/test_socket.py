"""/ws/notifications/ through the ASGI application."""

import json

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.utils.translation import gettext_lazy

from holodrive.realtime import log
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


async def test_the_first_frame_is_the_documented_one(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    socket = await connect("/ws/notifications/", user, first_frame=False)
    frame = await socket.frame()
    assert {name: frame[name] for name in ("type", "message", "user_id")} == {
        "type": "connection_established",
        "message": "Connected to notifications",
        "user_id": str(user.pk),
    }
    assert frame["last_seq"] == 0
    assert frame["unread_count"] == 0


async def test_a_saved_notification_arrives_as_documented(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    socket = await connect("/ws/notifications/", user)
    row = await Notification.objects.acreate(
        recipient=user,
        title="New message from Sobirjon Bobojonov",
        message="New message in conversation: hi...",
        notification_type="chat_message",
        related_object_type="conversation",
        related_object_id=1,
        data={"conversation_id": 1, "message_id": 38},
    )
    assert json.loads(await socket.raw()) == {
        "type": "notification",
        "notification": {
            "id": row.pk,
            "title": "New message from Sobirjon Bobojonov",
            "message": "New message in conversation: hi...",
            "notification_type": "chat_message",
            "related_object_type": "conversation",
            "related_object_id": 1,
            "data": {"conversation_id": 1, "message_id": 38},
            "created_at": row.created_at.isoformat(timespec="microseconds"),
            "status": "unread",
        },
        "seq": 1,
        "unread_count": 1,
    }


async def test_marking_as_read_reaches_every_socket_of_that_user(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    phone = await connect("/ws/notifications/", user)
    tablet = await connect("/ws/notifications/", user)
    row = await Notification.objects.acreate(recipient=user, title="Your driver is here")
    phone.send({"type": "mark_as_read", "notification_id": row.pk})
    for socket in (phone, tablet):
        assert await socket.frame("notification_read") == {
            "type": "notification_read",
            "notification_id": row.pk,
            "unread_count": 0,
            "seq": 2,
        }


async def test_marking_all_is_one_event(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    socket = await connect("/ws/notifications/", user)
    rows = [await Notification.objects.acreate(recipient=user, title=str(n)) for n in range(3)]
    socket.send({"type": "mark_all_as_read", "up_to_id": rows[1].pk})
    assert await socket.frame("notification_read") == {
        "type": "notification_read",
        "up_to_id": rows[1].pk,
        "unread_count": 1,
        "seq": 4,
    }
    socket.send({"type": "mark_all_as_read"})
    frame = await socket.frame("notification_read")
    assert (frame["up_to_id"], frame["unread_count"], frame["seq"]) == (rows[2].pk, 0, 5)


async def test_marking_what_was_read_already_changes_nothing(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    row = await Notification.objects.acreate(recipient=user, title="Hi", status="read")
    socket = await connect("/ws/notifications/", user)
    answer = {"type": "notification_read", "unread_count": 0}
    socket.send({"type": "mark_as_read", "notification_id": row.pk})
    assert await socket.frame() == answer | {"notification_id": row.pk}
    socket.send({"type": "mark_all_as_read"})
    assert await socket.frame() == answer | {"up_to_id": row.pk}


async def test_anothers_notification_cannot_be_marked(connect, make_user):
    user, other = await sync_to_async(make_user)("rider"), await sync_to_async(make_user)("driver")
    row = await Notification.objects.acreate(recipient=other, title="Hi")
    socket = await connect("/ws/notifications/", user)
    socket.send({"type": "mark_as_read", "notification_id": row.pk})
    error = await socket.frame()
    assert (error["type"], error["code"], error["ref"]) == ("error", "not_found", "mark_as_read")
    await row.arefresh_from_db()
    assert row.status == "unread"


async def test_nobody_gets_anothers_notification(connect, make_user):
    user, other = await sync_to_async(make_user)("rider"), await sync_to_async(make_user)("driver")
    socket = await connect("/ws/notifications/", other)
    await Notification.objects.acreate(recipient=user, title="Hi")
    await socket.quiet()


async def test_an_edited_notification_comes_again_with_the_same_id(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    socket = await connect("/ws/notifications/", user)
    row = await Notification.objects.acreate(recipient=user, title="Helo")
    await socket.frame("notification")
    row.title = "Hello"
    await row.asave()
    assert (await socket.frame("notification"))["notification"]["title"] == "Hello"
    await socket.frame("unread_count")
    await row.asave()  # nothing changed: no event
    await socket.quiet()


async def test_one_save_that_edits_and_marks_read_tells_both(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    socket = await connect("/ws/notifications/", user)
    row = await Notification.objects.acreate(recipient=user, title="Helo")
    await socket.frame("notification")
    row.title, row.status = "Hello", "read"
    await row.asave()
    frame = await socket.frame("notification")
    assert (frame["notification"]["title"], frame["notification"]["status"]) == ("Hello", "read")
    assert frame["unread_count"] == 0
    assert row.read_at is not None


async def test_a_stale_instance_tells_only_what_it_stored(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    row = await Notification.objects.acreate(recipient=user, title="old")
    stale = await Notification.objects.aget()
    row.title = "new"
    await row.asave()
    socket = await connect("/ws/notifications/", user)
    stale.status = "read"
    await stale.asave(update_fields=["status"])
    assert (await socket.frame("notification_read"))["notification_id"] == row.pk
    await row.arefresh_from_db()
    assert (row.title, row.status, row.read_at is not None) == ("new", "read", True)


@pytest.mark.django_db(transaction=True)
def test_a_row_of_which_a_part_was_read_stores_when_it_was_read(make_user):
    Notification.objects.create(recipient=make_user("rider"), title="Hi")
    row = Notification.objects.only("status").get()
    row.status = "read"
    row.save()
    assert Notification.objects.get().read_at is not None


async def test_what_a_caller_passes_loosely_goes_out_with_the_documented_types(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    socket = await connect("/ws/notifications/", user)
    await Notification.objects.acreate(
        recipient=user, title=gettext_lazy("Hi"), related_object_id="7"
    )
    body = (await socket.frame("notification"))["notification"]
    assert (body["title"], body["related_object_id"]) == ("Hi", 7)


async def test_the_count_follows_the_events_of_a_transaction_once(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    sockets = [await connect("/ws/notifications/", user) for _ in range(2)]

    def write():
        with transaction.atomic(), log.writing(f"user.{user.pk}"):
            for title in "abc":
                Notification.objects.create(recipient=user, title=title)

    await sync_to_async(write)()
    for socket in sockets:
        frames = [await socket.frame() for _ in range(4)]
        assert [frame["type"] for frame in frames] == ["notification"] * 3 + ["unread_count"]
        assert frames[-1] == {"type": "unread_count", "unread_count": 3}
        await socket.quiet()
    sockets[0].send({"type": "mark_all_as_read"})
    for socket in sockets:
        assert (await socket.frame())["type"] == "notification_read"
        assert await socket.frame() == {"type": "unread_count", "unread_count": 0}


async def test_a_count_that_waited_for_a_resume_comes_behind_it(connect, make_user):
    user = await sync_to_async(make_user)("rider")
    socket = await connect("/ws/notifications/", user)
    await Notification.objects.acreate(recipient=user, title="a")
    await socket.frame("unread_count")
    socket.send({"type": "resume", "last_seq": 0})
    assert [(await socket.frame())["type"] for _ in range(2)] == ["notification", "resumed"]
    await socket.quiet()
