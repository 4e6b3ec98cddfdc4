"""What happens elsewhere and concerns devices: news come, are seen and read; logins are renewed,
and end. (How a login ends without a signal: `logins.py`.)
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver

from holodrive.realtime import auth
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.routing import only_home
from holodrive.realtime.tokens import login_renewed
from notifications import hooks
from push import logins, services
from push.models import Device


@receiver(hooks.added)
def plan(rows: Any, **kwargs: Any) -> None:
    if settings.PUSH_BACKENDS:  # who has none pays no query
        services.plan(rows)


@receiver(hooks.seen)
def seen(user_id: int, up_to_id: int, **kwargs: Any) -> None:
    if settings.PUSH_BACKENDS:
        services.seen(user_id=user_id, up_to_id=up_to_id)


@receiver(hooks.read)
def read(user_id: int, ids: Any = None, up_to_id: int | None = None, **kwargs: Any) -> None:
    if settings.PUSH_BACKENDS:
        services.read(user_id=user_id, ids=ids, up_to_id=up_to_id)


@receiver(hooks.edited)
def edited(row: Any, **kwargs: Any) -> None:
    if settings.PUSH_BACKENDS:
        services.edited(row)


@receiver(pre_save, sender=Device)
def device_stored(instance: Device, **kwargs: Any) -> None:
    """By whatever road: it ends with the password that its user has now."""
    if not instance.proof:
        logins.bind(instance)


@receiver(post_save, sender=RevokedSession)
@only_home
def login_ended(instance: RevokedSession, **kwargs: Any) -> None:
    services.end_login(instance.sid)


@receiver(login_renewed)
def login_goes_on(sid: str, jti: str, expires_at: datetime, **kwargs: Any) -> None:
    logins.renew(sid, jti, expires_at)


@receiver(user_logged_out)
def session_ended(request: Any, **kwargs: Any) -> None:
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        services.end_login(auth.digest(key))
