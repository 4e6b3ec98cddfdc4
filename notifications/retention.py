"""Read notifications are old after `NOTIFICATIONS_READ_DAYS`; unread ones never."""

from collections.abc import Sequence

from django.conf import settings

from holodrive.realtime import retention
from notifications.models import Notification, SentPart


def _read() -> retention.Old | None:
    if not (days := settings.NOTIFICATIONS_READ_DAYS):
        return None
    return retention.Old(
        f"notifications read more than {days} days ago",
        Notification.objects.filter(
            status=Notification.Status.READ, read_at__lt=retention.before(days)
        ),
        lambda ids: retention.with_everything_below(Notification, ids),
    )


def _announced() -> retention.Old:
    rows = SentPart.objects.filter(begun_at__lt=retention.before(1))
    return retention.Old("parts of announcements sent more than a day ago", rows, _forget)


def _forget(ids: Sequence[int]) -> None:
    SentPart.objects.filter(pk__in=ids).delete()


retention.register("notifications", _read)
retention.register("announcements", _announced)
