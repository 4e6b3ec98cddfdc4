"""What can be done in conversations: each call one transaction that publishes its changes."""

from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Case, F, OuterRef, Subquery, Value, When
from django.utils import timezone

from chat import events
from chat.models import SUPPORT_PERMISSION, Conversation, Message, Participant
from holodrive.realtime import log
from holodrive.realtime.models import Stream
from holodrive.realtime.wire import MAX_INTEGER, ConversationClosed, IdempotencyConflict, NotFound
from notifications import services as notifications

TYPING_TIMEOUT = 6  # seconds
_PREVIEW = 50  # code points of a message in its notification

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
    """The first frame of a chat socket: the right to be there, the head and the read cursor of one
    moment, so from one query. Raises NotFound.
    """
    head = Stream.objects.filter(name=events.stream_of(id)).values("head")
    last_read = Participant.objects.filter(conversation=OuterRef("pk"), user=user)
    row = (
        Conversation.objects.visible_to(user)
        .filter(pk=id)
        .values_list(Subquery(head), Subquery(last_read.values("last_read_id")))
        .first()
    )
    if row is None:
        raise no_such_conversation()
    return events.ConnectionEstablished(
        conversation_id=id,
        last_seq=row[0] or 0,
        last_read_id=row[1] or 0,
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
    with log.writing(events.stream_of(conversation_id)):
        # The stream is locked: what is read from here on cannot change before the commit.
        conversation = conversation_for(user, conversation_id)
        if client_message_id is not None:
            sent = Message.objects.filter(
                conversation=conversation, sender=user, client_message_id=client_message_id
            ).first()
            if sent is not None:
                if sent.text != text:
                    raise IdempotencyConflict(
                        "This client_message_id was sent with another text.", client_message_id
                    )
                return SentMessage(sent, duplicate=True)
        if conversation.is_closed():
            raise ConversationClosed("This conversation is closed.", client_message_id)
        message = Message(
            conversation=conversation,
            sender=user,
            text=text,
            client_message_id=client_message_id,
        )
        message.save()
    return SentMessage(message, duplicate=False)


def follow_up(message: Message) -> None:
    """What a new message brings about, in its transaction: the conversation moves, and its members
    are notified.
    """
    conversation = message.conversation
    _touch(conversation, message)
    if message.is_from_support:
        Participant.objects.get_or_create(
            conversation=conversation, user=message.sender, defaults={"role": _Role.SUPPORT}
        )
    notifications.notify(
        recipients(message),
        title=f"New message from {events.name_of(message.sender)}",
        message=f"New message in conversation: {message.text[:_PREVIEW]}...",
        notification_type="chat_message",
        related_object_type="conversation",
        related_object_id=conversation.pk,
        data={"conversation_id": conversation.pk, "message_id": message.pk},
    )


def _touch(conversation: Conversation, message: Message) -> None:
    """Only what changes here: the instance in memory may be older than the row."""
    changes: dict[str, Any] = {"last_message_at": message.created_at}
    if not message.is_from_support:
        reopened = When(status=Conversation.Status.RESOLVED, then=Value(Conversation.Status.OPEN))
        changes["status"] = Case(reopened, default=F("status"))
    Conversation.objects.filter(pk=conversation.pk).update(**changes)


def recipients(message: Message) -> set[int]:
    """Participating riders and drivers; in support conversations also the assignee, or while nobody
    is assigned all active support staff. Never the sender, nor who has muted the conversation.
    """
    conversation = message.conversation
    members = Participant.objects.filter(
        conversation=conversation, role__in=(_Role.RIDER, _Role.DRIVER)
    ).exclude(muted_until__gt=timezone.now())
    found = set(members.values_list("user_id", flat=True))
    if conversation.kind == Conversation.Kind.SUPPORT:
        assignee = (
            Conversation.objects.filter(pk=conversation.pk)
            .values_list("assignee_id", flat=True)
            .get()
        )
        found |= {assignee} if assignee else set(_support_staff())
    return found - {message.sender_id}


def _support_staff() -> Any:
    staff = get_user_model()._default_manager.with_perm(
        SUPPORT_PERMISSION, backend="django.contrib.auth.backends.ModelBackend"
    )
    return staff.filter(is_staff=True, is_active=True).values_list("pk", flat=True)


@transaction.atomic
def open_trip(*, rider: Any, driver: Any, closes_at: datetime | None = None) -> Conversation:
    """A conversation between a rider and a driver, writable until `closes_at`."""
    conversation = Conversation.objects.create(kind=Conversation.Kind.TRIP, closes_at=closes_at)
    for user, role in ((rider, _Role.RIDER), (driver, _Role.DRIVER)):
        Participant.objects.create(conversation=conversation, user=user, role=role)
    return conversation
