"""The demo users, who are for development: their password is published."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import check_password
from django.core.checks import CheckMessage, Error, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError

from holodrive.realtime.checks import SERVING


@register("realtime", SERVING, deploy=True)
def check_demo_users(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """By `check --deploy --database default`, and when `serve` starts without DEBUG."""
    from holodrive.accounts.management.commands.demo import PASSWORD, PEOPLE

    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    users = get_user_model()._default_manager.using(DEFAULT_DB_ALIAS)
    try:
        known = list(users.filter(username__in=PEOPLE, is_active=True).order_by("username"))
    except DatabaseError:
        return []  # before the first migrate
    found = [user.get_username() for user in known if check_password(PASSWORD, user.password)]
    if not found:
        return []
    return [
        Error(
            f"The demo users {', '.join(found)} are in this database, with the password that is "
            "published.",
            hint=f"Give each another one (manage.py changepassword {found[0]}), or delete them.",
            id="accounts.E001",
        )
    ]
