"""What a user sees of all conversations: the list, unread counts, search. Writes nothing."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec
from django.db.models import (
    BooleanField,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce

from chat import events, queue_events
from chat.models import MEMBERS, Conversation, Message, Participant, is_support
from chat.sending import no_such_conversation
from chat.workflow import wake_due
from holodrive.realtime import folding, names
from holodrive.realtime.searchable import mentions
from holodrive.realtime.wire import InvalidMessage, timestamp, timestamp_if

# Named, not "all but those": only so an index of the status is of use.
_ACTIVE = (
    Conversation.Status.OPEN,
    Conversation.Status.PENDING,
    Conversation.Status.SNOOZED,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Conversations(NamedTuple):
    """A page of the list, and the cursor of the next; None at the end."""

    items: list[events.ConversationItem]
    next: str | None


class Choice(msgspec.Struct, kw_only=True):
    """Which conversations support wants to see."""

    filter: Literal["mine", "unassigned", "all", "closed"] | None = None
    kind: events.Kind | None = None
    q: str | None = None

    @property
    def puts_unread_first(self) -> bool:
        """Of what is over, nothing waits to be read: a rider's message reopens it."""
        return self.filter is not None and self.filter != "closed"


def conversations_of(
    user: Any,
    *,
    cursor: str | None,
    limit: int,
    choice: Choice = Choice(),  # noqa: B008 - constant
) -> Conversations:
    """The user's conversations, the newest message first; those without one before all others. Of
    support's choice those that this user has not read come first. As many queries for one as for
    all. Raises InvalidMessage for a wrong cursor.
    """
    if choice.filter is not None:
        wake_due()
    rows = _seen_by(user, _chosen(user, Conversation.objects.visible_to(user), choice))
    order = [F("last_message_at").desc(nulls_first=True), "-id"]
    if choice.puts_unread_first:
        rows = rows.annotate(is_unread=_is_unread(user))
        order.insert(0, "-is_unread")
    rows = rows.order_by(*order)
    if cursor is not None:
        rows = rows.filter(_behind(cursor, choice.puts_unread_first))
    found = list(rows[: limit + 1])
    shown = found[:limit]
    is_staff = is_support(user)
    return Conversations(
        _items(shown, is_staff), _cursor(shown[-1]) if len(found) > limit else None
    )


def _chosen(user: Any, rows: Any, choice: Choice) -> Any:
    if choice.filter == "closed":
        rows = rows.filter(status__in=Conversation.OVER)
    elif choice.filter is not None:
        rows = rows.filter(status__in=_ACTIVE)
    if choice.filter == "mine":
        rows = rows.filter(assignee=user)
    elif choice.filter == "unassigned":
        rows = rows.filter(assignee=None, kind=Conversation.Kind.SUPPORT)
    if choice.kind is not None:
        rows = rows.filter(kind=choice.kind)
    return rows if choice.q is None else rows.filter(_mentions(choice.q))


def _mentions(text: str) -> Q:
    """In the subject or in a message; or every word in the name of one who takes part."""
    # `IN`, each read once: of 100,000 messages EXISTS for each conversation took a second.
    members = Participant.objects.all()
    for word in folding.words(text):
        members = members.filter(names.called("user__", word))
    messages = Message.objects.filter(mentions(Message, text))
    return (
        mentions(Conversation, text)
        | Q(pk__in=members.values("conversation"))
        | Q(pk__in=messages.values("conversation"))
    )


def conversation_of(user: Any, id: int) -> events.ConversationItem:
    """Raises NotFound."""
    rows = _seen_by(user, Conversation.objects.visible_to(user).filter(pk=id))
    for item in _items(list(rows), is_support(user)):
        return item
    raise no_such_conversation()


def _unread_messages(user: Any) -> Any:
    """Others' messages behind the user's cursor, in the conversation of the outer query."""
    cursor = Participant.objects.filter(conversation=OuterRef(OuterRef("pk")), user=user)
    return (
        Message.objects.filter(
            conversation=OuterRef("pk"),
            id__gt=Coalesce(Subquery(cursor.values("last_read_id")), Value(0)),
            deleted_at=None,
        )
        .exclude(sender=user)
        .order_by()
    )


def _is_unread(user: Any) -> Any:
    """Of a trip that one only looks at nothing waits to be read, or all trips would come first."""
    takes_part = Participant.objects.filter(conversation=OuterRef("pk"), user=user)
    concerns = Q(kind=Conversation.Kind.SUPPORT) | Q(Exists(takes_part))
    return ExpressionWrapper(concerns & Q(Exists(_unread_messages(user))), BooleanField())


def _seen_by(user: Any, rows: Any) -> Any:
    messages = Message.objects.filter(conversation=OuterRef("pk")).order_by("-id")
    unread = _unread_messages(user).values("conversation").annotate(count=Count("pk"))
    members = Participant.objects.select_related("user").order_by("id")
    return (
        rows.select_related("assignee")
        .annotate(
            unread=Subquery(unread.values("count")), newest=Subquery(messages.values("pk")[:1])
        )
        .prefetch_related(Prefetch("participants", members))
    )


def _items(rows: Iterable[Any], for_support: bool) -> list[events.ConversationItem]:
    rows = list(rows)
    messages = Message.objects.select_related("sender").in_bulk(
        [row.newest for row in rows if row.newest]
    )
    return [_item(row, messages.get(row.newest), for_support) for row in rows]


def _item(row: Any, newest: Message | None, for_support: bool) -> events.ConversationItem:
    item = events.ConversationItem(
        id=row.pk,
        kind=row.kind,
        subject=row.subject,
        status=row.status,
        created_at=timestamp(row.created_at),
        closes_at=timestamp_if(row.closes_at),
        last_message_at=timestamp_if(row.last_message_at),
        unread_count=row.unread or 0,
        participants=[events.participant(member) for member in row.participants.all()],
        last_message=events.preview(newest) if newest else None,
    )
    if for_support:
        item.assignee = events.person(row.assignee) if row.assignee else None
        item.priority = queue_events.priority_of(row)
        item.waiting_since = timestamp_if(row.waiting_since)
        item.snoozed_until = timestamp_if(row.snoozed_until)
    return item


def _cursor(row: Any) -> str:
    """The place of a row in the list: microseconds since 1970 (empty without a message) and id; and
    before them, where unread ones come first, whether it is one.
    """
    moment = row.last_message_at
    place = f"{(moment - _EPOCH) // _MICROSECOND if moment else ''}_{row.pk}"
    return f"{int(row.is_unread)}_{place}" if hasattr(row, "is_unread") else place


def _behind(cursor: str, unread_first: bool) -> Q:
    if not unread_first:
        return _behind_place(cursor)
    is_unread, _, place = cursor.partition("_")
    if is_unread not in ("0", "1"):
        raise _wrong_cursor()
    same = Q(is_unread=is_unread == "1") & _behind_place(place)
    return same | Q(is_unread=False) if is_unread == "1" else same


def _behind_place(place: str) -> Q:
    at, _, id = place.partition("_")
    digits = (at or "0") + id
    if not id or not digits.isascii() or not digits.isdigit() or max(len(at), len(id)) > 18:
        raise _wrong_cursor()
    if not at:
        return Q(last_message_at=None, id__lt=int(id)) | Q(last_message_at__isnull=False)
    try:
        moment = _EPOCH + int(at) * _MICROSECOND
    except OverflowError:
        raise _wrong_cursor() from None
    return Q(last_message_at__lt=moment) | Q(last_message_at=moment, id__lt=int(id))


def _wrong_cursor() -> InvalidMessage:
    return InvalidMessage("cursor must be the `next` of another page.")


def unread_counts(user: Any) -> dict[int, int]:
    """Others' messages behind the read cursor, in the conversations that the user takes part in;
    those without any are left out.
    """
    roles = Participant.Role.values if is_support(user) else MEMBERS
    rows = Message.objects.filter(
        conversation__participants__user=user,
        conversation__participants__role__in=roles,
        id__gt=F("conversation__participants__last_read_id"),
        deleted_at=None,
    ).exclude(sender=user)
    counts = rows.order_by("conversation").values("conversation").annotate(count=Count("pk"))
    return dict(counts.values_list("conversation", "count"))


def search(user: Any, text: str) -> Any:
    """Messages with this text, however it is spelled, in all conversations that the user may see.
    What a message hides is not looked at, not even for those who may see it: an answer would tell
    others.
    """
    visible = Conversation.objects.visible_to(user)
    return Message.objects.filter(
        mentions(Message, text), conversation__in=visible.values("pk")
    ).select_related("sender")
