"""Columns that are searched by one spelling (`folding.py`), stored together with what they are of.

Null in one means: not folded yet. A process of the release before has stored the row, a fixture, or
plain SQL. A search finds those as they are spelled, and `manage.py prune` folds them.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Any, TypeVar

from django.db import connections, models, transaction
from django.db.models import Q

from holodrive.realtime import folding

M = TypeVar("M", bound=models.Model)

NOTHING = Q(pk__in=[])


class FoldedField(models.TextField):  # type: ignore[type-arg]
    """The texts of other fields of the row, folded. Follows them at every save."""

    def __init__(self, *sources: str, **options: Any) -> None:
        self.sources = sources
        super().__init__(**options | {"null": True, "editable": False})

    def deconstruct(self) -> Any:
        name, path, _, options = super().deconstruct()
        return name, path, self.sources, options

    def pre_save(self, model_instance: models.Model, add: bool) -> str | None:
        text = self.of(model_instance)
        setattr(model_instance, self.attname, text)
        return text

    def of(self, row: models.Model) -> str | None:
        """None where only the database knows: `row.subject = Upper("subject")`."""
        texts = [getattr(row, name) for name in self.sources]
        if any(hasattr(text, "resolve_expression") for text in texts):
            return None
        return folding.stored(*(str(text or "") for text in texts))


def folded_fields(model: type[models.Model]) -> list[FoldedField]:
    return [one for one in model._meta.local_concrete_fields if isinstance(one, FoldedField)]


def with_folded(model: type[models.Model], fields: Iterable[str]) -> set[str]:
    """These fields to be stored, and what is folded of them."""
    names = {*fields}
    return names | {one.name for one in folded_fields(model) if not names.isdisjoint(one.sources)}


def changes(model: type[models.Model], **values: Any) -> dict[str, Any]:
    """The values of an UPDATE, and what is folded of them: null where only the database knows."""
    for field in folded_fields(model):
        if field.name in values or not {*field.sources} & values.keys():
            continue
        texts = [values.get(name) for name in field.sources]
        is_known = all(isinstance(text, str) for text in texts)
        values[field.name] = folding.stored(*map(str, texts)) if is_known else None
    return values


class FoldedQuerySet(models.QuerySet[M]):
    def update(self, **values: Any) -> int:
        return super().update(**changes(self.model, **values))

    def bulk_create(
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[M]:
        """A row that was there is folded anew, too."""
        if update_fields:
            update_fields = with_folded(self.model, update_fields)
        return super().bulk_create(
            objs, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
        )

    def bulk_update(self, objs: Iterable[M], fields: Iterable[str], *args: Any, **more: Any) -> int:
        rows, names = list(objs), with_folded(self.model, fields)
        for field in folded_fields(self.model):
            for row in rows if field.name in names else ():
                field.pre_save(row, add=False)
        return super().bulk_update(rows, names, *args, **more)


class Searchable(models.Model):
    """A model with folded columns: they are stored whenever one of their sources is."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        fields = kwargs.get("update_fields")
        if fields is not None:
            kwargs["update_fields"] = with_folded(type(self), fields)
        else:
            for field in folded_fields(type(self)):
                # Django does not store what a query has deferred.
                self.__dict__.setdefault(field.attname, None)
        super().save(*args, **kwargs)


# Searches


def contains(path: str, phrases: Iterable[str]) -> Q:
    """Any of them in the folded column at this path."""
    return reduce(or_, (Q(**{f"{path}__contains": phrase}) for phrase in phrases), NOTHING)


def in_column(field: FoldedField, prefix: str, typed: str, phrases: Iterable[str]) -> Q:
    """In a folded column of what `prefix` leads to; in its sources while it is not folded."""
    column = f"{prefix}{field.name}"
    sources = (Q(**{f"{prefix}{name}__icontains": typed}) for name in field.sources)
    not_yet = Q(**{f"{column}__isnull": True}) & reduce(or_, sources)
    return contains(column, phrases) | not_yet


def mentions(model: type[models.Model], text: str) -> Q:
    """Rows of this model that have the text, spelled in whatever way."""
    phrases = folding.phrases(text)
    return reduce(or_, (in_column(one, "", text, phrases) for one in folded_fields(model)))


# What is not folded yet


def fold_pending(model: type[models.Model], using: str, at_once: int = 1000) -> Iterator[int]:
    """Fold all that is not, oldest ids first; after each batch, how many that were. For migrations
    too: `model` may be one of theirs.
    """
    for field in folded_fields(model):
        rows = model._base_manager.using(using).filter(**{field.name: None}).order_by("pk")
        last: Any = None
        while ids := list(_after(rows, last).values_list("pk", flat=True)[:at_once]):
            refold(model, ids, using)
            last = ids[-1]
            yield len(ids)


def _after(rows: Any, last: Any) -> Any:
    return rows if last is None else rows.filter(pk__gt=last)


def refold(model: type[models.Model], ids: Sequence[Any], using: str) -> None:
    """Fold these rows by what they say now. Rows that are being written are passed over: that
    write folds them, or the next run does.
    """
    connection = connections[using]
    passes_over = connection.features.has_select_for_update_skip_locked
    with transaction.atomic(using=using):
        rows = model._base_manager.using(using).filter(pk__in=ids).order_by("pk")
        _store(model, list(rows.select_for_update(skip_locked=passes_over, of=("self",))), using)


def _store(model: type[models.Model], rows: Collection[models.Model], using: str) -> None:
    quote, key = connections[using].ops.quote_name, model._meta.pk
    assert key is not None
    for field in folded_fields(model):
        sql = (
            f"UPDATE {quote(model._meta.db_table)} SET {quote(field.column)} = %s"  # noqa: S608
            f" WHERE {quote(key.column)} = %s"
        )
        values = [(field.of(row), key.get_db_prep_save(row.pk, connections[using])) for row in rows]
        if values:
            with connections[using].cursor() as cursor:
                cursor.executemany(sql, values)
