"""What can be done with notifications: each call one transaction that publishes its changes."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import Max, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from holodrive.realtime import log, statements
from holodrive.realtime.scrub import Blank, needle_of, scrub
from holodrive.realtime.searchable import changes
from holodrive.realtime.wire import NotFound
from notifications import events, hooks
from notifications.models import CHUNK, Notification, unread_counts

_NOTIFICATION = '"notification":{'  # in each frame that has one
_UNREAD, _READ = Notification.Status.UNREAD, Notification.Status.READ

# Type and status are written out: they are those of a partial index.
_WELCOME = """
    SELECT (SELECT head FROM realtime_stream WHERE name = %s), (
        SELECT COUNT(*) FROM notifications_notification
        WHERE recipient_id = reader.{key} AND status = 'unread'
    ), {doubtful}
    FROM {users} AS reader WHERE reader.{key} = %s
"""
_UNREAD_OF_CONVERSATIONS = """
    SELECT id, recipient_id, related_object_id FROM notifications_notification
    WHERE recipient_id IN %s AND related_object_id IN %s
    AND notification_type = 'chat_message' AND status = 'unread' ORDER BY id
"""
_MARK = """
    UPDATE notifications_notification SET status = 'read', read_at = %s
    WHERE id IN %s AND status = 'unread' RETURNING id
"""


# The same by the names that other apps call.
notify = Notification.objects.notify
notify_each = Notification.objects.notify_each
stream_of = events.stream_of


def notifications_of(user: Any) -> QuerySet[Notification]:
    return Notification.objects.filter(recipient=user)


def unread_count(user: Any) -> int:
    return unread_counts([user.pk]).get(user.pk, 0)


def welcome(user: Any) -> events.ConnectionEstablished:
    """The first frame of this user's notification socket: head and counter of one moment, so from
    one query. Raises NotFound when the user was deleted meanwhile.
    """
    head, count, is_doubtful = _welcome(user)
    if is_doubtful:
        settle([user.pk])
        head, count, _ = _welcome(user)
    return events.ConnectionEstablished(
        user_id=str(user.pk), last_seq=head or 0, unread_count=count
    )


def _welcome(user: Any) -> Any:
    users = get_user_model()._meta
    doubts = [f"reader.{users.pk.column} IN ({query})" for query in hooks.doubtful]
    sql = _WELCOME.format(
        users=users.db_table, key=users.pk.column, doubtful=" OR ".join(doubts) or "1 = 0"
    )
    rows = statements.fetch(sql, events.stream_of(user.pk), user.pk)
    if not rows:
        raise NotFound("There is no such user.")
    return rows[0]


def settle(user_ids: Iterable[int]) -> None:
    """Have taken back what these users may no longer see. Before anything is shown of it: titles,
    texts, counts, whichever way.
    """
    hooks.reading.send(Notification, user_ids={*user_ids})


@log.retrying
def mark_read(*, user: Any, notification_id: int) -> events.AlreadyRead | None:
    """Mark one of this user's notifications read; the event tells every socket of the user. When it
    was read already nothing changes, and the frame that says so is returned. Raises NotFound.
    """
    settle([user.pk])
    with log.writing(events.stream_of(user.pk)):
        row = Notification.objects.filter(recipient=user, pk=notification_id).first()
        if row is None:
            raise NotFound("There is no such notification.")
        if row.status == _READ:
            return events.AlreadyRead(
                notification_id=notification_id, unread_count=unread_count(user)
            )
        row.status = _READ
        row.save(update_fields=["status", "read_at"])
    return None


@log.retrying
def mark_all_read(*, user: Any, up_to_id: int | None = None) -> events.AlreadyRead | None:
    """Mark all of this user's notifications up to `up_to_id` (without it: all there are) read, as
    one event. When none was unread, nothing changes, and the frame that says so is returned.
    """
    settle([user.pk])
    stream = events.stream_of(user.pk)
    with log.writing(stream):
        rows = Notification._base_manager.filter(recipient=user)
        if up_to_id is None:
            up_to_id = rows.aggregate(newest=Max("pk"))["newest"] or 0
        changed = rows.filter(pk__lte=up_to_id, status=_UNREAD).update(
            status=_READ, read_at=timezone.now()
        )
        count = unread_count(user)
        if not changed:
            return events.AlreadyRead(up_to_id=up_to_id, unread_count=count)
        log.append(stream, events.NotificationsRead(up_to_id=up_to_id, unread_count=count))
        hooks.read.send(Notification, user_id=user.pk, up_to_id=up_to_id)
    return None


def mark_seen(*, user: Any, up_to_id: int) -> None:
    """Say that this user has looked at a screen that shows all up to that one. Stores nothing here:
    who follows `hooks.seen` may.
    """
    hooks.seen.send(Notification, user_id=user.pk, up_to_id=up_to_id)


def unread_of_conversation(user_id: int, conversation_id: int) -> QuerySet[Notification]:
    """This user's unread notifications of messages there; read by an index of their own."""
    return Notification._base_manager.filter(
        recipient=user_id,
        related_object_id=conversation_id,
        notification_type="chat_message",
        status=_UNREAD,
    )


def mark_conversation_read(*, user_id: int, conversation_id: int, up_to_message_id: int) -> None:
    """Mark this user's notifications of the messages up to that id read: an event for each, which
    is the form that every app knows. Inside the caller's `log.writing` block.
    """
    rows = unread_of_conversation(user_id, conversation_id).filter(
        data__message_id__lte=up_to_message_id
    )
    if rows.exists():  # most often not: then nobody waits for the stream
        with log.writing(events.stream_of(user_id)):
            mark([Unread(id, user_id) for id in rows.order_by("pk").values_list("pk", flat=True)])


class Unread(NamedTuple):
    """One unread notification, and whose it is."""

    id: int
    user_id: int


def unread_of_conversations(readers: Collection[tuple[int, int]]) -> list[Unread]:
    """The unread notifications that these (user id, conversation id) have of messages there, the
    oldest first.
    """
    if not readers:
        return []
    users, conversations = map(set, zip(*readers, strict=True))
    found = statements.fetch(_UNREAD_OF_CONVERSATIONS, list(users), list(conversations))
    return [
        Unread(id, user_id)
        for id, user_id, conversation_id in found
        if (user_id, conversation_id) in readers
    ]


def mark(unread: Sequence[Unread]) -> None:
    """Mark those of them read that are still unread: an event for each. Inside the caller's block,
    which has locked the streams of these users.
    """
    if not unread:
        return
    counts = unread_counts({one.user_id for one in unread})
    marked: set[int] = set()
    for start in range(0, len(unread), CHUNK):
        ids = [one.id for one in unread[start : start + CHUNK]]
        marked |= {id for (id,) in statements.fetch(_MARK, timezone.now(), ids)}
    ids_of: dict[int, list[int]] = {}
    for id, user_id in unread:
        if id in marked:
            ids_of.setdefault(user_id, []).append(id)
            counts[user_id] -= 1
            event = events.NotificationRead(notification_id=id, unread_count=counts[user_id])
            log.append(events.stream_of(user_id), event)
    for user_id, ids in ids_of.items():
        hooks.read.send(Notification, user_id=user_id, ids=ids)


def redact(
    *,
    conversation_id: int,
    message_ids: Collection[int],
    text: str,
    title: str | None = None,
    also_of: Iterable[int] = (),
) -> None:
    """Put `text` in place of the previews of these chat messages in all notifications that they
    caused, and in the frames of them in the log; a title, too, if there is one. Inside the
    caller's transaction, which keeps new ones away. `also_of`: users whose notifications may be
    gone while their log is not.
    """
    rows = list(
        Notification.objects.filter(
            notification_type="chat_message",
            related_object_id=conversation_id,
            data__message_id__in=list(message_ids),
        )
    )
    new = {"message": text} | ({} if title is None else {"title": title})

    def blank(frame: dict[str, Any]) -> bool:
        body = frame.get("notification", {})
        concerned = (
            body.get("notification_type") == "chat_message"
            and body.get("data", {}).get("message_id") in message_ids
        )
        if concerned:
            body.update(new)
        return concerned

    _rewrite(rows, new, also_of, needle_of("message_id", message_ids), blank)


@log.retrying
def reword(
    rows: Sequence[Notification],
    new: dict[str, str],
    is_concerned: Callable[[dict[str, Any]], bool],
) -> None:
    """Give these notifications other texts, and in the log of their recipients those of which
    `is_concerned` says so by their body.
    """
    _rewrite(rows, new, (), _NOTIFICATION, _rewording(new, is_concerned))


@log.retrying
def reword_log(
    user_id: int, new: dict[str, str], is_concerned: Callable[[dict[str, Any]], bool]
) -> None:
    """The same in one user's log alone: the rows may be gone, and what was sent of them not."""
    stream = events.stream_of(user_id)
    with log.writing(stream):
        scrub([stream], _NOTIFICATION, _rewording(new, is_concerned))


def _rewording(new: dict[str, str], is_concerned: Callable[[dict[str, Any]], bool]) -> Blank:
    def blank(frame: dict[str, Any]) -> bool:
        body = frame.get("notification", {})
        changes = is_concerned(body) and any(body[field] != new[field] for field in new)
        if changes:
            body.update(new)
        return changes

    return blank


@log.retrying
def retract(rows: Sequence[Notification], *, user_id: int, new: dict[str, str]) -> None:
    """Leave nothing of what these notifications of one user said; they are read from then on, and
    devices clear them. What was sent of them is taken out of the log by `reword_log`, before.
    """
    stream, ids = events.stream_of(user_id), [row.pk for row in rows]
    with log.writing(stream):
        # By one statement: somebody may have been notified of years.
        stored = Notification._base_manager.filter(pk__in=ids).order_by("pk")
        read_at = Coalesce("read_at", Value(timezone.now()))
        stored.update(**changes(Notification, **new, status=_READ, read_at=read_at))
        unread = unread_counts([user_id]).get(user_id, 0)
        for row in stored:
            log.append(
                stream,
                events.NotificationAdded(notification=events.body(row), unread_count=unread),
            )
        hooks.read.send(Notification, user_id=user_id, ids=ids)


def _rewrite(
    rows: Sequence[Notification],
    new: dict[str, str],
    also_of: Iterable[int],
    needle: str,
    blank: Blank,
) -> None:
    streams = {events.stream_of(id) for id in {*also_of, *(row.recipient_id for row in rows)}}
    with log.writing(*streams):
        scrub(streams, needle, blank)
        for row in rows:
            if any(getattr(row, field) != value for field, value in new.items()):
                for field, value in new.items():
                    setattr(row, field, value)
                row.save(update_fields=list(new))  # an event: the same id again replaces it
