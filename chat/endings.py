"""The right to be of support ends: conversations go back to the queue, and what was notified about
them is taken back.

However it ends, `settle` finds out by the database: after a change that sends a signal, before
anything is shown to who was notified as support once, whenever support looks at the queue, and in
`manage.py prune`.
"""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q
from django.dispatch import receiver
from django.utils import timezone

from chat import services
from chat.models import MEMBERS, Participant, SupportMember, is_support
from chat.rights import support_staff
from holodrive.realtime import personal, publish, retention
from holodrive.realtime.signals import rights_changed
from notifications import hooks
from notifications import services as notifications
from notifications.models import Notification

_User = get_user_model()
_AT_ONCE = 100
_RETRACTED = {"title": "Conversation", "message": "You can no longer see this conversation."}

hooks.doubtful.append(f"SELECT user_id FROM {SupportMember._meta.db_table}")  # noqa: S608


@receiver(hooks.reading)
def settle(user_ids: Iterable[int], **kwargs: Any) -> None:
    """Take from those of these users who are of support no longer what they had as that."""
    for member in SupportMember.objects.filter(user__in=user_ids).select_related("user"):
        if not is_support(member.user):
            _take_back(member)
        elif member.ended_at is not None:  # it has come back
            SupportMember.objects.filter(pk=member.pk).update(ended_at=None)


def sweep() -> None:
    """Settle whoever is of support no longer: by one query, if nobody is."""
    left = SupportMember.objects.filter(ended_at=None).exclude(user__in=support_staff())
    settle(left.values_list("pk", flat=True))


def _take_back(member: SupportMember) -> None:
    """A message that was stored at the same moment may still come behind it: it is found when it is
    to be shown.
    """
    is_first = member.ended_at is None
    if is_first:
        for _ in services.unassign(member.user, has_lost_right=True):
            pass
    if is_first or _stale(member.pk).exists():
        _retract(member.pk)
    if is_first:
        SupportMember.objects.filter(pk=member.pk).update(ended_at=timezone.now())
        publish.announce(doubts=[publish.Doubt("user", member.pk)])


def _own(user_id: int) -> Any:
    """The conversations that this user may see without being of support."""
    own = Participant.objects.filter(user=user_id, role__in=MEMBERS)
    return own.values_list("conversation", flat=True)


def _stale(user_id: int) -> Any:
    told = Notification.objects.filter(recipient=user_id, related_object_type="conversation")
    return told.exclude(related_object_id__in=_own(user_id)).exclude(**_RETRACTED)


def _retract(user_id: int) -> None:
    own = set(_own(user_id))

    def is_concerned(body: dict[str, Any]) -> bool:
        of_conversation = body.get("related_object_type") == "conversation"
        return of_conversation and body["related_object_id"] not in own

    notifications.reword_log(user_id, _RETRACTED, is_concerned)
    for rows in personal.in_batches(_stale(user_id), _AT_ONCE):
        notifications.retract(rows, user_id=user_id, new=_RETRACTED)


# Where it may have ended


@receiver(rights_changed)
def _settle_later(user_ids: Any, **kwargs: Any) -> None:
    """After the commit, which must not wait for the locks of conversations, nor fail with them."""
    transaction.on_commit(lambda: sweep() if user_ids is None else settle(user_ids), robust=True)


# What sends no signal


def _former() -> retention.Old:
    known = SupportMember.objects.filter(ended_at=None).values("pk")
    users = _User._default_manager.filter(
        Q(pk__in=known) | Q(assigned_conversations__isnull=False)
    ).exclude(pk__in=support_staff().values("pk"))
    return retention.Old("rights of former agents", users.distinct(), _end)


def _end(user_ids: Any) -> None:
    unknown = {*user_ids} - {*SupportMember.objects.values_list("pk", flat=True)}
    SupportMember.objects.bulk_create([SupportMember(user_id=id) for id in sorted(unknown)])
    settle(user_ids)


retention.register("former_support", _former)
