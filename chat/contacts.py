"""Decides what a trip shows of a text: masking by the project's settings, and by what the same
sender has just said. Ahead of the lock, which 4,000 characters would hold for a quarter second; the
parts of a number, of 40 at most, under it.
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from chat import masking

if TYPE_CHECKING:
    from chat.models import Message

_TOGETHER = timedelta(minutes=10)  # that the parts of one number may be apart
_MOST_BETWEEN = 40  # messages of a conversation that are looked through for the other parts


def as_shown(text: str, *, conversation_id: Any, sender_id: Any, message_id: int | None) -> str:
    """Return what is shown of the text of a new message (`message_id` None) or of an edited one. A
    few digits are read together with those that the sender's messages beside it are.
    """
    where = settings.CHAT_PHONE_REGION, tuple(settings.CHAT_OWN_NUMBERS)
    is_part = masking.is_part(text)
    # Words with a few digits at their end may be edited into the beginning of a number.
    may_begin = message_id is not None and any(map(str.isdigit, text))
    if not is_part and not may_begin:
        return masking.masked(text, *where)
    rows = _recent(conversation_id, sender_id)
    before = [row for row in rows if message_id is None or row.pk < message_id]
    after = [row for row in reversed(rows) if message_id is not None and row.pk > message_id]
    begun = _parts(before)[::-1] if is_part else []
    return masking.masked_among(begun, text, _parts(after), *where)


def _recent(conversation_id: Any, sender_id: Any) -> "list[Message]":
    """Return the sender's messages, the newest first."""
    messages = apps.get_model("chat", "Message")._base_manager.using(DEFAULT_DB_ALIAS)
    rows = messages.filter(conversation_id=conversation_id).order_by("-id")[:_MOST_BETWEEN]
    since = timezone.now() - _TOGETHER
    return [row for row in rows if row.sender_id == sender_id and row.created_at > since]


def _parts(rows: "Sequence[Message]") -> list[str]:
    """Return those next to the text, and the first with words, which may hold the beginning of a
    number: what else was said ends it.
    """
    texts = [row.as_sent for row in rows]
    count = sum(1 for _ in takewhile(masking.is_part, texts))
    return texts[: count + 1]
