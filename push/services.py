"""Who can be reached where, and which notifications have to be: each call joins the transaction
that it belongs to.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import time, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from holodrive.realtime.wire import InvalidMessage, NotFound
from notifications.models import Notification
from push import backends, logins
from push.logins import Login
from push.models import CHANNELS, Device, Preference, Push, QuietHours

MOST_DEVICES = 20  # of a user: an app that is installed anew has a new token, and forgets the old


# Devices


def devices_of(user: Any) -> Any:
    return Device.objects.filter(user=user).order_by("pk")


def register(
    *,
    user: Any,
    platform: str,
    token: str,
    keys: dict[str, str] | None = None,
    name: str = "",
    login: Login | None = None,
) -> tuple[Device, bool]:
    """The device, and whether it is new to this user. Whose it was before loses it: somebody else
    has logged in there. The oldest beyond 20 go. Raises InvalidMessage, and TokenExpired if a
    refresh has replaced the token.
    """
    backend = backends.configured().get(CHANNELS[platform])
    if backend is not None:
        try:
            backend.check(token, keys or {})
        except ValueError as problem:
            raise InvalidMessage(str(problem)) from None
    said = {"platform": platform, "keys": keys or {}, "name": name, **(login or Login()).fields}
    with transaction.atomic():
        if login is not None:
            logins.refuse_replaced(login)
        owner = Device.objects.filter(token=token).values_list("user", flat=True).first()
        if owner is not None and owner != user.pk:
            Device.objects.filter(token=token).delete()
        device, created = Device.objects.update_or_create(
            token=token, defaults={**said, "user": user, "renewed_at": timezone.now()}
        )
        kept = devices_of(user).order_by("-id").values_list("pk", flat=True)[:MOST_DEVICES]
        devices_of(user).exclude(pk__in=[*kept]).delete()
    return device, created


def forget(*, user: Any, device_id: int) -> None:
    """Raises NotFound."""
    if not Device.objects.filter(user=user, pk=device_id).delete()[0]:
        raise NotFound("There is no such device.")


def end_login(login: str) -> None:
    """Who has logged out gets nothing on that device any more."""
    Device.objects.filter(login=login).delete()


# What their users want


@transaction.atomic
def prefer(
    *, user: Any, wishes: Mapping[tuple[str, str], bool], quiet: tuple[time, time, str] | None
) -> None:
    """Replace all of this user's preferences: by (category, channel), and the quiet hours (start,
    end, time zone).
    """
    Preference.objects.filter(user=user).delete()
    Preference.objects.bulk_create(
        [
            Preference(user=user, category=category, channel=channel, is_enabled=is_enabled)
            for (category, channel), is_enabled in wishes.items()
        ],
        ignore_conflicts=True,  # of two requests at once: each row is of one of them
    )
    QuietHours.objects.filter(user=user).delete()
    if quiet is not None:
        start, end, time_zone = quiet
        fields = {"start": start, "end": end, "time_zone": time_zone}
        QuietHours.objects.update_or_create(user=user, defaults=fields)


# What is to be pushed


def tag_of(row: Notification) -> str:
    """What of the same tag is newer replaces this on a device: a conversation's messages."""
    if row.notification_type == "chat_message" and row.related_object_id is not None:
        return f"conversation-{row.related_object_id}"
    return f"notification-{row.pk}"


def plan(rows: Sequence[Notification]) -> None:
    """Have these new notifications pushed, unless their recipients see them first. In the
    transaction that stores them.
    """
    unread = [row for row in rows if row.status == Notification.Status.UNREAD]
    recipients = {row.recipient_id for row in unread}
    reachable = set(
        Device.objects.filter(user__in=recipients).values_list("user", flat=True).distinct()
    )
    due = timezone.now() + timedelta(seconds=settings.PUSH_DELAY_SECONDS)
    Push.objects.bulk_create(
        [
            Push(notification=row, user_id=row.recipient_id, tag=tag_of(row), due_at=due)
            for row in unread
            if row.recipient_id in reachable
        ]
    )


def seen(*, user_id: int, up_to_id: int) -> None:
    """The user looks at a screen that shows them: no device need tell."""
    Push.objects.filter(user=user_id, notification__lte=up_to_id, is_sent=False).delete()


def read(*, user_id: int, ids: Iterable[int] | None = None, up_to_id: int | None = None) -> None:
    """Have them taken from the devices. One that a worker has in its hands is left to it."""
    rows = Push.objects.filter(user=user_id, is_read=False)
    rows = (
        rows.filter(notification__in=ids)
        if ids is not None
        else rows.filter(notification__lte=up_to_id)
    )
    rows.update(is_read=True, due_at=_now_at_the_earliest())


def edited(row: Notification) -> None:
    """What the devices show of it may be a message that was taken back: show them what it says now.
    (One that has not been sent is read from the database when it is.)
    """
    Push.objects.filter(pk=row.pk, is_sent=True, is_read=False).update(
        due_at=_now_at_the_earliest()
    )


def _now_at_the_earliest() -> Greatest:
    now = Value(timezone.now())
    return Greatest(Coalesce(F("due_at"), now), now)  # SQLite's MAX of anything and NULL is NULL
