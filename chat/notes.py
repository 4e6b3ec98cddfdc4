"""What support writes for itself beside a conversation."""

from typing import Any, NamedTuple

from chat import note_events
from chat.models import ADD_NOTES, VIEW_NOTES, Note
from chat.sending import no_such_conversation
from chat.services import conversation_for
from chat.workflow import require
from holodrive.realtime import log
from holodrive.realtime.wire import Forbidden, IdempotencyConflict


class WrittenNote(NamedTuple):
    note: Note
    duplicate: bool


def notes_of(user: Any, conversation_id: int) -> Any:
    """Raises Forbidden, NotFound."""
    require(user, VIEW_NOTES)
    conversation = conversation_for(user, conversation_id)
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
            if known is not None and known.text != text:
                raise IdempotencyConflict("This client_note_id was sent with another text.")
            if known is not None:
                return WrittenNote(known, duplicate=True)
        note = Note(
            conversation=conversation, author=user, text=text, client_note_id=client_note_id
        )
        note.save()
    return WrittenNote(note, duplicate=False)


def welcome(user: Any, conversation_id: int) -> note_events.ConnectionEstablished:
    """The first frame of a notes socket. Raises NotFound."""
    try:
        require(user, VIEW_NOTES)
    except Forbidden:
        raise no_such_conversation() from None
    conversation_for(user, conversation_id)
    stream = note_events.stream_of(conversation_id)
    return note_events.ConnectionEstablished(
        conversation_id=conversation_id, last_seq=log.heads([stream]).get(stream, 0)
    )
