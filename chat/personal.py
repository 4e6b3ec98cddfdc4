"""What a person has said, where they took part, and what the audit log calls them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.dispatch import receiver

from chat import audit, events, note_events, notes, queue_events, services
from chat.models import AuditEntry, Conversation, Message, Note, Participant
from chat.sending import support_staff
from holodrive.realtime import log, personal
from holodrive.realtime.personal import ERASED
from holodrive.realtime.scrub import scrub, scrub_in_batches
from notifications import services as notifications
from notifications.models import Notification

_FOR_EVER = datetime(9998, 12, 31, tzinfo=UTC)
_TITLE = f"New message from {ERASED}"
_ASSIGNED = "You were given this conversation."  # in place of a text with names
_MEMBERS = (Participant.Role.RIDER, Participant.Role.DRIVER)


def _messages(user: Any) -> personal.Kind:
    own = Message.objects.filter(sender=user)

    def rows() -> Iterator[personal.Row]:
        for batch in personal.in_batches(own.select_related("sender")):
            for row in batch:
                shown = msgspec.to_builtins(events.chat_message(row, user.pk))
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
    return len(messages)


def _notified(conversation_id: int) -> set[int]:
    """Whom its messages may have rung for."""
    members = Participant.objects.filter(conversation=conversation_id)
    return {*members.values_list("user", flat=True), *support_staff().values_list("pk", flat=True)}


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
        for batch in personal.in_batches(left.select_related("conversation"), at_once):
            for row in batch:
                _forget_participant(row)
            yield len(batch)
        for _ in services.unassign(user, at_once):
            yield 0
        yield from _forget_in_queue(user, at_once)
        _forget_assignments(user)

    return personal.Kind("participations", rows, left.count, erase)


@log.retrying
def _forget_participant(row: Participant) -> None:
    """The subject of a support conversation is in the words of who asked."""
    stream, conversation = events.stream_of(row.conversation_id), row.conversation
    own_words = row.role in _MEMBERS and conversation.kind == Conversation.Kind.SUPPORT

    def blank(frame: dict[str, Any]) -> bool:
        concerned = "conversation" in frame
        if concerned:
            frame["conversation"]["subject"] = ""
        return concerned

    with log.writing(stream):
        if own_words:
            scrub([stream], '"conversation":{', blank)
            conversation.subject = ""
            conversation.save(update_fields=["subject"])
        row.muted_until = _FOR_EVER  # nobody is left to ring for
        row.save(update_fields=["muted_until"])
    personal.forget_in_admin(Participant, [row.pk])
    personal.forget_in_admin(Conversation, [row.conversation_id])


def _forget_in_queue(user: Any, at_once: int) -> Iterator[int]:
    own = Participant.objects.filter(
        user=user, role__in=_MEMBERS, conversation__kind=Conversation.Kind.SUPPORT
    )
    asked = set(own.values_list("conversation", flat=True))

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


@log.retrying
def _forget_assignments(user: Any) -> None:
    """They name who asks, and who has given the conversation to somebody."""
    own = Participant.objects.filter(user=user).values("conversation")
    given = AuditEntry.objects.filter(actor=user, action=audit.Action.ASSIGNED)
    concerned = {
        *own.values_list("conversation", flat=True),
        *given.values_list("conversation", flat=True),
    }
    rows = Notification.objects.filter(
        recipient__in=support_staff(),
        notification_type="conversation_assigned",
        related_object_id__in=concerned,
    ).exclude(message=_ASSIGNED)
    for batch in personal.in_batches(rows):
        notifications.reword(batch, _ASSIGNED)


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
            AuditEntry._base_manager.filter(pk__in=ids).update(actor_name=ERASED)
            yield len(ids)

    return personal.Kind("audited", rows, left.count, erase)


personal.register("messages", _messages)
personal.register("notes", _notes)
personal.register("participations", _participations)
personal.register("audited", _audited)


@receiver(personal.erased)
def audit_erasure(by: str, detail: dict[str, Any], **kwargs: Any) -> None:
    audit.record_command(by, audit.Action.ERASED, detail)


@receiver(personal.exported)
def audit_export(by: str, detail: dict[str, Any], **kwargs: Any) -> None:
    audit.record_command(by, audit.Action.EXPORTED, detail)
