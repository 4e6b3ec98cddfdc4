"""An example of every frame, built from its schema with values that tell one story.

A frame that is added gets one by itself, as long as its fields are named like those here.
"""

from typing import Any

import msgspec

OMIT: Any = msgspec.UNSET
_AT = "2025-11-22T13:15:22.970153+00:00"
_ID = "7d0f2c4e-5a1b-4b8e-9d57-0c9c1f3f6a10"

_VALUES: dict[str, Any] = {
    "author_id": 3,
    "author_name": "Aziza Karimova",
    "client_note_id": _ID,
    "last_message_at": _AT,
    "last_message": {
        "message_id": 38,
        "message": "Hello, how can I help you?",
        "sender_id": 2,
        "sender_name": "Sobirjon Bobojonov",
        "created_at": _AT,
        "deleted_at": None,
    },
    "note_id": 3,
    "text": "Called the driver: the phone is in the car.",
    "client_message_id": _ID,
    "conversation_id": 1,
    "count": 1,
    "created_at": _AT,
    "deleted_at": _AT,
    "duplicate": False,
    "edited_at": _AT,
    "expires_at": "2025-11-22T14:10:00.000000+00:00",
    "from_seq": 4,
    "heartbeat_interval": 25,
    "is_from_support": False,
    "is_typing": True,
    "last_delivered_id": 37,
    "last_read_id": 37,
    "last_seq": 4,
    "last_seen": _AT,
    "message": "Hello, how can I help you?",
    "message_id": 38,
    "notification_id": 38,
    "online": [2],
    "recovered": True,
    "sender_id": 2,
    "sender_name": "Sobirjon Bobojonov",
    "seq": 5,
    "server_time": _AT,
    "session_id": "8bf81dcec3f441db9f189c7a3e7454b6",
    "receipts": [{"user_id": 2, "last_read_id": 37, "last_delivered_id": 37}],
    "to_seq": 5,
    "typing_timeout": 6,
    "unread_count": 1,
    "up_to_id": 38,
    "user_id": 2,
    "user_name": "Sobirjon Bobojonov",
}

_STATE = {
    "id": 1,
    "kind": "support",
    "subject": "Lost phone",
    "status": "resolved",
    "closes_at": None,
}

# What a shape says differently; each entry is one example of it.
_VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "NotificationsConnectionEstablished": (
        {"message": "Connected to notifications", "user_id": "2"},
    ),
    "SupportConnectionEstablished": (
        {
            "message": "Connected to support",
            "permissions": ["chat.view_conversation", "chat.assign_conversation"],
        },
    ),
    "NotesConnectionEstablished": ({"message": "Connected to notes"},),
    "ChatConnectionEstablished": ({"message": "Connected to chat"},),
    "ConversationUpdated": ({"seq": 6, "conversation": _STATE},),
    "QueueUpdated": (
        {
            "conversation": {
                **_STATE,
                "created_at": _AT,
                "last_message_at": _AT,
                "priority": "normal",
                "assignee": {"user_id": 3, "name": "Aziza Karimova"},
                "waiting_since": None,
                "snoozed_until": None,
                "participants": [{"user_id": 2, "name": "Sobirjon Bobojonov", "role": "rider"}],
            }
        },
    ),
    "NotificationBody": (
        {
            "id": 38,
            "title": "New message from Sobirjon Bobojonov",
            "message": "New message in conversation: Hello, how can I help you?...",
            "notification_type": "chat_message",
            "related_object_type": "conversation",
            "related_object_id": 1,
            "data": {"conversation_id": 1, "message_id": 38},
            "status": "unread",
        },
    ),
    "NotificationRead": ({"seq": 6, "unread_count": 0},),
    "NotificationsRead": ({"seq": 6, "unread_count": 0},),
    "AlreadyRead": (
        {"up_to_id": OMIT, "unread_count": 0},
        {"notification_id": OMIT, "unread_count": 0},
    ),
    "MarkAllAsRead": ({}, {"up_to_id": OMIT}),
    "SendMessage": ({}, {"client_message_id": OMIT}),
    # Over REST alone an item says that it was changed.
    "ChatMessage": (
        {"masked": OMIT, "edited_at": OMIT, "deleted_at": OMIT},
        {"message": "Call me: •••", "masked": True, "edited_at": OMIT, "deleted_at": OMIT},
    ),
    "EditMessage": ({"message": "Hello, can I help you?"},),
    "AlreadyEdited": ({"message": "Hello, can I help you?"},),
    "MessageDeleted": ({"seq": 6},),
    "MessageEdited": ({"seq": 6, "message": "Hello, can I help you?"},),
    "Error": (
        {
            "code": "idempotency_conflict",
            "message": "This client_message_id was sent with another text.",
            "ref": _ID,
        },
    ),
    "Presence": (
        {"status": "online", "last_seen": None},
        {"status": "offline"},
    ),
    "Resumed": (
        {},
        {"recovered": False, "from_seq": 999, "to_seq": 5, "count": 0},
    ),
}

_BY_TYPE: dict[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "object": {},
    "array": [],
    "null": None,
}


def examples(
    name: str, schema: dict[str, Any], components: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Examples of the shape `name`, the most telling first."""
    return [_build(schema, components, variant) for variant in _VARIANTS.get(name, ({},))]


def _build(
    schema: dict[str, Any], components: dict[str, dict[str, Any]], values: dict[str, Any]
) -> dict[str, Any]:
    values = _VALUES | values
    built = {
        field: values[field] if field in values else _value(kind, components)
        for field, kind in schema["properties"].items()
    }
    return {field: value for field, value in built.items() if value is not OMIT}


def _value(schema: dict[str, Any], components: dict[str, dict[str, Any]]) -> Any:
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            return _value(components[name] | {"x-name": name}, components)
        case {"enum": [first, *_]}:
            return first
        case {"anyOf": [first, *_]}:
            return _value(first, components)
        case {"properties": _, "x-name": str(name)}:
            return _build(schema, components, _VARIANTS.get(name, ({},))[0])
    return _BY_TYPE[schema["type"]]
