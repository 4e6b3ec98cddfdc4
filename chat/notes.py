"""What support writes for itself beside a conversation."""

from collections.abc import Collection
from typing import Any, NamedTuple

from django.utils import timezone

from chat import audit, note_events
from chat.models import ADD_NOTES, VIEW_NOTES, Note
from chat.sending import no_such_conversation
from chat.services import conversation_for
from chat.workflow import require
from holodrive.realtime import log
from holodrive.realtime.scrub import needle_of, scrub
from holodrive.realtime.searchable import changes
from holodrive.realtime.wire import Forbidden, IdempotencyConflict, NotFound, timestamp


class WrittenNote(NamedTuple):
    note: Note
    duplicate: bool


def notes_of(user: Any, conversation_id: int) -> Any:
    """To be shown, which is a look. Raises Forbidden, NotFound."""
    require(user, VIEW_NOTES)
    conversation = conversation_for(user, conversation_id)
    audit.looked(user, conversation_id)
    return Note.objects.filter(conversation=conversation).select_related("author")


@log.retrying
def add_note(
    *, user: Any, conversation_id: int, text: str, client_note_id: str | None = None
) -> WrittenNote:
    """Store a note once and publish it to who may see notes. Raises Forbidden,
    IdempotencyConflict, NotFound.
    """
    require(user, ADD_NOTES)
    conversation = conversation_for(user, conversation_id)
    with log.writing(note_events.stream_of(conversation_id)):
        if client_note_id is not None:
            known = Note.objects.filter(
                conversation=conversation, author=user, client_note_id=client_note_id
            ).first()
            if known is not None and known.text != text and not known.deleted_at:
                raise IdempotencyConflict("This client_note_id was sent with another text.")
            if known is not None:
                return WrittenNote(known, duplicate=True)
        note = Note(
            conversation=conversation, author=user, text=text, client_note_id=client_note_id
        )
        note.save()
    return WrittenNote(note, duplicate=False)


@log.retrying
def edit_note(*, user: Any, conversation_id: int, note_id: int, text: str) -> Note:
    """Change one's own note. Raises Forbidden, NotFound."""
    with log.writing(note_events.stream_of(conversation_id)):
        note = _own_note(user, conversation_id, note_id)
        if note.deleted_at:
            raise _no_such_note()
        if note.text != text:
            note.text = text
            note.save(update_fields=["text"])
            audit.record(user, audit.Action.NOTE_EDITED, conversation_id, note_id=note_id)
    return note


@log.retrying
def delete_note(*, user: Any, conversation_id: int, note_id: int) -> None:
    """Take back one's own note: the row stays as a mark, its text goes, from the log too. A second
    time changes nothing. Raises Forbidden, NotFound.
    """
    with log.writing(note_events.stream_of(conversation_id)):
        note = _own_note(user, conversation_id, note_id)
        if note.deleted_at:
            return
        take_back(conversation_id, [note_id])
        audit.record(user, audit.Action.NOTE_DELETED, conversation_id, note_id=note_id)


def take_back(conversation_id: int, note_ids: Collection[int]) -> None:
    """Leave of these notes of one conversation no text, in the log neither. Inside the block that
    has locked the stream of its notes.
    """
    stream, now = note_events.stream_of(conversation_id), timezone.now()
    Note._base_manager.filter(pk__in=note_ids).update(**changes(Note, text="", deleted_at=now))

    def blank(frame: dict[str, Any]) -> bool:
        concerned = "text" in frame and frame.get("note_id") in note_ids
        if concerned:
            frame["text"] = ""
        return concerned

    scrub([stream], needle_of("note_id", note_ids), blank)
    for id in note_ids:
        log.append(stream, note_events.NoteDeleted(note_id=id, deleted_at=timestamp(now)))


def _own_note(user: Any, conversation_id: int, note_id: int) -> Note:
    require(user, ADD_NOTES)
    conversation = conversation_for(user, conversation_id)
    note = Note.objects.filter(conversation=conversation, pk=note_id).first()
    if note is None:
        raise _no_such_note()
    if note.author_id != user.pk:
        raise Forbidden("This note is somebody else's.")
    return note


def _no_such_note() -> NotFound:
    return NotFound("There is no such note.")


def welcome(user: Any, conversation_id: int) -> note_events.ConnectionEstablished:
    """The first frame of a notes socket. Raises NotFound."""
    try:
        require(user, VIEW_NOTES)
    except Forbidden:
        raise no_such_conversation() from None
    conversation_for(user, conversation_id)
    stream = note_events.stream_of(conversation_id)
    return note_events.ConnectionEstablished(
        conversation_id=conversation_id,
        last_seq=log.heads([stream]).get(stream, 0),
        user_id=user.pk,
    )
