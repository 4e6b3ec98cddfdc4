"""What happens elsewhere and concerns devices: news come, are seen and read; logins end."""

from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_save
from django.dispatch import receiver

from holodrive.realtime import auth
from holodrive.realtime.models import RevokedSession
from notifications import hooks
from push import services


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


@receiver(post_save, sender=RevokedSession)
def login_ended(instance: RevokedSession, **kwargs: Any) -> None:
    services.end_login(instance.sid)


@receiver(user_logged_out)
def session_ended(request: Any, **kwargs: Any) -> None:
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        services.end_login(auth.digest(key))
