"""Stores new messages, many conversations' in one transaction, and does what they bring about."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from chat import audit, contacts, cursors, events, masking, queue_events, rights
from chat.models import (
    Conversation,
    Message,
    is_support,
    may_reply,
)
from holodrive.realtime import log, statements
from holodrive.realtime.characters import first, isolated, within
from holodrive.realtime.wire import (
    ConversationClosed,
    Forbidden,
    IdempotencyConflict,
    NotFound,
    RealtimeError,
    timestamp,
)
from notifications import services as notifications

_SUPPORT = Conversation.Kind.SUPPORT
_TITLE = 200  # code points of a notification's title: a name alone may have 301
_PREVIEW = 50  # characters of a message in its notification

_FIELDS = [field.attname for field in Conversation._meta.concrete_fields]
_ROOMS = f"""
    SELECT member.user_id, member.muted_until, {", ".join(f"conversation.{one}" for one in _FIELDS)}
    FROM chat_conversation AS conversation
    LEFT JOIN chat_participant AS member
    ON member.conversation_id = conversation.id AND member.role IN ('rider', 'driver')
    WHERE conversation.id IN %s
"""  # noqa: S608
_STORED_BEFORE = """
    SELECT id FROM chat_message
    WHERE conversation_id IN %s AND sender_id IN %s AND client_message_id IN %s
"""
_MOVE = "UPDATE chat_conversation SET last_message_at = %s WHERE id IN %s"


class Draft(NamedTuple):
    """What somebody wants to send. `was_let_in`: into this conversation before, by its socket."""

    user: Any
    conversation_id: int
    text: str
    client_message_id: str | None = None
    was_let_in: bool = False


class SentMessage(NamedTuple):
    message: Message
    duplicate: bool


class _Room(NamedTuple):
    """A conversation, and when each of its riders and drivers has muted it until."""

    conversation: Conversation
    members: dict[int, datetime | None]

    def admits(self, user: Any) -> bool:
        """As `visible_to`, without a query for each user."""
        return user.pk in self.members or is_support(user)


def no_such_conversation() -> NotFound:
    """Absent, foreign and unparsable look the same."""
    return NotFound("There is no such conversation.")


@log.retrying
def send_message(
    *, user: Any, conversation_id: int, text: str, client_message_id: str | None = None
) -> SentMessage:
    """Store a message once and publish it. The same client_message_id of the same sender again
    returns the stored one; with another text it raises IdempotencyConflict. Raises NotFound,
    ConversationClosed, Forbidden.
    """
    (answer,) = send_messages([Draft(user, conversation_id, text, client_message_id)])
    if isinstance(answer, RealtimeError):
        raise answer
    return answer


def send_messages(drafts: Sequence[Draft]) -> list[SentMessage | RealtimeError]:
    """The same for many, each to a conversation of its own, in one transaction. What is refused is
    answered by its error and stores nothing; any other exception is of all: nothing was stored.
    """
    # Before the lock as well: an outsider must neither wait for a foreign stream nor hold it.
    rooms = _rooms([draft.conversation_id for draft in drafts if not draft.was_let_in])
    inside = [
        draft.conversation_id for draft in drafts if draft.was_let_in or _is_inside(draft, rooms)
    ]
    if not inside:
        return [no_such_conversation() for _ in drafts]
    masked = _masked(drafts, rooms)
    with log.writing(*map(events.stream_of, inside)):
        # The streams are locked: what is read from here on cannot change before the commit.
        rooms = _rooms(inside)
        stored = _stored_before(drafts)
        now = timezone.now()
        answers = [_answer(draft, rooms, stored, now) for draft in drafts]
        new = [
            answer.message
            for answer in answers
            if isinstance(answer, SentMessage) and not answer.duplicate
        ]
        for message in new:
            message._rooms = rooms  # type: ignore[attr-defined]
            message.masked_text = masked.get(message.conversation_id)
        Message.save_together(new)
        if len(new) > 1:  # else its own signal has done it
            if not all(map(_is_newest, new)):
                # A project's own receiver has answered: what follows must come in between.
                raise RuntimeError("a receiver went on in a conversation: each is saved by itself")
            follow_up(new, rooms)
    return answers


def _masked(drafts: Sequence[Draft], rooms: dict[int, _Room]) -> dict[int, tuple[str, str]]:
    """What masking makes of the text to each conversation that may need it, and of ids and names:
    ahead of the lock. Not of parts: what is stored until the lock is there may be read with them.
    """
    found = {}
    for draft in drafts:
        events.shared_id(draft.client_message_id)
        events.name_of(draft.user)
        room = rooms.get(draft.conversation_id)
        is_trip = room is None or room.conversation.kind == Conversation.Kind.TRIP
        if is_trip and not masking.is_part(draft.text):
            hidden = contacts.as_shown(
                draft.text,
                conversation_id=draft.conversation_id,
                sender_id=draft.user.pk,
                message_id=None,
            )
            found[draft.conversation_id] = (draft.text, hidden)
    return found


def _is_newest(message: Message) -> bool:
    return log.next_seq(events.stream_of(message.conversation_id)) == message.seq + 1


def _rooms(ids: list[int]) -> dict[int, _Room]:
    """Those that exist, by one query: a row for each member, or one with nulls."""
    rooms: dict[int, _Room] = {}
    for user_id, muted_until, id, *values in statements.fetch(_ROOMS, ids) if ids else ():
        if id not in rooms:
            row = Conversation.from_db(DEFAULT_DB_ALIAS, _FIELDS, [id, *values])
            rooms[id] = _Room(row, {})
        if user_id is not None:
            rooms[id].members[user_id] = muted_until
    return rooms


def _is_inside(draft: Draft, rooms: dict[int, _Room]) -> bool:
    return draft.conversation_id in rooms and rooms[draft.conversation_id].admits(draft.user)


_Key = tuple[int, int, str | None]


def _key(message: Message) -> _Key:
    return message.conversation_id, message.sender_id, message.client_message_id


def _stored_before(drafts: Sequence[Draft]) -> dict[_Key, Message]:
    named = [draft for draft in drafts if draft.client_message_id is not None]
    if not named:
        return {}
    _, conversations, _, ids, _ = map(list, zip(*named, strict=True))
    users = [draft.user.pk for draft in named]
    found = statements.fetch(_STORED_BEFORE, conversations, users, ids)
    if not found:  # most often
        return {}
    rows = Message.objects.filter(pk__in=[id for (id,) in found])
    return {_key(message): message for message in rows}


def _answer(
    draft: Draft, rooms: dict[int, _Room], stored: dict[_Key, Message], now: datetime
) -> SentMessage | RealtimeError:
    """The message that is to be stored, or was before; or why it must not be."""
    user, conversation_id, text, client_message_id, _ = draft
    if not _is_inside(draft, rooms):
        return no_such_conversation()
    sent = stored.get((conversation_id, user.pk, client_message_id))
    if sent is not None:
        changed_since = sent.edited_at or sent.deleted_at  # then the text proves nothing
        if sent.as_sent != text and not changed_since:
            return IdempotencyConflict(
                "This client_message_id was sent with another text.", client_message_id
            )
        return SentMessage(sent, duplicate=True)
    conversation = rooms[conversation_id].conversation
    if conversation.is_closed():
        return ConversationClosed("This conversation is closed.", client_message_id)
    if is_support(user) and not may_reply(user):
        return Forbidden("You may not reply here.", client_message_id)
    message = Message(
        conversation=conversation,
        sender=user,
        text=text,
        client_message_id=client_message_id,
        created_at=now,
    )
    return SentMessage(message, duplicate=False)


def follow_up(messages: Sequence[Message], rooms: dict[int, _Room] | None = None) -> None:
    """What new messages, each of another conversation, bring about in their transaction: the
    conversation moves, its sender has read it, and its members are notified. `rooms`: read under
    the lock; without them they are read here.
    """
    if not messages:
        return
    if rooms is None:  # the instances in memory may be older than the rows
        rooms = _rooms([message.conversation_id for message in messages])
    staff, given_up = _staff_for(rooms.values())
    changed, told, senders = {}, [], set()
    for message in messages:
        conversation = rooms[message.conversation_id].conversation
        changed[conversation.pk] = _moved_by(conversation, message)
        if conversation.pk in given_up:
            changed[conversation.pk].add("assignee")
        told.append((_recipients(rooms[conversation.pk], message, staff), _notification(message)))
        senders.add((message.sender_id, conversation.pk))
    unread = notifications.unread_of_conversations(senders)
    notified = {user for recipients, _ in told for user in recipients}
    # All messages must not wait for one lock.
    queue = [queue_events.STREAM] if any(changed.values()) else []
    # All streams in one statement, so in one order, and ahead of the participants' rows, as
    # `mark_read` takes them.
    with log.writing(
        *queue, *map(notifications.stream_of, notified.union(one.user_id for one in unread))
    ):
        for moment in {message.created_at for message in messages}:
            moved = [one.conversation_id for one in messages if one.created_at == moment]
            statements.fetch(_MOVE, moment, moved)
        for id, fields in changed.items():
            if fields:
                rooms[id].conversation.save(update_fields=fields)
        cursors.admit_support(
            (message.conversation_id, message.sender_id)
            for message in messages
            if message.is_from_support
        )
        # Who answers has read what came before. No frame says so: the message does.
        cursors.move_senders(messages)
        notifications.mark(unread)
        for message in messages:
            tell_queue(message)
        notifications.notify_each(told)
        audit.rung(told, rooms)


def _notification(message: Message) -> dict[str, Any]:
    preview = isolated(first(message.text, _PREVIEW), at_end=True)
    return {
        "title": _title(events.name_of(message.sender)),
        "message": f"New message in conversation: {preview}...",
        "notification_type": "chat_message",
        "related_object_type": "conversation",
        "related_object_id": message.conversation_id,
        "data": {"conversation_id": message.conversation_id, "message_id": message.pk},
    }


def _title(name: str) -> str:
    start = "New message from "
    room = _TITLE - len(start)
    shown = isolated(within(name, room), at_end=True)
    if len(shown) > room:  # by the two marks around it
        shown = isolated(within(name, room - 2), at_end=True)
    return start + shown


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


def _staff_for(rooms: Iterable[_Room]) -> tuple[set[int], set[int]]:
    """Of support, by present rights, who may have to be notified here: by one query, and none for
    trips alone. And the conversations whose agent has no right any more: they are nobody's from
    here on, so that all hear of who waits there.
    """
    asked = [room.conversation for room in rooms if room.conversation.kind == _SUPPORT]
    if not asked:
        return set(), set()
    agents = {one.assignee_id for one in asked if one.assignee_id is not None}
    wants_all = any(one.assignee_id is None for one in asked)
    staff = rights.staff() if wants_all else rights.staff(agents)
    gone = {agent for agent in agents - staff if not rights.is_of_support(agent)}
    given_up = [one for one in asked if one.assignee_id in gone]
    if given_up and not wants_all:
        staff |= rights.staff()
    for conversation in given_up:
        rights.record_unassigned(conversation)
        conversation.assignee = None
    return staff, {one.pk for one in given_up}


def _recipients(room: _Room, message: Message, staff: set[int]) -> set[int]:
    """Participating riders and drivers; in support conversations also the assignee, or while nobody
    is assigned all active support staff. Never the sender, nor who has muted the conversation.
    """
    now = timezone.now()
    found = {user for user, muted in room.members.items() if muted is None or muted <= now}
    if room.conversation.kind == Conversation.Kind.SUPPORT:
        assignee = room.conversation.assignee_id
        found |= {assignee} if assignee else staff
    return found - {message.sender_id}
