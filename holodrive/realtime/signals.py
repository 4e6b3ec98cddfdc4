"""Tells every process that somebody's right to be connected may have ended, after the commit.

What sends no signal (`QuerySet.update`, a change of a group's permissions, a session row deleted)
is noticed by `Hub.judge_all`.
"""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import receiver

from holodrive.realtime import auth, publish
from holodrive.realtime.models import RevokedSession

_User = get_user_model()


def _doubt(*doubts: publish.Doubt) -> None:
    transaction.on_commit(lambda: publish.announce(doubts=doubts), robust=True)


@receiver(post_save, sender=_User)
def user_saved(
    instance: Any, created: bool, update_fields: Any = None, raw: bool = False, **kwargs: Any
) -> None:
    """Deactivated, a new password, another role: whoever listens looks which."""
    if not created and not raw and set(update_fields or ()) != {"last_login"}:
        _doubt(publish.Doubt("user", instance.pk))


@receiver(post_delete, sender=_User)
def user_deleted(instance: Any, **kwargs: Any) -> None:
    _doubt(publish.Doubt("user", instance.pk))


def permissions_changed(
    instance: Any, action: str, pk_set: set[int] | None = None, **kwargs: Any
) -> None:
    if action.startswith("post_"):
        users = [instance.pk] if isinstance(instance, _User) else pk_set or ()
        _doubt(*(publish.Doubt("user", user) for user in users))


for _relation in ("groups", "user_permissions"):  # of PermissionsMixin: not every user has them
    if hasattr(_User, _relation):
        m2m_changed.connect(permissions_changed, sender=getattr(_User, _relation).through)


@receiver(post_save, sender=RevokedSession)
def login_ended(instance: RevokedSession, **kwargs: Any) -> None:
    _doubt(publish.Doubt("login", instance.sid))


@receiver(user_logged_out)
def session_ended(request: Any, **kwargs: Any) -> None:
    """The session still exists while this signal is sent: its sockets are not judged but closed."""
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        _doubt(publish.Doubt("session", auth.digest(key)))
