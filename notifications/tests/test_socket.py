"""/ws/notifications/ through the ASGI application."""

import json

import pytest
from asgiref.sync import sync_to_async

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
