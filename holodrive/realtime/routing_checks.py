"""System checks of DATABASE_ROUTERS: what cannot work with several databases is refused."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.core import checks
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, models, router

from holodrive.realtime.routing import HOME, reads_where_it_writes

# These may have a database of their own: no row of ours is joined with theirs.
_APART = {"admin", "sessions"}
_NAMED = 3  # models in one message


@checks.register("realtime")
def check_routers(**kwargs: Any) -> list[CheckMessage]:
    """That rows, events and rights are in one database, whichever is read besides."""
    try:
        if not router.routers:
            return []
    except (ImportError, TypeError) as problem:
        return [Error(f"DATABASE_ROUTERS cannot be used: {problem}", id="realtime.E030")]
    found = [model for model in apps.get_models() if reads_where_it_writes(model)]
    ours = [model for model in found if model._meta.app_label not in _APART]
    return [
        *_written_elsewhere(ours),
        *_without_table(ours),
        *_not_related(ours),
        *_atomic_requests(),
    ]


def _written_elsewhere(ours: Iterable[type[models.Model]]) -> Iterator[CheckMessage]:
    by_database: dict[str, list[str]] = defaultdict(list)
    for model in ours:
        by_database[router.db_for_write(model)].append(model._meta.label)
    for database, names in by_database.items():
        if database != HOME:
            yield Error(
                f"DATABASE_ROUTERS writes {_list(names)} to {database!r}, and not to {HOME!r}.",
                hint="Rows, their events and the rights to see them are stored by one transaction: "
                f"call the database that is written to {HOME!r}, and let db_for_write return it.",
                id="realtime.E031",
            )


def _without_table(ours: Iterable[type[models.Model]]) -> Iterator[CheckMessage]:
    names = [model._meta.label for model in ours if not router.allow_migrate_model(HOME, model)]
    if names:
        yield Error(
            f"DATABASE_ROUTERS allows no table of {_list(names)} in {HOME!r}.",
            hint=f"Let allow_migrate return True or None for {HOME!r}.",
            id="realtime.E032",
        )


def _not_related(ours: Iterable[type[models.Model]]) -> Iterator[CheckMessage]:
    names = [
        f"{model._meta.label}.{field.name}"
        for model in ours
        for field in model._meta.concrete_fields
        if field.is_relation and not _may_relate(field.related_model, model)
    ]
    if names:
        yield Error(
            f"DATABASE_ROUTERS forbids {_list(names)}.",
            hint=f"Let allow_relation return True or None for two rows of {HOME!r}.",
            id="realtime.E033",
        )


def _atomic_requests() -> Iterator[CheckMessage]:
    for database, known in connections.settings.items():
        if database != HOME and known["ATOMIC_REQUESTS"]:
            yield Warning(
                f"ATOMIC_REQUESTS is on for {database!r}: every request opens a transaction there.",
                hint="Turn it off: our views do not need that database, and would fail with it.",
                id="realtime.W030",
            )


def _may_relate(*pair: Any) -> bool:
    """Whether two rows that were read from home may be related, as Django asks it."""
    rows = [model() for model in pair]
    for row in rows:
        row._state.db = HOME
    return bool(router.allow_relation(*rows))


def _list(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
