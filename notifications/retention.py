"""Read notifications are old after `NOTIFICATIONS_READ_DAYS`; unread ones never."""

from django.conf import settings

from holodrive.realtime import retention
from notifications.models import Notification


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


retention.register("notifications", _read)
