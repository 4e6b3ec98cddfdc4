"""After an older state of the database was restored: what clients and tokens remember from later
must mean nothing, or something else would be taken for it.

A client whose `last_seq` the restored stream has not reached yet would, once it has, be told that
it missed nothing. And a token that names a user who is not there any more would be that of whoever
gets the number next. So every stream goes on, and every id is counted on, behind a gap that is
larger than anything that can have been lost.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator

from django.apps import apps
from django.db import connection, models, transaction
from django.db.models import F, Max

from holodrive.realtime import log
from holodrive.realtime.models import Stream
from holodrive.realtime.personal import in_batches
from holodrive.realtime.routing import HOME

GAP = 1_000_000_000  # of 2^53, up to which a number in JSON is exact: nine million restores

_NUMBER = re.compile("[0-9]+")  # the id in a stream's name
_LOOKED_AT = 1000  # of the newest numbered rows: a restore leaves the newest ones wrong
_streams: list[tuple[Callable[[int], str], type[models.Model]]] = []
_numbered: list[tuple[Callable[[int], str], type[models.Model], str]] = []


def register(
    stream_of: Callable[[int], str],
    model: type[models.Model],
    numbered: type[models.Model] | None = None,
) -> None:
    """Each row of that model has a stream of this name, made of its id; rows of `numbered`, which
    refer to it by its name, keep the `seq` of their event.
    """
    _streams.append((stream_of, model))
    if numbered is not None:
        _numbered.append((stream_of, numbered, f"{model._meta.model_name}_id"))


def behind() -> Iterator[str]:
    """Streams whose next number one of their rows has already, as far as the newest rows show: a
    part of the database was restored without the other.
    """
    for stream_of, model, owner in _numbered:
        rows = model._base_manager.order_by("-pk").values_list(owner, "seq")[:_LOOKED_AT]
        newest: dict[str, int] = {}
        for id, seq in rows:
            newest[stream_of(id)] = max(seq, newest.get(stream_of(id), 0))
        heads = log.heads(newest)
        yield from (name for name, seq in newest.items() if heads.get(name, 0) < seq)


def ids_in(names: Collection[str], stream_of: Callable[[int], str]) -> list[int]:
    """Return the ids whose streams are among these."""
    numbers = {int(found[0]) for name in names if (found := _NUMBER.search(name))}
    return [number for number in numbers if stream_of(number) in names]


def _used(names: Collection[str]) -> dict[str, int]:
    """Where streams without an event go on whose rows were restored without them (by `loaddata` of
    chat alone): after a gap, so that no number is given twice and every client reloads.
    """
    last: dict[str, int] = {}
    for stream_of, model, owner in _numbered:
        ids = ids_in(names, stream_of)
        rows = model._base_manager.using(HOME).filter(**{f"{owner}__in": ids}).values_list(owner)
        for id, seq in rows.annotate(Max("seq")):  # none, without a query, for no ids
            last[stream_of(id)] = seq + GAP
    return last


log.goes_on_after(_used)


def owners() -> int:
    return sum(model._base_manager.count() for _, model in _streams)


def create_missing_streams(at_once: int = 1000) -> Iterator[int]:
    """Also of what had no event yet when the backup was made: it may have had some since."""
    for stream_of, model in _streams:
        for batch in in_batches(model._base_manager.only("pk"), at_once):
            rows = (Stream(name=stream_of(row.pk)) for row in batch)
            Stream.objects.bulk_create(rows, ignore_conflicts=True)
            yield len(batch)


def advance_streams(at_once: int = 1000) -> Iterator[int]:
    """Where a client's `last_seq` is now, no event is, and none will be: it reloads."""
    for batch in in_batches(Stream.objects.only("pk"), at_once):
        ids = [row.pk for row in batch]
        yield Stream.objects.filter(pk__in=ids).update(head=F("head") + GAP)


@transaction.atomic
def advance_ids() -> int:
    """No id that was given away since the backup is given away again. How many tables that are."""
    tables = [model._meta for model in apps.get_models() if _has_large_id(model)]
    names = sorted((meta.db_table, meta.pk.column) for meta in tables if meta.pk is not None)
    advance = _advance_sqlite if connection.vendor == "sqlite" else _advance_postgresql
    advance(names)
    return len(names)


def _has_large_id(model: type[models.Model]) -> bool:
    return isinstance(model._meta.pk, models.BigAutoField) and model._meta.managed


def _advance_postgresql(tables: Iterable[tuple[str, str]]) -> None:
    with connection.cursor() as cursor:
        for table, column in tables:
            cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [f'"{table}"', column])
            (sequence,) = cursor.fetchone()
            # The server has quoted the name.
            cursor.execute(
                f"SELECT setval(%s, (SELECT last_value FROM {sequence}) + %s)",  # noqa: S608
                [sequence, GAP],
            )


def _advance_sqlite(tables: Iterable[tuple[str, str]]) -> None:
    with connection.cursor() as cursor:
        for table, _ in tables:
            cursor.execute(
                "UPDATE sqlite_sequence SET seq = seq + %s WHERE name = %s", [GAP, table]
            )
            if not cursor.rowcount:  # never used yet
                cursor.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, GAP]
                )
