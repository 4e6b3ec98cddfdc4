"""Every wire shape of /ws/chat/<conversation_id>/, and of messages over REST. No models, no I/O."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from holodrive.realtime.wire import (
    Command,
    Event,
    Frame,
    Welcome,
    checked_text,
    timestamp,
)

if TYPE_CHECKING:
    from chat.models import Message

LONGEST_MESSAGE = 4_000  # code points


def stream_of(conversation_id: int) -> str:
    """The stream of everything that all members of a conversation may see."""
    return f"conversation.{conversation_id}"


# From the server


class ConnectionEstablished(Welcome, kw_only=True, tag="connection_established"):
    message: str = "Connected to chat"
    conversation_id: int
    last_read_id: int
    typing_timeout: int


class ChatMessage(Event, kw_only=True, tag="chat_message"):
    """A message; `created_at` as 2025-11-22T13:15:22.970153+00:00."""

    message: str
    sender_id: int
    sender_name: str
    is_from_support: bool
    created_at: str
    message_id: int
    client_message_id: str | None


class MessageEdited(Event, kw_only=True, tag="message_edited"):
    message_id: int
    message: str
    edited_at: str


class MessageAck(Frame, kw_only=True, tag="message_ack"):
    """To the sender alone, after the commit. `duplicate`: the id was stored before."""

    client_message_id: str | None
    message_id: int
    seq: int
    created_at: str
    duplicate: bool


class UserTyping(Frame, kw_only=True, tag="typing"):
    """To the others; in no log."""

    user_id: int
    user_name: str
    is_typing: bool


def chat_message(row: "Message") -> ChatMessage:
    return ChatMessage(
        message=row.text,
        sender_id=row.sender_id,
        sender_name=name_of(row.sender),
        is_from_support=row.is_from_support,
        created_at=timestamp(row.created_at),
        message_id=row.pk,
        client_message_id=row.client_message_id,
        seq=row.seq,
    )


def name_of(user: Any) -> str:
    return str(user.get_full_name() or user.get_username())


# From clients


class SendMessage(Command, kw_only=True, tag="chat_message"):
    """1 to 4,000 code points, not blank, stored as sent; each client_message_id once."""

    message: Annotated[str, msgspec.Meta(max_length=LONGEST_MESSAGE)]
    client_message_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None

    def __post_init__(self) -> None:
        if not checked_text(self.message).strip():
            raise ValueError("a message must not be blank")
        checked_text(self.client_message_id or "")


class SetTyping(Command, kw_only=True, tag="typing"):
    is_typing: bool
