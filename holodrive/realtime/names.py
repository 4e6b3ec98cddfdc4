"""What people are found by: their names, in a table of ours. A column in the table of users would
have to be the project's own.

A save of a user keeps it. What sends no signal (`bulk_create`, `update`, plain SQL) is found as it
is spelled, until `manage.py prune` looks at all names.
"""

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.auth import get_user_model
from django.db import (
    DEFAULT_DB_ALIAS,
    OperationalError,
    ProgrammingError,
    connections,
    transaction,
)
from django.db.models import Q
from django.db.models.signals import post_save

from holodrive.realtime import folding, personal
from holodrive.realtime.models import SearchName
from holodrive.realtime.published import receiver_of
from holodrive.realtime.searchable import contains

_FOLDED = "realtime_name__folded"


def fields() -> list[str]:
    """The fields of this project's users that a name is looked for in."""
    model: Any = get_user_model()
    has = {field.name for field in model._meta.get_fields()}
    return [name for name in (model.USERNAME_FIELD, "first_name", "last_name") if name in has]


def folded(user: Any) -> str:
    """Of these fields, and of the name that is shown: a project may make it of others."""
    said = [getattr(user, name, None) for name in fields()]
    shown = user.get_full_name() if hasattr(user, "get_full_name") else None
    return folding.stored(*(str(text) for text in [*said, shown] if text))


def remember(users: Iterable[Any], using: str | None = None) -> None:
    """Store what these users are found by."""
    rows = [SearchName(user_id=user.pk, folded=folded(user)) for user in users]
    SearchName.objects.using(using).bulk_create(
        rows, update_conflicts=True, unique_fields=["user"], update_fields=["folded"]
    )


@receiver_of(post_save, get_user_model())
def user_saved(
    instance: Any, update_fields: Any = None, using: str | None = None, **kwargs: Any
) -> None:
    if set(update_fields or ()) != {"last_login"}:
        _remember_if_possible(instance, using)


def _remember_if_possible(user: Any, using: str | None) -> None:
    """A migration of the project may make users before it is the turn of ours."""
    try:
        with transaction.atomic(using=using):
            remember([user], using)
    except (ProgrammingError, OperationalError):
        tables = connections[using or DEFAULT_DB_ALIAS].introspection.table_names()
        if SearchName._meta.db_table in tables:
            raise


def called(prefix: str, word: folding.Word) -> Q:
    """Users at this path (`user__`) with the word in one of their names."""
    typed = (Q(**{f"{prefix}{name}__icontains": word.typed}) for name in fields())
    return reduce(or_, typed, contains(f"{prefix}{_FOLDED}", word.phrases))


def stale() -> Iterator[Any]:
    """Ids of the users whose name is stored otherwise than it is now, or not at all."""
    users = get_user_model()._default_manager.select_related("realtime_name")
    for batch in personal.in_batches(users):
        for user in batch:
            known = getattr(user, "realtime_name", None)
            if known is None or known.folded != folded(user):
                yield user.pk
