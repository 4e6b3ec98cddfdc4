"""Tells every process that somebody's right to be connected may have ended, after the commit.

What sends no signal (`QuerySet.update`, a change of a group's permissions, a session row deleted)
is noticed by `Hub.judge_all`.
"""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import receiver
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from holodrive.realtime import auth, publish, tokens
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.routing import only_home

_User = get_user_model()


def _doubt(*doubts: publish.Doubt) -> None:
    transaction.on_commit(lambda: publish.announce(doubts=doubts), robust=True)


@receiver(post_save, sender=_User)
@only_home
def user_saved(
    instance: Any, created: bool, update_fields: Any = None, raw: bool = False, **kwargs: Any
) -> None:
    """Deactivated, a new password, another role: whoever listens looks which."""
    if not created and not raw and set(update_fields or ()) != {"last_login"}:
        _doubt(publish.Doubt("user", instance.pk))


@receiver(pre_save, sender=_User)
@only_home
def password_changes(
    instance: Any, update_fields: Any = None, raw: bool = False, **kwargs: Any
) -> None:
    """Before the new one is stored: a refresh in between is of the old one, and so refused."""
    is_written = update_fields is None or "password" in update_fields
    if raw or not is_written or not api_settings.CHECK_REVOKE_TOKEN or instance._state.adding:
        return
    if "password" in instance.get_deferred_fields():
        return
    if _User._base_manager.filter(pk=instance.pk).exclude(password=instance.password).exists():
        tokens.end_unmarked(instance)


@receiver(post_delete, sender=_User)
@only_home
def user_deleted(instance: Any, **kwargs: Any) -> None:
    _doubt(publish.Doubt("user", instance.pk))


@only_home
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
@only_home
def login_ended(instance: RevokedSession, **kwargs: Any) -> None:
    _doubt(publish.Doubt("login", instance.sid))


@receiver(user_logged_out)
def session_ended(request: Any, **kwargs: Any) -> None:
    """The session still exists while this signal is sent: its sockets are not judged but closed."""
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        _doubt(publish.Doubt("session", auth.digest(key)))


@receiver(pre_save, sender=OutstandingToken)
def token_stored(instance: OutstandingToken, **kwargs: Any) -> None:
    """Whoever reads the table must not be able to log in with what stands there. simplejwt itself
    looks tokens up by their `jti` alone.
    """
    instance.token = instance.jti
