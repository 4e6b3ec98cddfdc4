"""Whether a conversation is open, as far as this process has heard: in one that is closed no one is
seen to type, to come or to go. Asks no database; whoever writes asks that.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import msgspec
from django.utils import timezone

from chat import events

_UPDATED = '{"type":"conversation_updated",'
_REMOVED = '{"type":"participant_removed",'


class Openness:
    """Of one conversation, for all sockets in it here: it observes their stream."""

    __slots__ = ("_closes_at", "_is_closed", "_seq", "removed", "reopened")

    def __init__(self) -> None:
        self.removed: set[int] = set()  # user ids: whoever entered before them watches them still
        self.reopened: set[Callable[[], None]] = set()
        self._is_closed = False
        self._closes_at: datetime | None = None
        self._seq = 0  # of the newest event that it is known from

    @classmethod
    def of(cls, topic: Any) -> "Openness":
        """That of a stream's sockets, a new one for the first of them."""
        for observer in topic.observers:
            if isinstance(observer, cls):
                return observer
        known = cls()
        topic.observers.add(known)
        return known

    def __call__(self, event: str) -> None:
        if event.startswith(_UPDATED):
            frame = msgspec.json.decode(event, type=events.ConversationUpdated)
            state, was_open = frame.conversation, self.is_open()
            closes_at = datetime.fromisoformat(state.closes_at) if state.closes_at else None
            self._set(frame.seq, state.status, closes_at)
            if not was_open and self.is_open():
                for tell in list(self.reopened):
                    tell()
        elif event.startswith(_REMOVED):
            frame_of = msgspec.json.decode(event, type=events.ParticipantRemoved)
            self.removed.add(frame_of.user_id)

    def learn(
        self, seq: int, status: str, closes_at: datetime | None, members: Collection[int]
    ) -> None:
        """What the database says at that seq. An event that came first knows better."""
        if seq >= self._seq:
            self._set(seq, status, closes_at)
            self.removed.difference_update(members)

    def _set(self, seq: int, status: str, closes_at: datetime | None) -> None:
        self._seq, self._is_closed, self._closes_at = seq, status == "closed", closes_at

    def is_open(self) -> bool:
        """Looked at whenever something is told: no event says that `closes_at` has passed."""
        return not self._is_closed and (self._closes_at is None or self._closes_at > timezone.now())
