"""What support does with its queue: each call one transaction under the conversation's lock, which
publishes its change and writes it into the audit log.
"""

import logging
from datetime import datetime
from typing import Any

import msgspec
from django.contrib.auth import get_user_model
from django.utils import timezone

from chat import audit, events, queue_events
from chat.endings import sweep
from chat.models import (
    ADD_NOTES,
    ASSIGN,
    CHANGE,
    REPLY,
    SUPPORT_PERMISSION,
    UNMASK,
    VIEW_NOTES,
    Conversation,
    is_support,
    may_reply,
)
from chat.rights import support_staff
from chat.services import conversation_for, messages_of, no_such_message
from holodrive.realtime import log
from holodrive.realtime.characters import isolated
from holodrive.realtime.faults import FAULTS
from holodrive.realtime.routing import has_perm
from holodrive.realtime.wire import (
    ConversationClosed,
    ErrorCode,
    Forbidden,
    InvalidMessage,
    NotFound,
    RealtimeError,
    host_id,
    timestamp,
)

logger = logging.getLogger("chat.workflow")
_Status = Conversation.Status
_DUE_AT_ONCE = 100


class AlreadyClaimed(RealtimeError):
    """Somebody else was first; the answer says who."""

    code, status = ErrorCode.ALREADY_CLAIMED, 409

    def __init__(self, winner: Any) -> None:
        person = events.person(winner)
        super().__init__(f"{isolated(person.name)} has this conversation.")
        self.details = {"assignee": msgspec.to_builtins(person)}


def may(user: Any, permission: str) -> bool:
    """Whether somebody is of support and has the permission."""
    return is_support(user) and has_perm(user, permission)


def require(user: Any, permission: str) -> None:
    """Raises Forbidden for who may not."""
    if not may(user, permission):
        raise Forbidden("You lack the permission for this.")


def permissions_of(user: Any) -> list[str]:
    """What of support's work this user may do."""
    may = [SUPPORT_PERMISSION, CHANGE, ASSIGN, VIEW_NOTES, ADD_NOTES, UNMASK]
    held = [permission for permission in may if has_perm(user, permission)]
    return [*held, REPLY] if may_reply(user) else held


def agents() -> Any:
    """Whom a conversation can be assigned to."""
    return support_staff().order_by(get_user_model().USERNAME_FIELD, "pk")


@log.retrying
def claim(*, user: Any, conversation_id: int) -> Conversation:
    """Make an unassigned conversation this user's. Of many at once one gets it. Raises
    AlreadyClaimed, ConversationClosed, Forbidden, NotFound.
    """
    require(user, ASSIGN)
    conversation_for(user, conversation_id)
    with log.writing(events.stream_of(conversation_id)):
        conversation = conversation_for(user, conversation_id)
        if conversation.assignee is not None and conversation.assignee_id != user.pk:
            raise AlreadyClaimed(conversation.assignee)
        if conversation.status == _Status.CLOSED:
            raise ConversationClosed("This conversation is closed.")
        if conversation.assignee_id is None:
            conversation.assignee = conversation.changed_by = user
            conversation.save(update_fields=["assignee"])
            audit.record(user, audit.Action.CLAIMED, conversation_id)
    return conversation


@log.retrying
def change(
    *, user: Any, conversation_id: int, changes: queue_events.ChangeConversation
) -> Conversation:
    """Assign, unassign, set the priority or the status, all in one; what is so already changes
    nothing. Raises Forbidden, InvalidMessage, NotFound.
    """
    assigns = changes.assignee is not msgspec.UNSET
    if assigns:
        require(user, ASSIGN)
    if not assigns or changes.status or changes.priority:
        require(user, CHANGE)
    conversation_for(user, conversation_id)
    with log.writing(events.stream_of(conversation_id)):
        conversation = conversation_for(user, conversation_id)
        changed: set[str] = set()
        if changes.assignee is not msgspec.UNSET:
            changed |= _assign(user, conversation, host_id(changes.assignee))
        if changes.priority is not msgspec.UNSET:
            changed |= _set_priority(user, conversation, changes.priority)
        if changes.status is not msgspec.UNSET:
            until = None if changes.snoozed_until is msgspec.UNSET else changes.snoozed_until
            changed |= _set_status(user, conversation, changes.status, until)
        if changed:
            conversation.changed_by = user
            conversation.save(update_fields=changed)
    return conversation


def _assign(user: Any, conversation: Conversation, assignee_id: int | None) -> set[str]:
    if conversation.assignee_id == assignee_id:
        return set()
    assignee = None
    if assignee_id is not None:
        assignee = agents().filter(pk=assignee_id).first()
        if assignee is None:
            raise InvalidMessage("assignee must be the id of somebody of support.")
    before = {"from": conversation.assignee_id, "to": assignee_id}
    conversation.assignee = assignee
    audit.record(user, audit.Action.ASSIGNED, conversation.pk, **before)
    return {"assignee"}


def _set_priority(user: Any, conversation: Conversation, name: str) -> set[str]:
    before = queue_events.priority_of(conversation)
    if before == name:
        return set()
    conversation.priority = Conversation.Priority[name.upper()]
    audit.record(user, audit.Action.PRIORITY, conversation.pk, **{"from": before, "to": name})
    return {"priority"}


def _set_status(
    user: Any, conversation: Conversation, status: str, until: datetime | None
) -> set[str]:
    if until is not None and until <= timezone.now():
        raise InvalidMessage("snoozed_until must be in the future.")
    if (conversation.status, conversation.snoozed_until) == (status, until):
        return set()
    detail = {"from": conversation.status, "to": status}
    if until is not None:
        detail["until"] = timestamp(until)
    conversation.status, conversation.snoozed_until = status, until
    audit.record(user, audit.Action.STATUS, conversation.pk, **detail)
    return {"status", "snoozed_until"}


def wake_due(now: datetime | None = None) -> int:
    """Bring conversations back whose snooze is over; return how many. For whoever looks at the
    queue: while nobody does, nobody misses them.
    """
    now = now or timezone.now()
    due = Conversation.objects.filter(status=_Status.SNOOZED, snoozed_until__lte=now)
    woken = 0
    for id in list(due.order_by("snoozed_until").values_list("pk", flat=True)[:_DUE_AT_ONCE]):
        try:
            woken += _wake(id, now)
        except FAULTS as problem:
            # Locked, full or read-only: who looks must not wait as long for each of them. Soon
            # somebody looks again, so this is not tried again either.
            logger.warning("Conversation %s stays snoozed for now: %s", id, problem)
            break
    return woken


def _wake(id: int, now: datetime) -> int:
    with log.writing(events.stream_of(id)):
        row = Conversation.objects.filter(
            pk=id, status=_Status.SNOOZED, snoozed_until__lte=now
        ).first()
        if row is None:  # another process was first
            return 0
        row.status, row.snoozed_until = _Status.OPEN, None
        row.save(update_fields=["status", "snoozed_until"])
    return 1


@log.retrying
def unmask(*, user: Any, conversation_id: int, message_id: int) -> queue_events.Unmasked:
    """A message as it was sent, and an entry in the audit log. Raises Forbidden, NotFound."""
    require(user, UNMASK)
    conversation = conversation_for(user, conversation_id)
    with log.writing():
        message = messages_of(conversation).filter(pk=message_id).first()
        if message is None:
            raise no_such_message()
        audit.record(user, audit.Action.UNMASKED, conversation_id, message_id=message_id)
    return queue_events.Unmasked(message_id=message.pk, message=message.as_sent)


def _sweep() -> None:
    try:
        sweep()
    except FAULTS as problem:
        # The queue must not stay shut because another agent's end cannot be written down now: that
        # agent is shown nothing before it is, and the next look tries again.
        logger.warning("Former agents are not settled for now: %s", problem)


def welcome(user: Any) -> queue_events.ConnectionEstablished:
    """The first frame of the queue's socket. Asked again every half minute for as long as the
    socket is open (the hub judges staff), which is when snoozes end. Raises NotFound.
    """
    if not is_support(user):
        raise NotFound("There is no such socket for this user.")
    wake_due()
    _sweep()
    return queue_events.ConnectionEstablished(
        user_id=user.pk,
        last_seq=log.heads([queue_events.STREAM]).get(queue_events.STREAM, 0),
        permissions=permissions_of(user),
    )
