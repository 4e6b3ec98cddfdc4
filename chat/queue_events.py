"""Every wire shape of /ws/support/, and of the support workflow over REST. No models, no I/O."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec

from chat.events import Kind, MessagePreview, Person, Priority, Status, name_of, person
from holodrive.realtime.wire import Event, Frame, HostIdentifier, Welcome, timestamp, timestamp_if

if TYPE_CHECKING:
    from chat.models import Conversation, Participant

STREAM = "support"  # of what changes in the queue, for all of support


class ConnectionEstablished(Welcome, kw_only=True, tag="connection_established"):
    """`permissions`: what this user may do, by the names of Django's permissions."""

    message: str = "Connected to support"
    user_id: int
    permissions: list[str]


class Member(msgspec.Struct, kw_only=True):
    user_id: int
    name: str
    role: str


class QueuedConversation(msgspec.Struct, kw_only=True):
    """A conversation as all of support sees it."""

    id: int
    kind: Kind
    subject: str
    status: Status
    created_at: str
    closes_at: str | None
    last_message_at: str | None
    priority: Priority
    assignee: Person | None
    waiting_since: str | None
    snoozed_until: str | None
    participants: list[Member]


class QueueUpdated(Event, kw_only=True, tag="conversation_updated"):
    """A conversation is new, or its status, subject, assignee, priority, waiting_since,
    snoozed_until, closes_at or participants have changed.
    """

    conversation: QueuedConversation


class ConversationActivity(Frame, kw_only=True, tag="conversation_activity"):
    """The newest message of a conversation; in no log."""

    conversation_id: int
    kind: Kind
    last_message_at: str
    last_message: MessagePreview


class ConversationRead(Frame, kw_only=True, tag="conversation_read"):
    """One of support has read a conversation up to there, in some tab or device; in no log."""

    conversation_id: int
    user_id: int
    up_to_id: int


def queued(row: "Conversation", members: "Iterable[Participant]") -> QueuedConversation:
    return QueuedConversation(
        id=row.pk,
        kind=row.kind,  # type: ignore[arg-type]
        subject=row.subject,
        status=row.status,  # type: ignore[arg-type]
        created_at=timestamp(row.created_at),
        closes_at=timestamp_if(row.closes_at),
        last_message_at=timestamp_if(row.last_message_at),
        priority=priority_of(row),
        assignee=person(row.assignee) if row.assignee else None,
        waiting_since=timestamp_if(row.waiting_since),
        snoozed_until=timestamp_if(row.snoozed_until),
        participants=[
            Member(user_id=member.user_id, name=name_of(member.user), role=member.role)
            for member in members
        ],
    )


def priority_of(row: "Conversation") -> Any:
    return row.Priority(row.priority).name.lower()  # its label is in the reader's language


# Over REST only


class ChangeConversation(msgspec.Struct, kw_only=True):
    """At least one; `snoozed_until` goes with the status `snoozed`."""

    more_schema: ClassVar[dict[str, Any]] = {
        "minProperties": 1,
        "if": {"properties": {"status": {"const": "snoozed"}}, "required": ["status"]},
        "then": {"required": ["snoozed_until"]},
        "else": {"not": {"required": ["snoozed_until"]}},
    }

    status: Status | msgspec.UnsetType = msgspec.UNSET
    snoozed_until: Annotated[datetime, msgspec.Meta(tz=True)] | msgspec.UnsetType = msgspec.UNSET
    assignee: HostIdentifier | msgspec.UnsetType | None = msgspec.UNSET
    priority: Priority | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if all(value is msgspec.UNSET for value in msgspec.structs.astuple(self)):
            raise ValueError("status, snoozed_until, assignee or priority is missing")
        if (self.status == "snoozed") != (self.snoozed_until is not msgspec.UNSET):
            raise ValueError("the status snoozed and snoozed_until go together")
        if self.snoozed_until is not msgspec.UNSET and self.snoozed_until.year > 9998:
            raise ValueError("snoozed_until must be before the year 9999")


class Unmasked(msgspec.Struct, kw_only=True):
    message_id: int
    message: str


class CannedReplyItem(msgspec.Struct, kw_only=True):
    """`expanded`: with the names of the conversation that was asked for."""

    code: str
    text: str
    expanded: str | None
