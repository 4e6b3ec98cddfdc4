"""How far each participant has read, and what has reached a device of theirs: two message ids that
only move forward, whoever moves them at the same time. Tells nobody: `services.py` does.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Max, Q
from django.db.models.functions import Greatest

from chat.models import Message, Participant
from holodrive.realtime import statements

_MOVE = """
    UPDATE chat_participant SET
    last_read_id = CASE WHEN last_read_id < newest THEN newest ELSE last_read_id END,
    last_delivered_id = CASE WHEN last_delivered_id < newest THEN newest ELSE last_delivered_id END
    FROM (
        SELECT column1 AS in_conversation, column2 AS sender, column3 AS newest
        FROM (VALUES {}) AS sent
    ) AS sent
    WHERE conversation_id = in_conversation AND user_id = sender
"""


def newest_message(conversation_id: int, up_to_id: int) -> int:
    """The newest message up to that id, 0 if there is none: where a cursor may stand.

    All of them are committed: ids grow in the order of commits within a conversation.
    """
    found = Message.objects.filter(conversation=conversation_id, pk__lte=up_to_id)
    return found.aggregate(newest=Max("pk"))["newest"] or 0


def move(conversation_id: int, user_id: int, *, read: int = 0, delivered: int = 0) -> bool:
    """Move a participant's cursors forward; whether one moved. What was read was delivered."""
    delivered = max(read, delivered)
    behind = Q(last_read_id__lt=read) | Q(last_delivered_id__lt=delivered)
    moved = (
        _participants(conversation_id, user_id)
        .filter(behind)
        .update(
            last_read_id=Greatest("last_read_id", read),
            last_delivered_id=Greatest("last_delivered_id", delivered),
        )
    )
    return bool(moved)


def stored(conversation_id: int, user_id: int) -> tuple[int, int] | None:
    """(last_read_id, last_delivered_id); None for who takes no part."""
    rows = _participants(conversation_id, user_id)
    found: tuple[int, int] | None = rows.values_list("last_read_id", "last_delivered_id").first()
    return found


def move_senders(messages: Sequence[Message]) -> None:
    """Move the cursors of who has just sent these to them, which are the newest of their
    conversations.
    """
    rows = [[message.conversation_id, message.sender_id, message.pk] for message in messages]
    statements.fetch(_MOVE.format(", ".join(["%s"] * len(rows))), *rows)


def admit_support(places: Iterable[tuple[int, int]]) -> None:
    """Staff take part from their first reply or read mark on: (conversation id, user id)."""
    Participant.objects.bulk_create(
        [
            Participant(
                conversation_id=conversation_id, user_id=user_id, role=Participant.Role.SUPPORT
            )
            for conversation_id, user_id in places
        ],
        ignore_conflicts=True,  # of two at once the second finds the first one's
    )


def _participants(conversation_id: int, user_id: int) -> Any:
    return Participant.objects.filter(conversation=conversation_id, user=user_id)
