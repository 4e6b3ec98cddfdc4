"""Who is of support now. Rights are asked of the database whenever somebody is notified."""

from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.db.models import Exists, OuterRef

from chat import audit
from chat.models import SUPPORT_PERMISSION, Conversation, SupportMember, is_support

ENDED = "no longer of support"


def support_staff() -> Any:
    """Active staff that may view conversations."""
    # Not the manager's with_perm: only a UserManager has it.
    staff = ModelBackend().with_perm(SUPPORT_PERMISSION)
    return staff.filter(is_staff=True, is_active=True)


def staff(among: Collection[int] | None = None) -> set[int]:
    """Their ids; those of these users, or all. They are going to be notified: it is remembered that
    they were.
    """
    rows = support_staff() if among is None else support_staff().filter(pk__in=among)
    known = SupportMember.objects.filter(user=OuterRef("pk"), ended_at=None)
    found = dict(rows.annotate(is_known=Exists(known)).values_list("pk", "is_known"))
    remember([id for id, is_known in found.items() if not is_known])
    return set(found)


def remember(user_ids: Collection[int]) -> None:
    """That these are notified as support."""
    if user_ids:
        SupportMember.objects.bulk_create(
            [SupportMember(user_id=id, ended_at=None) for id in sorted(user_ids)],
            update_conflicts=True,
            unique_fields=["user"],
            update_fields=["ended_at"],
        )


def is_of_support(user_id: int) -> bool:
    """The same by every backend of the project, of one user."""
    user = get_user_model()._default_manager.filter(pk=user_id).first()
    if user is None or not is_support(user):
        return False
    # Written only if it is new: the row would be locked behind the queue here, and ahead of it in
    # `staff`.
    if not SupportMember.objects.filter(user=user_id, ended_at=None).exists():
        remember([user_id])
    return True


def record_unassigned(conversation: Conversation) -> None:
    """Inside the transaction that takes it from its agent."""
    before = {"from": conversation.assignee_id, "to": None, "reason": ENDED}
    audit.record_command("HoloDrive", audit.Action.ASSIGNED, before, conversation.pk)
