"""What is shown on devices is forgotten after `PUSH_SHOWN_DAYS`: read later, it is not cleared any
more. Devices whose login has expired go when the worker looks at them, or by this.
"""

from django.conf import settings
from django.utils import timezone

from holodrive.realtime import retention
from push.models import Device, Push


def _shown() -> retention.Old | None:
    if not (days := settings.PUSH_SHOWN_DAYS):
        return None
    return retention.Old(
        f"pushes sent more than {days} days ago",
        Push.objects.filter(created_at__lt=retention.before(days)),
        lambda ids: Push.objects.filter(pk__in=ids).delete(),
    )


def _expired() -> retention.Old:
    rows = Device.objects.filter(login_expires_at__lt=timezone.now())
    return retention.Old(
        "devices whose login has expired",
        rows,
        lambda ids: rows.filter(pk__in=ids).delete(),  # unless it was refreshed meanwhile
    )


retention.register("pushes", _shown)
retention.register("devices", _expired)
