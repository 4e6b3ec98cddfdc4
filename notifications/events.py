"""Every wire shape of /ws/notifications/, and of notifications over REST. No models, no I/O."""

from typing import TYPE_CHECKING, Any

import msgspec

from holodrive.realtime.wire import (
    Command,
    Event,
    Frame,
    Identifier,
    Sequence,
    Welcome,
    encode,
    timestamp,
)

if TYPE_CHECKING:
    from notifications.models import Notification


def stream_of(user_id: int) -> str:
    """The stream of everything that a user is notified of."""
    return f"user.{user_id}"


# From the server


class ConnectionEstablished(Welcome, kw_only=True, tag="connection_established"):
    message: str = "Connected to notifications"
    user_id: str
    unread_count: int


class NotificationBody(msgspec.Struct, kw_only=True):
    """One notification; `created_at` as 2025-11-22T13:15:22.970153+00:00."""

    id: int
    title: str
    message: str
    notification_type: str
    related_object_type: str
    related_object_id: int | str | None  # a string beyond 2^53-1, as every such integer
    data: dict[str, Any]
    created_at: str
    status: str


def body(row: "Notification") -> NotificationBody:
    return NotificationBody(
        id=row.pk,
        title=str(row.title),  # str and int: a caller may have passed a lazy translation, or "7"
        message=str(row.message),
        notification_type=row.notification_type,
        related_object_type=row.related_object_type,
        related_object_id=None if row.related_object_id is None else int(row.related_object_id),
        data=row.data,
        created_at=timestamp(row.created_at),
        status=row.status,
    )


class NotificationAdded(Event, kw_only=True, tag="notification"):
    """A new notification, or one that was edited: the same id again replaces it."""

    notification: NotificationBody
    unread_count: int


class NotificationRead(Event, kw_only=True, tag="notification_read"):
    notification_id: int
    unread_count: int


class NotificationsRead(Event, kw_only=True, tag="notification_read"):
    """All up to and including `up_to_id`."""

    up_to_id: int
    unread_count: int


class AlreadyRead(Frame, kw_only=True, tag="notification_read"):
    """To the one socket that asked: nothing changed, so there is no event and no seq."""

    notification_id: int | msgspec.UnsetType = msgspec.UNSET
    up_to_id: int | msgspec.UnsetType = msgspec.UNSET
    unread_count: int


class UnreadCount(Frame, kw_only=True, tag="unread_count"):
    """The number in the newest event, behind it, and once for all events of one transaction; in no
    log.
    """

    unread_count: int


class _Counted(msgspec.Struct):
    unread_count: int | None = None


def digest(event: str) -> str | None:
    """The `unread_count` frame that follows an event of a user's stream."""
    count = msgspec.json.decode(event, type=_Counted).unread_count
    return None if count is None else encode(UnreadCount(unread_count=count))


# From clients


class MarkAsRead(Command, kw_only=True, tag="mark_as_read"):
    notification_id: Identifier


class MarkAllAsRead(Command, kw_only=True, tag="mark_all_as_read"):
    up_to_id: Sequence | None = None


class MarkAsSeen(Command, kw_only=True, tag="notification_seen"):
    """The user looks at a screen that shows them: their devices need not tell. Not read. Nothing
    answers it.
    """

    up_to_id: Identifier
