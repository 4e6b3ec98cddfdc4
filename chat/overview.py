"""What a user sees of all conversations: the list, unread counts, search. Writes nothing."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, F, OuterRef, Prefetch, Q, Subquery, Value
from django.db.models.functions import Coalesce

from chat import events
from chat.models import Conversation, Message, Participant
from chat.services import no_such_conversation
from holodrive.realtime.wire import InvalidMessage, timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Conversations(NamedTuple):
    """A page of the list, and the cursor of the next; None at the end."""

    items: list[events.ConversationItem]
    next: str | None


def conversations_of(user: Any, *, cursor: str | None, limit: int) -> Conversations:
    """The user's conversations, the newest message first; those without one before all others.
    Four queries, however many there are. Raises InvalidMessage for a wrong cursor.
    """
    rows = Conversation.objects.visible_to(user).order_by(
        F("last_message_at").desc(nulls_first=True), "-id"
    )
    if cursor is not None:
        rows = rows.filter(_behind(cursor))
    found = list(_seen_by(user, rows)[: limit + 1])
    shown = found[:limit]
    return Conversations(_items(shown), _cursor(shown[-1]) if len(found) > limit else None)


def conversation_of(user: Any, id: int) -> events.ConversationItem:
    """Raises NotFound."""
    rows = _seen_by(user, Conversation.objects.visible_to(user).filter(pk=id))
    for item in _items(list(rows)):
        return item
    raise no_such_conversation()


def _seen_by(user: Any, rows: Any) -> Any:
    messages = Message.objects.filter(conversation=OuterRef("pk")).order_by()
    cursor = Participant.objects.filter(conversation=OuterRef(OuterRef("pk")), user=user)
    unread = messages.filter(
        id__gt=Coalesce(Subquery(cursor.values("last_read_id")), Value(0)), deleted_at=None
    ).exclude(sender=user)
    members = Participant.objects.select_related("user").order_by("id")
    return rows.annotate(
        unread=Subquery(unread.values("conversation").annotate(count=Count("pk")).values("count")),
        newest=Subquery(messages.order_by("-id").values("pk")[:1]),
    ).prefetch_related(Prefetch("participants", members))


def _items(rows: Iterable[Any]) -> list[events.ConversationItem]:
    rows = list(rows)
    messages = Message.objects.select_related("sender").in_bulk(
        [row.newest for row in rows if row.newest]
    )
    return [_item(row, messages.get(row.newest)) for row in rows]


def _item(row: Any, newest: Message | None) -> events.ConversationItem:
    return events.ConversationItem(
        id=row.pk,
        kind=row.kind,
        subject=row.subject,
        status=row.status,
        created_at=timestamp(row.created_at),
        closes_at=timestamp(row.closes_at) if row.closes_at else None,
        last_message_at=timestamp(row.last_message_at) if row.last_message_at else None,
        unread_count=row.unread or 0,
        participants=[events.participant(member) for member in row.participants.all()],
        last_message=events.preview(newest) if newest else None,
    )


def _cursor(row: Conversation) -> str:
    """The place of a row in the list: microseconds since 1970 (empty without a message) and id."""
    moment = row.last_message_at
    return f"{(moment - _EPOCH) // _MICROSECOND if moment else ''}_{row.pk}"


def _behind(cursor: str) -> Q:
    at, _, id = cursor.partition("_")
    digits = (at or "0") + id
    if not id or not digits.isascii() or not digits.isdigit() or max(len(at), len(id)) > 18:
        raise InvalidMessage("cursor must be the `next` of another page.")
    if not at:
        return Q(last_message_at=None, id__lt=int(id)) | Q(last_message_at__isnull=False)
    try:
        moment = _EPOCH + int(at) * _MICROSECOND
    except OverflowError:
        raise InvalidMessage("cursor must be the `next` of another page.") from None
    return Q(last_message_at__lt=moment) | Q(last_message_at=moment, id__lt=int(id))


def unread_counts(user: Any) -> dict[int, int]:
    """Others' messages behind the read cursor, in the conversations that the user takes part in;
    those without any are left out.
    """
    rows = Message.objects.filter(
        conversation__participants__user=user,
        id__gt=F("conversation__participants__last_read_id"),
        deleted_at=None,
    ).exclude(sender=user)
    counts = rows.order_by("conversation").values("conversation").annotate(count=Count("pk"))
    return dict(counts.values_list("conversation", "count"))


def search(user: Any, text: str) -> Any:
    """Messages with this text, in all conversations that the user may see."""
    visible = Conversation.objects.visible_to(user)
    return Message.objects.filter(
        conversation__in=visible.values("pk"), text__icontains=text
    ).select_related("sender")
