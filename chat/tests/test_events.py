"""Each frame of the chat socket, to the letter."""

import pytest

from chat import events
from holodrive.realtime.wire import encode

AT = "2025-11-22T13:15:22.970153+00:00"

FRAMES = [
    (
        events.ConnectionEstablished(
            conversation_id=1, last_seq=4, last_read_id=38, typing_timeout=6,
            receipts=[events.Receipt(user_id=2, last_read_id=38, last_delivered_id=39)],
            online=[2],
            heartbeat_interval=25, expires_at=AT, session_id="s",
        ),
        '{"type":"connection_established","message":"Connected to chat","last_seq":4,'
        f'"heartbeat_interval":25,"expires_at":"{AT}","session_id":"s",'
        '"conversation_id":1,"last_read_id":38,"receipts":[{"user_id":2,"last_read_id":38,'
        '"last_delivered_id":39}],"online":[2],"typing_timeout":6}',
    ),
    (
        events.ChatMessage(
            seq=5, message="Hello, how can I help you?", sender_id=2, created_at=AT, message_id=38,
            sender_name="Sobirjon Bobojonov", is_from_support=False, client_message_id=None,
        ),
        '{"type":"chat_message","seq":5,"message":"Hello, how can I help you?","sender_id":2,'
        f'"sender_name":"Sobirjon Bobojonov","is_from_support":false,"created_at":"{AT}",'
        '"message_id":38,"client_message_id":null}',
    ),
    (
        events.ChatMessage(
            seq=5, message="Call me: •••", sender_id=2, created_at=AT, message_id=38,
            sender_name="S", is_from_support=False, client_message_id=None, masked=True,
        ),
        '{"type":"chat_message","seq":5,"message":"Call me: •••","sender_id":2,'
        f'"sender_name":"S","is_from_support":false,"created_at":"{AT}",'
        '"message_id":38,"client_message_id":null,"masked":true}',
    ),
    (
        events.ConversationUpdated(
            seq=9,
            conversation=events.ConversationState(
                id=2, kind="support", subject="Lost phone", status="resolved", closes_at=None
            ),
        ),
        '{"type":"conversation_updated","seq":9,"conversation":{"id":2,"kind":"support",'
        '"subject":"Lost phone","status":"resolved","closes_at":null}}',
    ),
    (
        events.MessageEdited(seq=6, message_id=38, message="Hi", edited_at=AT),
        f'{{"type":"message_edited","seq":6,"message_id":38,"message":"Hi","edited_at":"{AT}"}}',
    ),
    (
        events.ParticipantRemoved(seq=8, user_id=3),
        '{"type":"participant_removed","seq":8,"user_id":3}',
    ),
    (
        events.AlreadyEdited(message_id=38, message="Hi", edited_at=None),
        '{"type":"message_edited","message_id":38,"message":"Hi","edited_at":null}',
    ),
    (
        events.MessageDeleted(seq=7, message_id=38, deleted_at=AT),
        f'{{"type":"message_deleted","seq":7,"message_id":38,"deleted_at":"{AT}"}}',
    ),
    (
        events.AlreadyDeleted(message_id=38, deleted_at=AT),
        f'{{"type":"message_deleted","message_id":38,"deleted_at":"{AT}"}}',
    ),
    (
        events.MessageAck(
            client_message_id="a1", message_id=38, seq=5, created_at=AT, duplicate=False
        ),
        '{"type":"message_ack","client_message_id":"a1","message_id":38,"seq":5,'
        f'"created_at":"{AT}","duplicate":false}}',
    ),
    (
        events.MessagesRead(user_id=2, up_to_id=38),
        '{"type":"message_read","user_id":2,"up_to_id":38}',
    ),
    (
        events.MessagesDelivered(user_id=2, up_to_id=38),
        '{"type":"message_delivered","user_id":2,"up_to_id":38}',
    ),
    (
        events.presence(2, None),
        '{"type":"presence","user_id":2,"status":"online","last_seen":null}',
    ),
    (
        events.presence(2, 1763817322.970153),
        '{"type":"presence","user_id":2,"status":"offline",'
        f'"last_seen":"{AT}"}}',
    ),
    (
        events.UserTyping(user_id=2, user_name="Sobirjon Bobojonov", is_typing=True),
        '{"type":"typing","user_id":2,"user_name":"Sobirjon Bobojonov","is_typing":true}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("frame", "text"), FRAMES, ids=lambda value: type(value).__name__)
def test_a_frame_is_exactly_this(frame, text):
    assert encode(frame) == text
