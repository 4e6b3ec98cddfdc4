"""Who of support lets somebody into a conversation, or puts them out: both are in the audit log."""

from typing import Any

from chat import audit
from chat.models import Participant
from holodrive.realtime import log
from holodrive.realtime.wire import Forbidden


def add(*, by: Any, participant: Participant) -> None:
    """Store a new participant. Raises Forbidden to whoever adds themselves: a rider or driver
    would stay in there when the rights of support end, and support needs no row to read.
    """
    if participant.user_id == by.pk:
        raise Forbidden("You cannot add yourself: support takes part with its first reply.")
    with log.writing():
        participant.save()
        _record(by, audit.Action.PARTICIPANT_ADDED, participant)


def remove(*, by: Any, participant: Participant) -> None:
    """Delete one, which closes their sockets."""
    with log.writing():
        _record(by, audit.Action.PARTICIPANT_REMOVED, participant)
        participant.delete()


def _record(by: Any, action: audit.Action, participant: Participant) -> None:
    who = {"user_id": participant.user_id, "role": participant.role}
    audit.record(by, action, participant.conversation_id, **who)
