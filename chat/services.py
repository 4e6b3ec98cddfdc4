"""What can be done in conversations: each call one transaction that publishes its changes."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.db import transaction
from django.db.models import Subquery
from django.utils import timezone

from chat import cursors, events, queue_events
from chat.models import (
    SUPPORT_PERMISSION,
    Conversation,
    Message,
    Participant,
    is_support,
    may_reply,
)
from holodrive.realtime import log
from holodrive.realtime.models import Stream
from holodrive.realtime.scrub import scrub
from holodrive.realtime.wire import (
    MAX_INTEGER,
    ConversationClosed,
    Forbidden,
    IdempotencyConflict,
    InvalidMessage,
    NotFound,
    timestamp,
)
from notifications import services as notifications

TYPING_TIMEOUT = 6  # seconds
EDITABLE = timedelta(minutes=15)
_PREVIEW = 50  # code points of a message in its notification
_DELETED = "This message was deleted."  # in its place in notifications

_Role = Participant.Role


class SentMessage(NamedTuple):
    message: Message
    duplicate: bool


def conversation_id(text: str) -> int:
    """The id in a URL. What cannot be one is no conversation: raises NotFound, as for any other."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > MAX_INTEGER:
        raise no_such_conversation()
    return int(text)


def no_such_conversation() -> NotFound:
    """Absent, foreign and unparsable look the same."""
    return NotFound("There is no such conversation.")


def conversation_for(user: Any, id: int) -> Conversation:
    """This user's conversation of that id. Raises NotFound."""
    conversation = Conversation.objects.visible_to(user).filter(pk=id).first()
    if conversation is None:
        raise no_such_conversation()
    return conversation


def messages_of(conversation: Conversation) -> Any:
    return Message.objects.filter(conversation=conversation).select_related("sender")


def welcome(user: Any, id: int) -> events.ConnectionEstablished:
    """The first frame of a chat socket: the right to be there, the head and all cursors of one
    moment, so from one query. Raises NotFound.
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
        )
    )
    if not rows:
        raise no_such_conversation()
    receipts = [
        events.Receipt(user_id=user_id, last_read_id=read, last_delivered_id=delivered)
        for _, user_id, read, delivered in rows
        if user_id is not None
    ]
    return events.ConnectionEstablished(
        conversation_id=id,
        last_seq=rows[0][0] or 0,
        last_read_id=sum(one.last_read_id for one in receipts if one.user_id == user.pk),
        receipts=receipts,
        typing_timeout=TYPING_TIMEOUT,
    )


@log.retrying
def send_message(
    *, user: Any, conversation_id: int, text: str, client_message_id: str | None = None
) -> SentMessage:
    """Store a message once and publish it. The same client_message_id of the same sender again
    returns the stored one; with another text it raises IdempotencyConflict. Raises NotFound,
    ConversationClosed.
    """
    # Before the lock as well: an outsider must neither wait for a foreign stream nor hold it.
    conversation_for(user, conversation_id)
    with log.writing(events.stream_of(conversation_id)):
        # The stream is locked: what is read from here on cannot change before the commit.
        conversation = conversation_for(user, conversation_id)
        if client_message_id is not None:
            sent = Message.objects.filter(
                conversation=conversation, sender=user, client_message_id=client_message_id
            ).first()
            if sent is not None:
                changed_since = sent.edited_at or sent.deleted_at  # then the text proves nothing
                if sent.as_sent != text and not changed_since:
                    raise IdempotencyConflict(
                        "This client_message_id was sent with another text.", client_message_id
                    )
                return SentMessage(sent, duplicate=True)
        if conversation.is_closed():
            raise ConversationClosed("This conversation is closed.", client_message_id)
        if is_support(user) and not may_reply(user):
            raise Forbidden("You may not reply here.", client_message_id)
        message = Message(
            conversation=conversation,
            sender=user,
            text=text,
            client_message_id=client_message_id,
        )
        message.save()
    return SentMessage(message, duplicate=False)


class EditedMessage(NamedTuple):
    message: Message
    changed: bool


@log.retrying
def edit_message(*, user: Any, conversation_id: int, message_id: int, text: str) -> EditedMessage:
    """Change the text of one's own message, up to 15 minutes after it was sent. Raises NotFound,
    Forbidden, ConversationClosed.
    """
    with log.writing(events.stream_of(conversation_id)):
        message = _own_message(user, conversation_id, message_id)
        if message.deleted_at:
            raise no_such_message()
        if message.conversation.is_closed():
            raise ConversationClosed("This conversation is closed.")
        if message.created_at + EDITABLE < timezone.now():
            raise Forbidden("A message can be edited for 15 minutes after it was sent.")
        # What it shows, sent back as it is, is no new text either.
        changed = text not in (message.text, message.as_sent)
        message.text = text if changed else message.text
        message.save(update_fields=["text", "edited_at"])
    return EditedMessage(message, changed)


@log.retrying
def delete_message(*, user: Any, conversation_id: int, message_id: int) -> EditedMessage:
    """Take back one's own message: the row stays as a mark, its text goes, from the log and from
    notifications too. A second time changes nothing. Raises NotFound, Forbidden.
    """
    stream = events.stream_of(conversation_id)
    with log.writing(stream):
        message = _own_message(user, conversation_id, message_id)
        if message.deleted_at:
            return EditedMessage(message, changed=False)
        message.text, message.original, message.deleted_at = "", "", timezone.now()
        Message._base_manager.filter(pk=message.pk).update(
            text="", original="", deleted_at=message.deleted_at
        )
        _scrub_log(stream, message_id)
        log.append(
            stream,
            events.MessageDeleted(message_id=message_id, deleted_at=timestamp(message.deleted_at)),
        )
        newest = cursors.newest_message(conversation_id, MAX_INTEGER)
        if newest == message_id:
            tell_queue(message)
        notifications.redact(conversation_id=conversation_id, message_id=message_id, text=_DELETED)
    return EditedMessage(message, changed=True)


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


def _scrub_log(stream: str, message_id: int) -> None:
    """Its own event, and each edit of it."""

    def blank(frame: dict[str, Any]) -> bool:
        concerned = "message" in frame and frame.get("message_id") == message_id
        if concerned:
            frame["message"] = ""
        return concerned

    scrub([stream], f'"message_id":{message_id}', blank)


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
            cursors.admit_support(conversation_id, user.pk)
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


def follow_up(message: Message) -> None:
    """What a new message brings about, in its transaction: the conversation moves, its sender has
    read it, and its members are notified.
    """
    # Of now: the instance in memory may be older than the row.
    conversation = Conversation.objects.get(pk=message.conversation_id)
    changed, sender_id = _moved_by(conversation, message), message.sender_id
    notified, concerned = recipients(conversation, message), set()
    if notifications.unread_of_conversation(sender_id, conversation.pk).exists():
        concerned = {sender_id}
    queue = [queue_events.STREAM] if changed else []  # all messages must not wait for one lock
    # All streams in one statement, so in one order, and ahead of the participant's row, as
    # `mark_read` takes them.
    with log.writing(*queue, *map(notifications.stream_of, notified | concerned)):
        Conversation.objects.filter(pk=conversation.pk).update(last_message_at=message.created_at)
        if changed:
            conversation.save(update_fields=changed)
        if message.is_from_support:
            cursors.admit_support(conversation.pk, sender_id)
        # Who answers has read what came before. No frame says so: the message does.
        cursors.move(conversation.pk, sender_id, read=message.pk)
        if concerned:
            notifications.mark_conversation_read(
                user_id=sender_id, conversation_id=conversation.pk, up_to_message_id=message.pk
            )
        tell_queue(message)
        notifications.notify(
            notified,
            title=f"New message from {events.name_of(message.sender)}",
            message=f"New message in conversation: {message.text[:_PREVIEW]}...",
            notification_type="chat_message",
            related_object_type="conversation",
            related_object_id=conversation.pk,
            data={"conversation_id": conversation.pk, "message_id": message.pk},
        )


def tell_assignee(conversation: Conversation, changed_by: Any) -> None:
    """Ring for whom a conversation was given to, unless it was by themselves; `changed_by` is None
    where nobody knows.
    """
    agent = conversation.assignee
    if agent is None or (changed_by is not None and changed_by.pk == agent.pk):
        return
    members = conversation.participants.exclude(role="support").select_related("user")
    names = ", ".join(events.name_of(member.user) for member in members.order_by("id"))
    given = f"{events.name_of(changed_by)} gave you" if changed_by else "You were given"
    notifications.notify(
        [agent],
        title="A conversation was assigned to you",
        message=f"{given} the conversation with {names or conversation.subject or 'nobody yet'}.",
        notification_type="conversation_assigned",
        related_object_type="conversation",
        related_object_id=conversation.pk,
        data={"conversation_id": conversation.pk},
    )


def _moved_by(conversation: Conversation, message: Message) -> set[str]:
    """The fields that a new message changes: a rider's or driver's reopens and, in a support
    conversation, waits for an answer; support's is the answer.
    """
    Status = Conversation.Status
    changed = set()
    if message.is_from_support:
        if conversation.waiting_since is not None:
            conversation.waiting_since = None
            changed.add("waiting_since")
        return changed
    if conversation.status in (Status.RESOLVED, Status.SNOOZED):
        conversation.status, conversation.snoozed_until = Status.OPEN, None
        changed |= {"status", "snoozed_until"}
    if conversation.kind == Conversation.Kind.SUPPORT and conversation.waiting_since is None:
        conversation.waiting_since = message.created_at
        changed.add("waiting_since")
    return changed


def tell_queue(message: Message) -> None:
    """The newest message, for the list of who watches the queue: without a place in its log, whose
    lock all messages would share.
    """
    log.tell(
        queue_events.STREAM,
        queue_events.ConversationActivity(
            conversation_id=message.conversation_id,
            kind=message.conversation.kind,  # type: ignore[arg-type]
            last_message_at=timestamp(message.created_at),
            last_message=events.preview(message),
        ),
    )


def recipients(conversation: Conversation, message: Message) -> set[int]:
    """Participating riders and drivers; in support conversations also the assignee, or while nobody
    is assigned all active support staff. Never the sender, nor who has muted the conversation.
    """
    members = Participant.objects.filter(
        conversation=conversation, role__in=(_Role.RIDER, _Role.DRIVER)
    ).exclude(muted_until__gt=timezone.now())
    found = set(members.values_list("user_id", flat=True))
    if conversation.kind == Conversation.Kind.SUPPORT:
        assignee = conversation.assignee_id
        found |= {assignee} if assignee else set(support_staff().values_list("pk", flat=True))
    return found - {message.sender_id}


def support_staff() -> Any:
    """Active staff that may view conversations."""
    # Not the manager's with_perm: only a UserManager has it.
    staff = ModelBackend().with_perm(SUPPORT_PERMISSION)
    return staff.filter(is_staff=True, is_active=True)


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
