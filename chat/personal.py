"""What a person has said, where they took part, and what the audit log calls them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.dispatch import receiver

from chat import audit, events, note_events, notes, queue_events, services
from chat.models import (
    MEMBERS,
    AuditEntry,
    Conversation,
    FormerParticipant,
    Message,
    Note,
    Participant,
    SupportMember,
)
from chat.rights import support_staff
from holodrive.realtime import log, personal
from holodrive.realtime.models import Event
from holodrive.realtime.personal import ERASED
from holodrive.realtime.scrub import scrub, scrub_in_batches
from holodrive.realtime.searchable import changes
from notifications import services as notifications
from notifications.models import Notification

_FOR_EVER = datetime(9998, 12, 31, tzinfo=UTC)
_TITLE = f"New message from {ERASED}"
_ASSIGNED = "You were given this conversation."  # in place of a text with names


def _messages(user: Any) -> personal.Kind:
    own = Message.objects.filter(sender=user)

    def rows() -> Iterator[personal.Row]:
        for batch in personal.in_batches(own.select_related("sender")):
            for row in batch:
                shown = msgspec.to_builtins(events.seen_by(user.pk, row))
                yield {"conversation_id": row.conversation_id, **shown, "message": row.as_sent}

    def erase(at_once: int) -> Iterator[int]:
        for conversation_id in _conversations_of(own):
            here = own.filter(conversation=conversation_id)
            for batch in personal.in_batches(here, at_once):
                yield _take_back(user, conversation_id, [row.pk for row in batch])
            _forget_sender(user, conversation_id)

    return personal.Kind("messages", rows, own.filter(deleted_at=None).count, erase)


def _conversations_of(rows: Any) -> list[int]:
    found = rows.order_by("conversation").values_list("conversation", flat=True)
    return list(found.distinct())


@log.retrying
def _take_back(user: Any, conversation_id: int, ids: list[int]) -> int:
    with log.writing(events.stream_of(conversation_id)):
        rows = Message.objects.filter(pk__in=ids, deleted_at=None).order_by("pk")
        messages = list(rows.select_related("conversation", "sender"))
        # First, so that no event tells of a notification that still names the sender; and of all,
        # for what was taken back before rang under that name as well.
        notifications.redact(
            conversation_id=conversation_id,
            message_ids={*ids},
            text=services.DELETED,
            title=_TITLE,
            also_of=_notified(conversation_id),
        )
        services.take_back(conversation_id, messages)
        Message._base_manager.filter(pk__in=ids).update(client_message_id=None)
    personal.forget_in_admin(Message, ids)
    told = Notification.objects.filter(
        related_object_id=conversation_id,
        notification_type="chat_message",
        data__message_id__in=ids,
    )
    personal.forget_in_admin(Notification, list(told.values_list("pk", flat=True)))
    return len(messages)


def _notified(conversation_id: int) -> set[int]:
    """Whom its messages may have rung for, then or now: a right that has ended takes no frame out
    of the log.
    """
    members = Participant.objects.filter(conversation=conversation_id)
    former = FormerParticipant.objects.filter(conversation_id=conversation_id)
    return {
        *members.values_list("user", flat=True),
        *former.values_list("user", flat=True),
        *_support(),
    }


def _support() -> set[int]:
    """Whoever is of support, or was notified as that once."""
    return {
        *support_staff().values_list("pk", flat=True),
        *SupportMember.objects.values_list("pk", flat=True),
    }


@log.retrying
def _forget_sender(user: Any, conversation_id: int) -> None:
    stream = events.stream_of(conversation_id)

    def blank(frame: dict[str, Any]) -> bool:
        concerned: bool = frame.get("sender_id") == user.pk
        if concerned:
            frame |= {"sender_name": ERASED, "message": "", "client_message_id": None}
            frame.pop("own", None)
        return concerned

    with log.writing(stream):
        scrub([stream], f'"sender_id":{user.pk},', blank)


def _notes(user: Any) -> personal.Kind:
    own = Note.objects.filter(author=user)

    def rows() -> Iterator[personal.Row]:
        for batch in personal.in_batches(own.select_related("author")):
            for row in batch:
                yield msgspec.to_builtins(note_events.note(row))

    def erase(at_once: int) -> Iterator[int]:
        for conversation_id in _conversations_of(own):
            here = own.filter(conversation=conversation_id)
            for batch in personal.in_batches(here, at_once):
                yield _take_notes_back(conversation_id, [row.pk for row in batch])
            _forget_author(user, conversation_id)

    return personal.Kind("notes", rows, own.filter(deleted_at=None).count, erase)


@log.retrying
def _take_notes_back(conversation_id: int, ids: list[int]) -> int:
    with log.writing(note_events.stream_of(conversation_id)):
        left = list(Note.objects.filter(pk__in=ids, deleted_at=None).values_list("pk", flat=True))
        notes.take_back(conversation_id, left)
        Note._base_manager.filter(pk__in=ids).update(client_note_id=None)
    personal.forget_in_admin(Note, ids)
    return len(left)


@log.retrying
def _forget_author(user: Any, conversation_id: int) -> None:
    stream = note_events.stream_of(conversation_id)

    def blank(frame: dict[str, Any]) -> bool:
        concerned: bool = frame.get("author_id") == user.pk
        if concerned:
            frame |= {"author_name": ERASED, "text": "", "client_note_id": None}
        return concerned

    with log.writing(stream):
        scrub([stream], f'"author_id":{user.pk},', blank)


def _participations(user: Any) -> personal.Kind:
    """That somebody took part stays, and shows no name."""
    own = Participant.objects.filter(user=user)
    left = own.exclude(muted_until=_FOR_EVER)

    def rows() -> Iterator[personal.Row]:
        for batch in personal.in_batches(own.select_related("user", "conversation")):
            for row in batch:
                state = msgspec.to_builtins(events.conversation_state(row.conversation))
                yield {"conversation": state, **msgspec.to_builtins(events.participant(row))}

    def erase(at_once: int) -> Iterator[int]:
        for batch in personal.in_batches(left, at_once):
            for row in batch:
                _forget_participant(row)
            yield len(batch)
        concerned = _conversations_with(user)
        for id in sorted(concerned):
            _forget_subject(id)
            yield 0
        for _ in services.unassign(user, at_once):
            yield 0
        yield from _forget_in_queue(user, concerned, at_once)
        yield from _forget_assignments(user, concerned, at_once)
        yield from _forget_where_nothing_is_left(at_once)
        former = FormerParticipant.objects.filter(user=user)
        personal.forget_in_admin(Participant, list(former.values_list("pk", flat=True)))
        theirs = former.values_list("conversation_id", flat=True)
        personal.forget_in_admin(Conversation, list(theirs))

    return personal.Kind("participations", rows, left.count, erase, leads_to_names=True)


def _forget_participant(row: Participant) -> None:
    row.muted_until = _FOR_EVER  # nobody is left to ring for
    row.save(update_fields=["muted_until"])
    personal.forget_in_admin(Participant, [row.pk])
    personal.forget_in_admin(Conversation, [row.conversation_id])  # whose page they are edited on


def _conversations_with(user: Any) -> set[int]:
    """Where this user takes or took part other than by being of support."""
    own = Participant.objects.filter(user=user, role__in=MEMBERS)
    former = FormerParticipant.objects.filter(user=user, role__in=MEMBERS)
    said = Message.objects.filter(sender=user, is_from_support=False)
    return {
        *own.values_list("conversation", flat=True),
        *former.values_list("conversation_id", flat=True),
        *_conversations_of(said),
        *_queued_with(user),
    }


def _queued_with(user: Any) -> Iterator[int]:
    """Of the queue's log, which has the subjects of conversations that are gone, with their rows of
    who took part.
    """
    frames = Event.objects.filter(
        stream__name=queue_events.STREAM, text__contains=f'"user_id":{user.pk},'
    )
    for text in frames.values_list("text", flat=True):
        shown = msgspec.json.decode(text)["conversation"]
        roles = {one["role"] for one in shown["participants"] if one["user_id"] == user.pk}
        if roles.intersection(MEMBERS):
            yield shown["id"]


@log.retrying
def _forget_subject(id: int) -> None:
    """It is in the words of who asked, or made from the names of who takes part."""
    stream = events.stream_of(id)

    def blank(frame: dict[str, Any]) -> bool:
        concerned = bool(frame.get("conversation", {}).get("subject"))
        if concerned:
            frame["conversation"]["subject"] = ""
        return concerned

    with log.writing(stream):
        scrub([stream], '"conversation":{', blank)
        for conversation in Conversation.objects.filter(pk=id).exclude(subject=""):
            conversation.subject = ""
            conversation.save(update_fields=["subject"])
    personal.forget_in_admin(Conversation, [id])


def _forget_in_queue(user: Any, asked: set[int], at_once: int) -> Iterator[int]:
    def blank(frame: dict[str, Any]) -> bool:
        shown = frame["conversation"]
        people = [one for one in [shown["assignee"], *shown["participants"]] if one]
        concerned = [one for one in people if one["user_id"] == user.pk]
        for one in concerned:
            one["name"] = ERASED
        if shown["id"] in asked:
            shown["subject"] = ""
        return bool(concerned) or shown["id"] in asked

    for needle in (f'"user_id":{user.pk},', *(f'"conversation":{{"id":{id},' for id in asked)):
        for _ in scrub_in_batches(queue_events.STREAM, needle, blank, at_once):
            yield 0


def _forget_assignments(user: Any, asked: set[int], at_once: int) -> Iterator[int]:
    """They name who asks, and who has given the conversation to somebody: whoever was of support
    may have, and no row says which. Found by what is stored, whatever right their recipients have.
    """
    rows = Notification.objects.filter(notification_type="conversation_assigned")
    of_all = SupportMember.objects.filter(pk=user.pk).exists()
    of_all = of_all or AuditEntry.objects.filter(actor=user).exists()
    if not of_all:
        rows = rows.filter(related_object_id__in=asked)

    def is_concerned(body: dict[str, Any]) -> bool:
        return body.get("notification_type") == "conversation_assigned" and (
            of_all or body.get("related_object_id") in asked
        )

    yield from _reword(rows.exclude(message=_ASSIGNED), is_concerned, _ASSIGNED, at_once)


def _forget_where_nothing_is_left(at_once: int) -> Iterator[int]:
    """Notifications outlive the conversation that they are about. Whose words and name they have
    nothing says any more, so it is taken out of all of them.
    """
    rows = Notification.objects.filter(
        related_object_type="conversation",
        notification_type__in=("chat_message", "conversation_assigned"),
    ).exclude(related_object_id__in=Conversation.objects.values("pk"))
    left = set(rows.values_list("related_object_id", flat=True))

    def is_concerned(body: dict[str, Any]) -> bool:
        of_conversation = body.get("related_object_type") == "conversation"
        return of_conversation and body.get("related_object_id") in left

    rows = rows.exclude(title=_TITLE, message=services.DELETED)
    yield from _reword(rows, is_concerned, services.DELETED, at_once, title=_TITLE)


def _reword(rows: Any, is_concerned: Any, message: str, at_once: int, **more: str) -> Iterator[int]:
    """In the log of support one by one: of whatever has been deleted since, too."""
    new = {"message": message, **more}
    for batch in personal.in_batches(rows, at_once):
        notifications.reword(batch, new, is_concerned)
        personal.forget_in_admin(Notification, [row.pk for row in batch])
        yield 0
    for user_id in sorted(_support()):
        notifications.reword_log(user_id, new, is_concerned)
        yield 0


def _audited(user: Any) -> personal.Kind:
    """What somebody of support did stays, under the number of an account without a name."""
    own = AuditEntry.objects.filter(actor=user)
    left = own.exclude(actor_name=ERASED)

    def rows() -> Iterator[personal.Row]:
        for batch in personal.in_batches(own):
            for row in batch:
                yield {
                    "action": row.action,
                    "conversation_id": row.conversation_id,
                    "detail": row.detail,
                    "at": row.at,
                }

    def erase(at_once: int) -> Iterator[int]:
        for batch in personal.in_batches(left, at_once):
            ids = [row.pk for row in batch]
            nameless = changes(AuditEntry, actor_name=ERASED)
            AuditEntry._base_manager.filter(pk__in=ids).update(**nameless)
            yield len(ids)

    return personal.Kind("audited", rows, left.count, erase)


personal.register("messages", _messages)
personal.register("notes", _notes)
personal.register("participations", _participations)
personal.register("audited", _audited)


@receiver(personal.erased)
def audit_erasure(by: Any, detail: dict[str, Any], **kwargs: Any) -> None:
    """Of a user by their id as well: only so the name goes when they are erased themselves."""
    if isinstance(by, str):
        audit.record_command(by, audit.Action.ERASED, detail)
    else:
        audit.record(by, audit.Action.ERASED, None, **detail)


@receiver(personal.exported)
def audit_export(by: str, detail: dict[str, Any], **kwargs: Any) -> None:
    audit.record_command(by, audit.Action.EXPORTED, detail)
