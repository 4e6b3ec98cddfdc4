"""What can be done in conversations: each call one transaction that publishes its changes."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Subquery
from django.utils import timezone

from chat import contacts, cursors, events, masking, queue_events, rights
from chat.models import MEMBERS, Conversation, Message, Participant, is_support, may_reply
from chat.sending import (
    Draft,
    SentMessage,
    no_such_conversation,
    send_message,
    send_messages,
    tell_queue,
)
from holodrive.realtime import log
from holodrive.realtime.characters import isolated
from holodrive.realtime.models import Stream
from holodrive.realtime.scrub import needle_of, scrub
from holodrive.realtime.searchable import changes
from holodrive.realtime.wire import (
    MAX_INTEGER,
    ConversationClosed,
    Forbidden,
    InvalidMessage,
    NotFound,
    timestamp,
    whole_number,
)
from notifications import services as notifications

TYPING_TIMEOUT = 6  # seconds
EDITABLE = timedelta(minutes=15)
DELETED = "This message was deleted."  # in its place in notifications
_UNASSIGNED_AT_ONCE = 100

_Role = Participant.Role

__all__ = ["Draft", "SentMessage", "send_message", "send_messages"]  # of sending.py


def conversation_id(text: str) -> int:
    """The id in a URL. What cannot be one is no conversation: raises NotFound, as for any other."""
    number = whole_number(text)
    if number is None:
        raise no_such_conversation()
    return number


def conversation_for(user: Any, id: int) -> Conversation:
    """This user's conversation of that id. Raises NotFound."""
    conversation = Conversation.objects.visible_to(user).filter(pk=id).first()
    if conversation is None:
        raise no_such_conversation()
    return conversation


def messages_of(conversation: Conversation) -> Any:
    return Message.objects.filter(conversation=conversation).select_related("sender")


class Entrance(NamedTuple):
    """The first frame of a chat socket, and whether the conversation is open."""

    welcome: events.ConnectionEstablished
    status: str
    closes_at: datetime | None


def welcome(user: Any, id: int) -> Entrance:
    """The right to be there, the head and all cursors of one moment, so from one query. Raises
    NotFound.
    """
    head = Stream.objects.filter(name=events.stream_of(id)).values("head")
    visible = Conversation.objects.visible_to(user).filter(pk=id)
    rows = list(  # one for each participant, and one with nulls if there are none
        Conversation.objects.filter(pk__in=visible.values("pk"))
        .order_by("participants__id")
        .values_list(
            Subquery(head),
            "participants__user_id",
            "participants__last_read_id",
            "participants__last_delivered_id",
            "status",
            "closes_at",
        )
    )
    if not rows:
        raise no_such_conversation()
    receipts = [
        events.Receipt(user_id=user_id, last_read_id=read, last_delivered_id=delivered)
        for _, user_id, read, delivered, *_ in rows
        if user_id is not None
    ]
    frame = events.ConnectionEstablished(
        conversation_id=id,
        last_seq=rows[0][0] or 0,
        last_read_id=sum(one.last_read_id for one in receipts if one.user_id == user.pk),
        receipts=receipts,
        typing_timeout=TYPING_TIMEOUT,
        user_id=user.pk,
    )
    return Entrance(frame, *rows[0][-2:])


class EditedMessage(NamedTuple):
    message: Message
    changed: bool


@log.retrying
def edit_message(*, user: Any, conversation_id: int, message_id: int, text: str) -> EditedMessage:
    """Change the text of one's own message, up to 15 minutes after it was sent. Raises NotFound,
    Forbidden, ConversationClosed.
    """
    ahead = None
    if not masking.is_part(text):  # those under the lock, with what is stored until then
        hidden = contacts.as_shown(
            text, conversation_id=conversation_id, sender_id=user.pk, message_id=message_id
        )
        ahead = text, hidden
    with log.writing(events.stream_of(conversation_id)):
        message = _own_message(user, conversation_id, message_id)
        if message.deleted_at:
            raise no_such_message()
        if message.conversation.is_closed():
            raise ConversationClosed("This conversation is closed.")
        if is_support(user) and not may_reply(user):  # a new text is a reply, whatever it replaces
            raise Forbidden("You may not reply here.")
        if message.created_at + EDITABLE < timezone.now():
            raise Forbidden("A message can be edited for 15 minutes after it was sent.")
        # What it shows, sent back as it is, is no new text either.
        changed = text not in (message.text, message.as_sent)
        message.text = text if changed else message.text
        message.masked_text = ahead
        message.save(update_fields=["text", "edited_at"])
    return EditedMessage(message, changed)


@log.retrying
def delete_message(*, user: Any, conversation_id: int, message_id: int) -> EditedMessage:
    """Take back one's own message: the row stays as a mark, its text goes, from the log and from
    notifications too. A second time changes nothing. Raises NotFound, Forbidden.
    """
    with log.writing(events.stream_of(conversation_id)):
        message = _own_message(user, conversation_id, message_id)
        if message.deleted_at:
            return EditedMessage(message, changed=False)
        take_back(conversation_id, [message])
    return EditedMessage(message, changed=True)


def take_back(conversation_id: int, messages: Sequence[Message]) -> None:
    """Leave of these messages of one conversation, the oldest first, no text: neither in their rows
    nor in the log nor in notifications. Inside the block that has locked the conversation's stream.
    """
    stream, now = events.stream_of(conversation_id), timezone.now()
    ids = {message.pk for message in messages}
    blank = changes(Message, text="", original="", deleted_at=now)
    Message._base_manager.filter(pk__in=ids).update(**blank)
    _scrub_log(stream, ids)
    for message in messages:
        message.text, message.original, message.deleted_at = "", "", now
        deleted = events.MessageDeleted(message_id=message.pk, deleted_at=timestamp(now))
        log.append(stream, deleted)
    if messages and cursors.newest_message(conversation_id, MAX_INTEGER) == messages[-1].pk:
        tell_queue(messages[-1])
    notifications.redact(conversation_id=conversation_id, message_ids=ids, text=DELETED)


def _own_message(user: Any, conversation_id: int, message_id: int) -> Message:
    conversation = conversation_for(user, conversation_id)
    message = messages_of(conversation).select_related("conversation").filter(pk=message_id).first()
    if message is None:
        raise no_such_message()
    if message.sender_id != user.pk:
        raise Forbidden("This message is somebody else's.")
    own: Message = message
    return own


def no_such_message() -> NotFound:
    """Like an absent one: nothing is said of messages elsewhere."""
    return NotFound("There is no such message.")


def _scrub_log(stream: str, message_ids: Collection[int]) -> None:
    """Their own events, and each edit of them."""

    def blank(frame: dict[str, Any]) -> bool:
        concerned = "message" in frame and frame.get("message_id") in message_ids
        if concerned:
            frame["message"] = ""
        return concerned

    scrub([stream], needle_of("message_id", message_ids), blank)


class Marked(NamedTuple):
    """The frame with the stored cursor. When it moved, everybody in the conversation gets it."""

    frame: events.MessagesRead | events.MessagesDelivered
    moved: bool


@log.retrying
def mark_read(*, user: Any, conversation_id: int, up_to_id: int) -> Marked:
    """Move this user's read cursor to the newest message up to that id, and mark the notifications
    of what was read, on every device. Staff take part from then on. Raises NotFound.
    """
    conversation_for(user, conversation_id)
    up_to_id = cursors.newest_message(conversation_id, up_to_id)
    with log.writing():
        # The user's stream before the participant's row, as a new message takes them.
        notifications.mark_conversation_read(
            user_id=user.pk, conversation_id=conversation_id, up_to_message_id=up_to_id
        )
        moved = cursors.move(conversation_id, user.pk, read=up_to_id)
        if not moved and cursors.stored(conversation_id, user.pk) is None:
            if not is_support(user):
                raise no_such_conversation()  # removed meanwhile
            cursors.admit_support([(conversation_id, user.pk)])
            moved = cursors.move(conversation_id, user.pk, read=up_to_id)
        stored, _ = cursors.stored(conversation_id, user.pk) or (0, 0)
        frame = events.MessagesRead(user_id=user.pk, up_to_id=stored)
        if moved:
            log.tell(events.stream_of(conversation_id), frame)
            if is_support(user):  # whose lists are not subscribed to each conversation
                read = queue_events.ConversationRead(
                    conversation_id=conversation_id, user_id=user.pk, up_to_id=stored
                )
                log.tell(queue_events.STREAM, read)
    return Marked(frame, moved)


@log.retrying
def mark_delivered(*, user: Any, conversation_id: int, up_to_id: int) -> Marked:
    """Move this participant's delivered cursor to the newest message up to that id. For staff who
    take no part (yet) nothing moves, and the cursor is 0. Raises NotFound.
    """
    conversation_for(user, conversation_id)
    up_to_id = cursors.newest_message(conversation_id, up_to_id)
    with log.writing():
        moved = cursors.move(conversation_id, user.pk, delivered=up_to_id)
        _, stored = cursors.stored(conversation_id, user.pk) or (0, 0)
        frame = events.MessagesDelivered(user_id=user.pk, up_to_id=stored)
        if moved:
            log.tell(events.stream_of(conversation_id), frame)
    return Marked(frame, moved)


def tell_assignee(conversation: Conversation, changed_by: Any) -> None:
    """Ring for whom a conversation was given to, unless it was by themselves; `changed_by` is None
    where nobody knows.
    """
    agent = conversation.assignee
    if (
        agent is None
        or not rights.is_of_support(agent.pk)
        or (changed_by is not None and changed_by.pk == agent.pk)
    ):
        return
    members = conversation.participants.exclude(role="support").select_related("user")
    names = [isolated(events.name_of(member.user)) for member in members.order_by("id")]
    given = f"{isolated(events.name_of(changed_by))} gave you" if changed_by else "You were given"
    whom = ", ".join(names) or isolated(conversation.subject) or "nobody yet"
    notifications.notify(
        [agent],
        title="A conversation was assigned to you",
        message=f"{given} the conversation with {whom}.",
        notification_type="conversation_assigned",
        related_object_type="conversation",
        related_object_id=conversation.pk,
        data={"conversation_id": conversation.pk},
    )


def unassign(
    user: Any, at_once: int = _UNASSIGNED_AT_ONCE, has_lost_right: bool = False
) -> Iterator[int]:
    """Take all conversations from whom they are assigned to, and tell of each. After each
    transaction, unless all this is inside of one, how many that were.
    """
    mine = Conversation.objects.filter(assignee=user).order_by("pk").values_list("pk", flat=True)
    while ids := list(mine[:at_once]):
        _unassign(user, ids, has_lost_right)
        yield len(ids)


@log.retrying
def _unassign(user: Any, ids: Sequence[int], has_lost_right: bool) -> None:
    with log.writing(*map(events.stream_of, ids)):
        for conversation in Conversation.objects.filter(pk__in=ids, assignee=user):
            if has_lost_right:
                rights.record_unassigned(conversation)
            conversation.assignee = None
            conversation.save(update_fields=["assignee"])


@transaction.atomic
def open_trip(*, rider: Any, driver: Any, closes_at: datetime | None = None) -> Conversation:
    """A conversation between a rider and a driver, writable until `closes_at`."""
    conversation = Conversation.objects.create(kind=Conversation.Kind.TRIP, closes_at=closes_at)
    for user, role in ((rider, _Role.RIDER), (driver, _Role.DRIVER)):
        Participant.objects.create(conversation=conversation, user=user, role=role)
    return conversation


class OpenedConversation(NamedTuple):
    conversation: Conversation
    created: bool


@transaction.atomic
def open_support(*, user: Any, subject: str = "") -> OpenedConversation:
    """This rider's or driver's support conversation: the one that is open, or a new one. Raises
    Forbidden.
    """
    role = _role_of(user)
    if is_support(user) or role not in (_Role.RIDER, _Role.DRIVER):
        raise Forbidden("Support conversations are opened by riders and drivers.")
    # Of two requests at once the second waits here, and then finds the first one's.
    get_user_model()._default_manager.select_for_update(no_key=True).get(pk=user.pk)
    Status = Conversation.Status
    known = (
        Conversation.objects.filter(
            kind=Conversation.Kind.SUPPORT,
            status__in=(Status.OPEN, Status.PENDING, Status.SNOOZED),
            participants__user=user,
            participants__role__in=MEMBERS,  # not where they answered while they were of support
        )
        .order_by("-id")
        .first()
    )
    if known is not None:
        return OpenedConversation(known, created=False)
    conversation = Conversation.objects.create(kind=Conversation.Kind.SUPPORT, subject=subject)
    Participant.objects.create(conversation=conversation, user=user, role=role)
    return OpenedConversation(conversation, created=True)


def _role_of(user: Any, default: str = _Role.RIDER) -> str:
    """A user model without roles says nothing about who rides and who drives."""
    return str(getattr(user, "role", default))


def open_trip_as(
    *, staff: Any, rider_id: int, driver_id: int, closes_at: datetime | None
) -> Conversation:
    """A trip between these two users. Raises Forbidden, InvalidMessage."""
    if not is_support(staff):
        raise Forbidden("Trips are opened by staff.")
    people = get_user_model()._default_manager.filter(is_active=True)
    rider = people.filter(pk=rider_id).first()
    driver = people.filter(pk=driver_id).first()
    if (
        rider is None
        or driver is None
        or rider == driver
        or _role_of(rider) != _Role.RIDER
        or _role_of(driver, _Role.DRIVER) != _Role.DRIVER
    ):
        raise InvalidMessage("rider and driver must be the ids of an active rider and driver.")
    return open_trip(rider=rider, driver=driver, closes_at=closes_at)
