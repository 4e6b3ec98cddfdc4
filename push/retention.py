"""What is shown on devices is forgotten after `PUSH_SHOWN_DAYS`: read later, it is not cleared any
more.
"""

from django.conf import settings

from holodrive.realtime import retention
from push.models import Push


def _shown() -> retention.Old | None:
    if not (days := settings.PUSH_SHOWN_DAYS):
        return None
    return retention.Old(
        f"pushes sent more than {days} days ago",
        Push.objects.filter(created_at__lt=retention.before(days)),
        lambda ids: Push.objects.filter(pk__in=ids).delete(),
    )


retention.register("pushes", _shown)
