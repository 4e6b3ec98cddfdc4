"""Each frame of the notification socket, to the letter."""

import pytest

from holodrive.realtime.wire import encode
from notifications import events

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
