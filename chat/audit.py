"""The audit log: who of support did what. Rows are added here and changed nowhere."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.utils import timezone

from chat import events
from chat.models import AuditEntry
from holodrive.realtime.characters import within
from holodrive.realtime.faults import FAULTS

logger = logging.getLogger("chat.audit")

Action = AuditEntry.Action
# Who looks at a conversation again within this time has looked at it once.
_ONE_LOOK = timedelta(minutes=15)
_PREVIEW = {"only": "preview"}
_LONGEST_NAME = 200  # code points, as the column has them
# What is answered with the conversation and its newest message, or more.
_SHOWS_TEXT = (
    Action.VIEWED,
    Action.CLAIMED,
    Action.ASSIGNED,
    Action.STATUS,
    Action.PRIORITY,
    Action.UNMASKED,
)


def record(
    actor: Any, action: AuditEntry.Action, conversation_id: int | None, **detail: Any
) -> None:
    """Inside the transaction of what was done: neither is there without the other."""
    _entry(actor, action, conversation_id, **detail).save()


def _entry(
    actor: Any, action: AuditEntry.Action, conversation_id: int | None, **detail: Any
) -> Any:
    return AuditEntry(
        actor=actor,
        actor_name=within(events.own_name(actor), _LONGEST_NAME),
        action=action,
        conversation_id=conversation_id,
        detail=detail,
    )


def record_command(
    by: str, action: AuditEntry.Action, detail: dict[str, Any], conversation_id: int | None = None
) -> None:
    """What was done by manage.py: `by` is who the operating system says it was."""
    AuditEntry.objects.create(
        actor_name=within(by, _LONGEST_NAME),
        action=action,
        conversation_id=conversation_id,
        detail=detail,
    )


_Seen = tuple[Any, int]  # the id of a user, and that of a conversation


class Look(NamedTuple):
    """Of somebody of support at a conversation."""

    actor: Any
    conversation_id: int

    @property
    def key(self) -> _Seen:
        return self.actor.pk, self.conversation_id


def looked(actor: Any, *conversation_ids: int) -> None:
    """That somebody of support saw what was said in these conversations; of each once in 15
    minutes. Two queries, however many.
    """
    _record_looks([Look(actor, id) for id in conversation_ids], {})


def previewed(actor: Any, *conversation_ids: int) -> None:
    """That they saw the beginning of a message or a subject: in a list, say. Whoever has just
    looked at the whole need not be named again.
    """
    _record_looks([Look(actor, id) for id in conversation_ids], _PREVIEW)


def previewed_by(looks: Sequence[Look]) -> list[datetime]:
    """The same for several people; for each look, until when what was recorded holds."""
    at = _record_looks(looks, _PREVIEW)
    return [at[look.key] + _ONE_LOOK for look in looks]


def rung(told: Iterable[tuple[Iterable[int], dict[str, Any]]], rooms: Mapping[int, Any]) -> None:
    """That the notifications of these messages quote them to people of support: to whoever is no
    member. When they are stored, since from then on they may be on a screen at any time.
    """
    quoted = {
        (user_id, content["related_object_id"])
        for recipients, content in told
        for user_id in recipients
        if user_id not in rooms[content["related_object_id"]].members
    }
    if not quoted:  # as in trips
        return
    quoted -= _when(_recent(quoted).filter(action=Action.RUNG)).keys()
    if quoted:
        users = get_user_model()._default_manager.in_bulk({user_id for user_id, _ in quoted})
        looks = [Look(users[user_id], id) for user_id, id in quoted if user_id in users]
        _add(looks, Action.RUNG)


def _record_looks(looks: Sequence[Look], detail: dict[str, str]) -> dict[_Seen, datetime]:
    """By who looked and at what, when that was recorded. Whatever showed a text counts as a
    preview; as a whole look, only another.
    """
    if not looks:
        return {}
    known = _recent([look.key for look in looks])
    if detail:
        at = _when(known.filter(action__in=_SHOWS_TEXT))
    else:
        at = _when(known.filter(action=Action.VIEWED).exclude(detail=_PREVIEW))
    added = _add([look for look in looks if look.key not in at], Action.VIEWED, **detail)
    return at | added


def _recent(seen: Collection[_Seen]) -> Any:
    return AuditEntry.objects.filter(
        actor__in={actor for actor, _ in seen},
        conversation__in={id for _, id in seen},
        at__gt=timezone.now() - _ONE_LOOK,
    )


def _when(entries: Any) -> dict[_Seen, datetime]:
    rows = entries.order_by("at").values_list("actor", "conversation", "at")
    return {(actor, id): at for actor, id, at in rows}


def _add(looks: Sequence[Look], action: AuditEntry.Action, **detail: Any) -> dict[_Seen, datetime]:
    """An entry for each, by one statement."""
    new = {look.key: _entry(look.actor, action, look.conversation_id, **detail) for look in looks}
    in_order = sorted(new.values(), key=lambda entry: (entry.conversation_id, str(entry.actor_id)))
    AuditEntry.objects.bulk_create(in_order)
    return {key: entry.at for key, entry in new.items()}


class SocketLooks:
    """Of one socket: when it opens, and as long as something new comes, once in 15 minutes. A
    resume and a judgement ask for its first frame again, which says how far the stream has come.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: int | None = None  # the seq up to which they are recorded

    def looked(self, actor: Any, conversation_id: int, head: int) -> None:
        if self._seen == head:
            return
        try:
            looked(actor, conversation_id)
        except FAULTS as problem:
            if self._seen is None:
                raise
            # No right ends by what cannot be written now; the next judgement tries again.
            logger.warning("A look at conversation %s waits: %s", conversation_id, problem)
        else:
            self._seen = head
