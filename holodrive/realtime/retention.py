"""What is kept for how long. Each app registers its kinds of old rows; `manage.py prune` deletes
them in batches, each a transaction of its own: no lock is held for long, and a run that was
interrupted can go on. Who is told of something meanwhile comes first: a batch that loses a deadlock
starts over.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import models, transaction
from django.db.models.deletion import Collector
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from holodrive.realtime import keyring, log
from holodrive.realtime.models import Event, RevokedSession, Ticket


class Old(NamedTuple):
    """Rows that nobody can ask for any more. `delete` takes ids of them, inside a transaction."""

    what: str
    rows: models.QuerySet[Any]
    delete: Callable[[Sequence[int]], object]


_kinds: dict[str, Callable[[], Old | None]] = {}


def register(name: str, find: Callable[[], Old | None]) -> None:
    """`find` says what is old now; None if this kind is kept for ever."""
    _kinds[name] = find


def names() -> list[str]:
    return list(_kinds)


def old(name: str) -> Old | None:
    return _kinds[name]()


def delete(old: Old, at_once: int) -> Iterator[int]:
    """Delete them all, oldest ids first; after each batch, how many that were."""
    last = 0
    while ids := list(
        old.rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:at_once]
    ):
        _delete_batch(old, ids)
        yield len(ids)
        last = ids[-1]


@log.retrying
def _delete_batch(old: Old, ids: Sequence[int]) -> None:
    with transaction.atomic():
        old.delete(ids)


def with_everything_below(model: type[models.Model], ids: Sequence[int]) -> None:
    """Delete rows and what belongs to them, past the guards of published models: for what no app
    shows any more.
    """
    collector = Collector(using="default")
    collector.collect(list(model._base_manager.filter(pk__in=ids)))
    collector.delete()


def before(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)


def _events() -> Old | None:
    if not (days := settings.REALTIME_LOG_DAYS):
        return None
    rows = Event.objects.filter(created_at__lt=before(days))
    return Old(f"events older than {days} days", rows, _plainly(Event))


def _plainly(model: type[models.Model]) -> Callable[[Sequence[int]], object]:
    return lambda ids: model._base_manager.filter(pk__in=ids).delete()


def _expired(model: type[models.Model], what: str) -> Callable[[], Old]:
    return lambda: Old(
        what, model._base_manager.filter(expires_at__lt=timezone.now()), _plainly(model)
    )


def _expired_tokens() -> Old:
    """Not before a token is refused for its age: its row may be what says that it was used up."""
    expired = timezone.now() - keyring.ring().get_leeway()
    rows = OutstandingToken.objects.filter(expires_at__lt=expired)
    return Old("refresh tokens that have expired", rows, _plainly(OutstandingToken))


def _whole_tokens() -> Old:
    """Stored by a process of an older release, or past `save()`. The rows stay, with the jti."""
    rows = OutstandingToken.objects.exclude(token=models.F("jti"))
    return Old("texts of refresh tokens that were stored whole", rows, _forget_text)


def _forget_text(ids: Sequence[int]) -> None:
    OutstandingToken.objects.filter(pk__in=ids).update(token=models.F("jti"))


register("events", _events)
register("logins", _expired(RevokedSession, "ended logins whose tokens have expired"))
register("tokens", _expired_tokens)
register("token-texts", _whole_tokens)
register("tickets", _expired(Ticket, "tickets that nobody came with"))
