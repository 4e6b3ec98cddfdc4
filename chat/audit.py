"""The audit log: who of support did what. Rows are added here and changed nowhere."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from chat import events
from chat.models import AuditEntry

Action = AuditEntry.Action
# Who looks at a conversation again within this time has looked at it once.
_ONE_LOOK = timedelta(minutes=15)


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


def looked(actor: Any, *conversation_ids: int) -> None:
    """That somebody of support saw what is in these conversations; of each once in 15 minutes. Two
    queries, however many.
    """
    known = AuditEntry.objects.filter(
        conversation__in=conversation_ids,
        actor=actor,
        action=Action.VIEWED,
        at__gt=timezone.now() - _ONE_LOOK,
    )
    new = {*conversation_ids} - {*known.values_list("conversation", flat=True)}
    AuditEntry.objects.bulk_create([_entry(actor, Action.VIEWED, id) for id in sorted(new)])


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
