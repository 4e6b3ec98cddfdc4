"""Database routing for projects that have several databases.

A replica lags: a change that is compared with stale rows publishes nothing, and an ended login is
let in. So our own models, and those that rights come from, are read from the database that they are
written to, whatever DATABASE_ROUTERS say about reads.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from functools import wraps
from typing import Any, ParamSpec

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import DEFAULT_DB_ALIAS, models, router

P = ParamSpec("P")

# The log's, and so that of every row whose save is an event: both are stored by one transaction.
HOME = DEFAULT_DB_ALIAS

# Of Django and simplejwt. Any other app, of the project too, says `reads_where_it_writes = True` in
# its AppConfig.
_APPS = {"admin", "auth", "contenttypes", "django_cache", "sessions", "token_blacklist"}

_is_fresh: ContextVar[bool] = ContextVar("fresh_reads", default=False)


class WrongDatabaseError(ValueError):
    """A write that would put a row into one database and its event into another."""


@contextmanager
def fresh_reads() -> Iterator[None]:
    """Read all other models, too, from the database that they are written to: those that the
    project's receivers, authentication backends and permissions ask.
    """
    before = _is_fresh.get()
    _is_fresh.set(True)
    try:
        yield
    finally:
        _is_fresh.set(before)


def has_perm(user: Any, permission: str) -> bool:
    """Return whether the user has the permission, also where a backend of the project decides."""
    with fresh_reads():
        return bool(user.has_perm(permission))


def reads_where_it_writes(model: Any) -> bool:
    """Return whether a model must never be read from a replica."""
    owner = getattr(model._meta, "auto_created", None) or model  # the table of a ManyToManyField
    label = owner._meta.app_label
    config = apps.app_configs.get(label)
    return label in _APPS or getattr(config, "reads_where_it_writes", False) or _is_login(owner)


def _is_login(model: type[models.Model]) -> bool:
    """Return whether it is a session, or the user model or a parent, child or proxy of it."""
    user: type[models.Model] = get_user_model()
    if model._meta.label_lower == settings.AUTH_USER_MODEL.lower():  # that of a migration as well
        return True
    return issubclass(model, (user, AbstractBaseSession)) or issubclass(user, model)


# As Django defines them.
_read, _write, _allow_relation = router.db_for_read, router.db_for_write, router.allow_relation


def install() -> None:
    """Put these rules in front of DATABASE_ROUTERS, around Django's own `router`. In that list they
    would have to come first, and a project that forgot them would lose events silently.
    """
    router.db_for_read = _db_for_read  # type: ignore[method-assign]
    router.db_for_write = _db_for_write  # type: ignore[method-assign]
    router.allow_relation = _may_relate  # type: ignore[assignment, method-assign]


def _db_for_read(model: Any, **hints: Any) -> str:
    if not router.routers:
        return _read(model, **hints)
    if reads_where_it_writes(model):
        return _db_for_write(model)
    if _is_fresh.get():
        target = _write(model, **hints)
        # A router for a read-only database names it for reads alone.
        if model._meta.managed and router.allow_migrate_model(target, model):
            return target
    return _read(model, **hints)


def _db_for_write(model: Any, **hints: Any) -> str:
    """Ignore hints for our models: the user of an order that was read from the replica is on the
    primary.
    """
    if router.routers and reads_where_it_writes(model):
        return _write(model)
    return _write(model, **hints)


def _may_relate(first: Any, second: Any, **hints: Any) -> bool:
    """Allow relations between rows of a replica and of its primary if no router forbids them."""
    if _allow_relation(first, second, **hints):
        return True
    of_ours = reads_where_it_writes(type(first)) or reads_where_it_writes(type(second))
    if not router.routers or not of_ours:
        return False
    return bool(_allow_relation(_as_written(first), _as_written(second), **hints))


def _as_written(row: Any) -> Any:
    """Return a copy of the row that looks read from the database that it is written to."""
    twin, state = object.__new__(type(row)), copy(row._state)
    state.db = _db_for_write(type(row))
    twin.__dict__ = {**row.__dict__, "_state": state}
    return twin


def require_home(model: type[models.Model], using: str) -> None:
    """Raise WrongDatabaseError if rows of this model are about to be written anywhere else."""
    if using != HOME:
        raise WrongDatabaseError(
            f"{model.__name__} is written to the database {HOME!r}, where its events are, and not "
            f"to {using!r}, which `using`, DATABASE_ROUTERS, or where the row was read asked for. "
            f"Make copies by dumpdata and loaddata --database {using}."
        )


def only_home(receiver: Callable[P, None]) -> Callable[P, None]:
    """Make a receiver ignore rows of other databases: `user.delete(using="archive")` does not
    delete that user here.
    """

    @wraps(receiver)
    def receive(*args: P.args, **kwargs: P.kwargs) -> None:
        if kwargs.get("using", HOME) == HOME:
            receiver(*args, **kwargs)

    return receive


class HomeModel(models.Model):
    """A model whose rows are saved nowhere but where the log is. (loaddata calls Django's own
    `save_base`, and publishes nothing.)
    """

    class Meta:
        abstract = True

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        require_home(type(self), using)
        super().save_base(*args, **kwargs)
