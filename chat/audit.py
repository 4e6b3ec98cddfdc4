"""The audit log: who of support did what. Rows are added here and changed nowhere."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.utils import timezone

from chat import events
from chat.models import AuditEntry

Action = AuditEntry.Action
# Who looks at a conversation again within this time has looked at it once.
_ONE_LOOK = timedelta(minutes=15)
_PREVIEW = {"only": "preview"}


def record(actor: Any, action: AuditEntry.Action, conversation_id: int, **detail: Any) -> None:
    """Inside the transaction of what was done: neither is there without the other."""
    _entry(actor, action, conversation_id, **detail).save()


def _entry(actor: Any, action: AuditEntry.Action, conversation_id: int, **detail: Any) -> Any:
    return AuditEntry(
        actor=actor,
        actor_name=events.own_name(actor)[:200],
        action=action,
        conversation_id=conversation_id,
        detail=detail,
    )


def record_command(
    by: str, action: AuditEntry.Action, detail: dict[str, Any], conversation_id: int | None = None
) -> None:
    """What was done by manage.py: `by` is who the operating system says it was."""
    AuditEntry.objects.create(
        actor_name=by[:200], action=action, conversation_id=conversation_id, detail=detail
    )


class Look(NamedTuple):
    """Of somebody of support at a conversation."""

    actor: Any
    conversation_id: int


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
    return [at[look.actor.pk, look.conversation_id] + _ONE_LOOK for look in looks]


def rung(told: Iterable[tuple[Iterable[int], dict[str, Any]]], rooms: Mapping[int, Any]) -> None:
    """That the notifications of these messages quote them to people of support: to whoever is no
    member. When they are stored, since from then on they may be on a screen at any time.
    """
    quoted = [
        (user_id, content["related_object_id"])
        for recipients, content in told
        for user_id in recipients
        if user_id not in rooms[content["related_object_id"]].members
    ]
    if quoted:  # in trips there is nobody to be asked for
        users = get_user_model()._default_manager.in_bulk({user_id for user_id, _ in quoted})
        looks = [Look(users[user_id], id) for user_id, id in quoted]
        _record_new(looks, _recent(looks).filter(action=Action.RUNG), Action.RUNG)


def _record_looks(looks: Sequence[Look], detail: dict[str, str]) -> dict[tuple[Any, int], datetime]:
    """Anything that somebody did there counts as a preview (the answer to it had one); as a whole
    look, only another.
    """
    known = _recent(looks).exclude(action=Action.RUNG)
    if not detail:
        known = known.filter(action=Action.VIEWED).exclude(detail=_PREVIEW)
    return _record_new(looks, known, Action.VIEWED, **detail)


def _recent(looks: Sequence[Look]) -> Any:
    return AuditEntry.objects.filter(
        conversation__in={look.conversation_id for look in looks},
        actor__in={look.actor.pk for look in looks},
        at__gt=timezone.now() - _ONE_LOOK,
    )


def _record_new(
    looks: Sequence[Look], known: Any, action: AuditEntry.Action, **detail: Any
) -> dict[tuple[Any, int], datetime]:
    """An entry for each that is not among the known ones; by the ids of who looked and at what,
    when it was recorded.
    """
    if not looks:
        return {}
    rows = known.order_by("at").values_list("actor", "conversation", "at")
    at = {(actor, id): moment for actor, id, moment in rows}
    new = {
        (id, actor.pk): _entry(actor, action, id, **detail)
        for actor, id in looks
        if (actor.pk, id) not in at
    }
    added = AuditEntry.objects.bulk_create([new[key] for key in sorted(new)])
    return at | {(entry.actor_id, entry.conversation_id): entry.at for entry in added}


class Opening:
    """A socket's one look, when it opens. A resume or a judgement asks for its first frame again,
    is no look, and must not depend on what cannot be written.
    """

    __slots__ = ("_has_looked",)

    def __init__(self) -> None:
        self._has_looked = False

    def looked(self, actor: Any, conversation_id: int) -> None:
        if not self._has_looked:
            looked(actor, conversation_id)
        self._has_looked = True
