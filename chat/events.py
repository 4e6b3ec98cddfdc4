"""Every wire shape of /ws/chat/<conversation_id>/, and of messages over REST. No models, no I/O."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
from django.conf import settings

from chat import masking
from holodrive.realtime import characters
from holodrive.realtime.wire import (
    ANY_TEXT,
    NOT_BLANK,
    Command,
    Event,
    Frame,
    HostIdentifier,
    Identifier,
    Own,
    Removal,
    Welcome,
    checked_text,
    timestamp,
    timestamp_if,
)

if TYPE_CHECKING:
    from chat.models import Conversation, Message, Participant

Kind = Literal["support", "trip"]
Status = Literal["open", "pending", "snoozed", "resolved", "closed"]
Priority = Literal["low", "normal", "high", "urgent"]
LONGEST_MESSAGE = 4_000  # code points
LONGEST_PREVIEW = 100  # characters


def stream_of(conversation_id: int) -> str:
    """The stream of everything that all members of a conversation may see."""
    return f"conversation.{conversation_id}"


# From the server


class Receipt(msgspec.Struct, kw_only=True):
    """A participant's cursors: message ids, 0 before the first."""

    user_id: int
    last_read_id: int
    last_delivered_id: int


class ConnectionEstablished(Welcome, kw_only=True, tag="connection_established"):
    message: str = "Connected to chat"
    conversation_id: int
    last_read_id: int
    receipts: list[Receipt]
    online: list[int] = msgspec.field(default_factory=list)
    typing_timeout: int
    user_id: int | msgspec.UnsetType = msgspec.UNSET


class ChatMessage(Event, kw_only=True, tag="chat_message"):
    """A message; `created_at` as 2025-11-22T13:15:22.970153+00:00. `masked`, if contact details are
    hidden in it. `client_message_id` is as sent for the sender; for others null, if it could hold
    such details. Over REST also when it was edited or deleted, if it was: then `message` is the
    text of now, or empty.
    """

    message: str
    sender_id: int
    sender_name: str
    is_from_support: bool
    created_at: str
    message_id: int
    client_message_id: str | None
    masked: bool | msgspec.UnsetType = msgspec.UNSET
    edited_at: str | msgspec.UnsetType = msgspec.UNSET
    deleted_at: str | msgspec.UnsetType = msgspec.UNSET


class MessageEdited(Event, kw_only=True, tag="message_edited"):
    message_id: int
    message: str
    edited_at: str
    masked: bool | msgspec.UnsetType = msgspec.UNSET  # in the new text; nothing, if it is not there


class AlreadyEdited(Frame, kw_only=True, tag="message_edited"):
    """To the one socket that asked: the text is this already, so there is no event and no seq."""

    message_id: int
    message: str
    edited_at: str | None
    masked: bool | msgspec.UnsetType = msgspec.UNSET


class MessageDeleted(Event, kw_only=True, tag="message_deleted"):
    """Its text is gone: here, in the log, and in the notifications that it caused."""

    message_id: int
    deleted_at: str


class AlreadyDeleted(Frame, kw_only=True, tag="message_deleted"):
    """To the one socket that asked: nothing changed, so there is no event and no seq."""

    message_id: int
    deleted_at: str


class ParticipantRemoved(Removal, kw_only=True, tag="participant_removed"):
    """This user takes part no longer; their own sockets close with 4404 behind it."""


class ConversationState(msgspec.Struct, kw_only=True):
    """What riders and drivers see of a conversation's state."""

    id: int
    kind: Kind
    subject: str
    status: Status
    closes_at: str | None


class ConversationUpdated(Event, kw_only=True, tag="conversation_updated"):
    """Its status, subject or end has changed."""

    conversation: ConversationState


class MessageAck(Frame, kw_only=True, tag="message_ack"):
    """To the sender alone, after the commit. `duplicate`: the id was stored before."""

    client_message_id: str | None
    message_id: int
    seq: int
    created_at: str
    duplicate: bool


class MessagesRead(Frame, kw_only=True, tag="message_read"):
    """This user has read all up to and including `up_to_id`; in no log. Cursors only move forward,
    so of two the greater holds.
    """

    user_id: int
    up_to_id: int


class MessagesDelivered(Frame, kw_only=True, tag="message_delivered"):
    """All up to and including `up_to_id` has reached a device of this user; in no log. What was
    read was delivered.
    """

    user_id: int
    up_to_id: int


class Presence(Frame, kw_only=True, tag="presence"):
    """Another participant came or went; in no log. Online: with an open socket, on any device.
    `last_seen`: since when they are offline; null online.
    """

    user_id: int
    status: Literal["online", "offline"]
    last_seen: str | None


class UserTyping(Frame, kw_only=True, tag="typing"):
    """To the others; in no log."""

    user_id: int
    user_name: str
    is_typing: bool


def seen_by(user_id: int, row: "Message") -> ChatMessage:
    """As that user sees it: each client_message_id is the sender's, whatever it is."""
    shown = chat_message(row)
    if row.sender_id == user_id:
        shown.client_message_id = row.client_message_id
    return shown


def chat_message(row: "Message") -> ChatMessage:
    """As everybody may see it."""
    return ChatMessage(
        message=row.text,
        sender_id=row.sender_id,
        sender_name=name_of(row.sender),
        is_from_support=row.is_from_support,
        created_at=timestamp(row.created_at),
        message_id=row.pk,
        client_message_id=shared_id(row.client_message_id),
        seq=row.seq,
        masked=_is_masked(row),
        edited_at=timestamp(row.edited_at) if row.edited_at else msgspec.UNSET,
        deleted_at=timestamp(row.deleted_at) if row.deleted_at else msgspec.UNSET,
    )


def own_part(row: "Message") -> Own | None:
    """What its sender sees of a new message and no one else does."""
    if row.client_message_id == shared_id(row.client_message_id):
        return None
    return Own(user_id=row.sender_id, fields={"client_message_id": row.client_message_id})


def shared_id(client_message_id: str | None) -> str | None:
    """What others see of it: nothing, if it may hold what a message must not."""
    if client_message_id is None or not _is_plain_id(client_message_id, _region()):
        return None
    return client_message_id


def _region() -> str:
    region: str = settings.CHAT_PHONE_REGION
    return region


@lru_cache(maxsize=4096)  # asked ahead of the lock, and again under it
def _is_plain_id(id: str, region: str) -> bool:
    return masking.is_plain_id(id, region)


def message_edited(row: "Message", at: datetime) -> MessageEdited:
    return MessageEdited(
        message_id=row.pk, message=row.text, edited_at=timestamp(at), masked=_is_masked(row)
    )


def _is_masked(row: "Message") -> bool | msgspec.UnsetType:
    return True if row.original else msgspec.UNSET


def presence(user_id: int, offline_since: float | None) -> Presence:
    """Of a user who is online (None), or offline since then (seconds since 1970)."""
    if offline_since is None:
        return Presence(user_id=user_id, status="online", last_seen=None)
    last_seen = timestamp(datetime.fromtimestamp(offline_since, UTC))
    return Presence(user_id=user_id, status="offline", last_seen=last_seen)


def is_message_of(event: str, user_id: int) -> bool:
    """Whether a logged event is a new message of that user. (A text cannot hold what is looked
    for: its quotes are escaped.)
    """
    return event.startswith('{"type":"chat_message",') and f'"sender_id":{user_id},' in event


def conversation_state(row: "Conversation") -> ConversationState:
    return ConversationState(
        id=row.pk,
        kind=row.kind,  # type: ignore[arg-type]
        subject=row.subject,
        status=row.status,  # type: ignore[arg-type]
        closes_at=timestamp_if(row.closes_at),
    )


def already_edited(row: "Message") -> AlreadyEdited:
    at, masked = timestamp_if(row.edited_at), _is_masked(row)
    return AlreadyEdited(message_id=row.pk, message=row.text, edited_at=at, masked=masked)


def already_deleted(row: "Message") -> AlreadyDeleted:
    assert row.deleted_at is not None
    return AlreadyDeleted(message_id=row.pk, deleted_at=timestamp(row.deleted_at))


def name_of(user: Any) -> str:
    """What the others see. A login that stands in for a name may be a telephone number or an e-mail
    address, and so may what a project calls a full name: then it is "Rider 7" instead.
    """
    name = own_name(user)
    if characters.is_blank(name) or _has_contact(name, settings.CHAT_PHONE_REGION):
        return _neutral_name(user)
    return characters.one_line(name)


def own_name(user: Any) -> str:
    """As the account has it: for the audit log, which says who it was. Not every user model has a
    full name (AbstractBaseUser has none), and one of which nothing is seen is none.
    """
    full_name = str(getattr(user, "get_full_name", str)())
    return str(user.get_username()) if characters.is_blank(full_name) else full_name


@lru_cache(maxsize=4096)  # a number takes 0.1 ms, and each message names its sender several times
def _has_contact(name: str, region: str) -> bool:
    return masking.masked(name, region) != name


def _neutral_name(user: Any) -> str:
    role = getattr(user, "role", "support" if getattr(user, "is_staff", False) else "user")
    return f"{str(role).title()} {user.pk}"


# From clients


class MessageText(Command, kw_only=True):
    """1 to 4,000 code points, not blank, stored as sent."""

    message: Annotated[str, msgspec.Meta(max_length=LONGEST_MESSAGE, extra_json_schema=NOT_BLANK)]

    def __post_init__(self) -> None:
        if characters.is_blank(checked_text(self.message)):
            raise ValueError("a message must not be blank")


class SendMessage(MessageText, kw_only=True, tag="chat_message"):
    """Each client_message_id is stored once."""

    client_message_id: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=64, extra_json_schema=ANY_TEXT)] | None
    ) = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_text(self.client_message_id or "")


class EditMessage(MessageText, kw_only=True, tag="message_edit"):
    message_id: Identifier


class DeleteMessage(Command, kw_only=True, tag="message_delete"):
    message_id: Identifier


class MarkMessagesRead(Command, kw_only=True, tag="message_read"):
    up_to_id: Identifier


class MarkMessagesDelivered(Command, kw_only=True, tag="message_delivered"):
    up_to_id: Identifier


class SetTyping(Command, kw_only=True, tag="typing"):
    is_typing: bool


# Over REST only


class Person(msgspec.Struct, kw_only=True):
    user_id: int
    name: str


class ParticipantItem(msgspec.Struct, kw_only=True):
    user_id: int
    name: str
    role: str
    last_read_id: int
    last_delivered_id: int


class MessagePreview(msgspec.Struct, kw_only=True):
    """The newest message, its text cut off; empty with `deleted_at`."""

    message_id: int
    message: str
    sender_id: int
    sender_name: str
    created_at: str
    deleted_at: str | None


class ConversationItem(msgspec.Struct, kw_only=True):
    """A conversation as one user sees it; `unread_count` is of others' messages behind the user's
    read cursor. The last four fields are there for support only.
    """

    id: int
    kind: Kind
    subject: str
    status: Status
    created_at: str
    closes_at: str | None
    last_message_at: str | None
    unread_count: int
    participants: list[ParticipantItem]
    last_message: MessagePreview | None
    assignee: Person | msgspec.UnsetType | None = msgspec.UNSET
    priority: Priority | msgspec.UnsetType = msgspec.UNSET
    waiting_since: str | msgspec.UnsetType | None = msgspec.UNSET
    snoozed_until: str | msgspec.UnsetType | None = msgspec.UNSET


def person(user: Any) -> Person:
    return Person(user_id=user.pk, name=name_of(user))


def participant(row: "Participant") -> ParticipantItem:
    return ParticipantItem(
        user_id=row.user_id,
        name=name_of(row.user),
        role=row.role,
        last_read_id=row.last_read_id,
        last_delivered_id=row.last_delivered_id,
    )


def preview(row: "Message") -> MessagePreview:
    return MessagePreview(
        message_id=row.pk,
        message=characters.first(row.text, LONGEST_PREVIEW),
        sender_id=row.sender_id,
        sender_name=name_of(row.sender),
        created_at=timestamp(row.created_at),
        deleted_at=timestamp_if(row.deleted_at),
    )


class OpenConversation(msgspec.Struct, kw_only=True):
    """`rider`, `driver` (user ids) and `closes_at` are of trips, which only staff opens."""

    kind: Literal["support", "trip"] = "support"
    more_schema: ClassVar[dict[str, Any]] = {
        "if": {"properties": {"kind": {"const": "trip"}}, "required": ["kind"]},
        "then": {
            "properties": {key: {"type": ["integer", "string"]} for key in ("rider", "driver")},
            "required": ["rider", "driver"],
        },
    }

    subject: Annotated[str, msgspec.Meta(max_length=200, extra_json_schema=ANY_TEXT)] = ""
    rider: HostIdentifier | None = None
    driver: HostIdentifier | None = None
    closes_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    def __post_init__(self) -> None:
        if characters.is_blank(checked_text(self.subject)):
            self.subject = ""
        if self.closes_at and not 2000 <= self.closes_at.year < 9999:
            raise ValueError("closes_at must be between the years 2000 and 9998")
        if self.kind == "trip" and (self.rider is None or self.driver is None):
            raise ValueError("a trip needs a rider and a driver")
