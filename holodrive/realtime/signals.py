"""Tells every process that somebody's right to be connected may have ended, after the commit.

What sends no signal (`QuerySet.update`, a session row deleted) is noticed by `Hub.judge_all`.
"""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import Signal, receiver
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from holodrive.realtime import auth, publish, tokens
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.published import receiver_of
from holodrive.realtime.routing import only_home

_User = get_user_model()
# user_ids: whose rights may have ended; None: of whoever has them by a group, which does not say
# who that is. Inside the transaction of the change.
rights_changed = Signal()


def _doubt(*doubts: publish.Doubt) -> None:
    transaction.on_commit(lambda: publish.announce(doubts=doubts), robust=True)


@receiver_of(post_save, _User)
@only_home
def user_saved(
    instance: Any, created: bool, update_fields: Any = None, raw: bool = False, **kwargs: Any
) -> None:
    """Deactivated, a new password, another role: whoever listens looks which."""
    if not created and not raw and set(update_fields or ()) != {"last_login"}:
        _rights_changed(instance.pk)


def _rights_changed(*user_ids: Any) -> None:
    _doubt(*(publish.Doubt("user", id) for id in user_ids))
    rights_changed.send(_User, user_ids=user_ids)


def _rights_of_groups_changed() -> None:
    _doubt(publish.Doubt("staff", None))
    rights_changed.send(_User, user_ids=None)


@receiver_of(pre_save, _User)
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


@receiver_of(post_delete, _User)
@only_home
def user_deleted(instance: Any, **kwargs: Any) -> None:
    _doubt(publish.Doubt("user", instance.pk))


@only_home
def permissions_changed(
    instance: Any, action: str, model: Any, pk_set: set[int] | None = None, **kwargs: Any
) -> None:
    if not action.startswith("post_"):
        return
    if isinstance(instance, _User):
        _rights_changed(instance.pk)
    elif model is _User and pk_set is not None:
        _rights_changed(*pk_set)
    else:  # a group's permissions; or all have left it
        _rights_of_groups_changed()


for _through in (
    Group.permissions.through,
    *(
        getattr(_User, name).through
        for name in ("groups", "user_permissions")
        if hasattr(_User, name)  # of PermissionsMixin: not every user has them
    ),
):
    m2m_changed.connect(permissions_changed, sender=_through)


@receiver(post_delete, sender=Group)
@receiver(post_delete, sender=Permission)
@receiver(post_save, sender=Permission)
@only_home
def permission_is_gone(created: bool = False, raw: bool = False, **kwargs: Any) -> None:
    """With its group, or by itself; or it is another one now."""
    if not created and not raw:
        _rights_of_groups_changed()


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
