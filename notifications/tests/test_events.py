"""Each frame of the notification socket, to the letter."""

import pytest
from django.db.models.signals import pre_save

from holodrive.realtime.wire import encode
from notifications import events
from notifications.models import Notification

AT = "2025-11-22T13:15:22.970153+00:00"
BODY = events.NotificationBody(
    id=38,
    title="New message from Sobirjon Bobojonov",
    message="New message in conversation: ashjkdbasljkdhgbasd...",
    notification_type="chat_message",
    related_object_type="conversation",
    related_object_id=1,
    data={"conversation_id": 1, "message_id": 38},
    created_at=AT,
    status="unread",
)

FRAMES = [
    (
        events.ConnectionEstablished(user_id="1", unread_count=2, last_seq=4, session_id="s"),
        '{"type":"connection_established","message":"Connected to notifications","last_seq":4,'
        '"heartbeat_interval":0,"expires_at":null,"session_id":"s","user_id":"1","unread_count":2}',
    ),
    (
        events.NotificationAdded(seq=5, notification=BODY, unread_count=3),
        '{"type":"notification","seq":5,"notification":{"id":38,'
        '"title":"New message from Sobirjon Bobojonov",'
        '"message":"New message in conversation: ashjkdbasljkdhgbasd...",'
        '"notification_type":"chat_message","related_object_type":"conversation",'
        '"related_object_id":1,"data":{"conversation_id":1,"message_id":38},'
        f'"created_at":"{AT}","status":"unread"}},"unread_count":3}}',
    ),
    (
        events.NotificationRead(seq=6, notification_id=38, unread_count=0),
        '{"type":"notification_read","seq":6,"notification_id":38,"unread_count":0}',
    ),
    (
        events.NotificationsRead(seq=7, up_to_id=38, unread_count=0),
        '{"type":"notification_read","seq":7,"up_to_id":38,"unread_count":0}',
    ),
    (
        events.AlreadyRead(notification_id=38, unread_count=0),
        '{"type":"notification_read","notification_id":38,"unread_count":0}',
    ),
    (events.UnreadCount(unread_count=3), '{"type":"unread_count","unread_count":3}'),
]


@pytest.mark.parametrize(("frame", "text"), FRAMES, ids=lambda value: type(value).__name__)
def test_a_frame_is_exactly_this(frame, text):
    assert encode(frame) == text


@pytest.mark.django_db(transaction=True)
def test_what_a_receiver_of_pre_save_has_read_is_read(make_user):
    """Whether it is connected ahead of ours or behind them."""

    def read(instance, **kwargs):
        instance.status = "read"

    pre_save.connect(read, sender=Notification)
    try:
        row = Notification.objects.create(recipient=make_user(), title="News")
    finally:
        pre_save.disconnect(read, sender=Notification)
    row.refresh_from_db()
    assert row.read_at is not None
