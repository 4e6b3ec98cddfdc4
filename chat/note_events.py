"""Every wire shape of /ws/support/notes/<conversation_id>/, and of notes over REST. No models, no
I/O.
"""

from typing import TYPE_CHECKING, Annotated

import msgspec

from chat.events import LONGEST_MESSAGE, name_of
from holodrive.realtime import characters
from holodrive.realtime.wire import ANY_TEXT, NOT_BLANK, Event, Welcome, checked_text, timestamp

if TYPE_CHECKING:
    from chat.models import Note


def stream_of(conversation_id: int) -> str:
    """The stream of what support says among itself about a conversation."""
    return f"conversation.{conversation_id}.notes"


class ConnectionEstablished(Welcome, kw_only=True, tag="connection_established"):
    message: str = "Connected to notes"
    conversation_id: int
    user_id: int | msgspec.UnsetType = msgspec.UNSET


class NoteAdded(Event, kw_only=True, tag="note"):
    """A private note: who has the permission sees it, and nobody else so much as a hole. Over REST
    also when it was edited or deleted, if it was: then `text` is that of now, or empty.
    """

    note_id: int
    conversation_id: int
    text: str
    author_id: int
    author_name: str
    client_note_id: str | None
    created_at: str
    edited_at: str | msgspec.UnsetType = msgspec.UNSET
    deleted_at: str | msgspec.UnsetType = msgspec.UNSET


class NoteEdited(Event, kw_only=True, tag="note_edited"):
    """Its author has changed the text."""

    note_id: int
    text: str
    edited_at: str


class NoteDeleted(Event, kw_only=True, tag="note_deleted"):
    """Its author has taken it back. The text is gone from the log as well."""

    note_id: int
    deleted_at: str


def note(row: "Note") -> NoteAdded:
    return NoteAdded(
        seq=row.seq,
        note_id=row.pk,
        conversation_id=row.conversation_id,
        text=row.text,
        author_id=row.author_id,
        author_name=name_of(row.author),
        client_note_id=row.client_note_id,
        created_at=timestamp(row.created_at),
        edited_at=timestamp(row.edited_at) if row.edited_at else msgspec.UNSET,
        deleted_at=timestamp(row.deleted_at) if row.deleted_at else msgspec.UNSET,
    )


# Over REST only


_NoteText = Annotated[str, msgspec.Meta(max_length=LONGEST_MESSAGE, extra_json_schema=NOT_BLANK)]


class AddNote(msgspec.Struct, kw_only=True):
    """1 to 4,000 code points, not blank; each client_note_id is stored once."""

    text: _NoteText
    client_note_id: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=64, extra_json_schema=ANY_TEXT)] | None
    ) = None

    def __post_init__(self) -> None:
        _refuse_blank(self.text)
        checked_text(self.client_note_id or "")


class EditNote(msgspec.Struct, kw_only=True):
    text: _NoteText

    def __post_init__(self) -> None:
        _refuse_blank(self.text)


def _refuse_blank(text: str) -> None:
    if characters.is_blank(checked_text(text)):
        raise ValueError("a note must not be blank")
