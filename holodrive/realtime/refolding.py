"""Has `manage.py prune` fold what a search would not find, or finds by a text that is gone: written
by a process of the release before, or past `save()`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS, models
from django.db.models import Q

from holodrive.realtime import names, personal, retention, searchable
from holodrive.realtime.searchable import FoldedField, folded_fields

_MOST = 10_000  # ids in one statement: the next run has the rest
_EDITED_DAYS = 7  # the release before went on editing until its last process ended


def _of(model: type[models.Model], field: FoldedField) -> retention.Old:
    rows = model._base_manager.all()
    emptied = Q(**dict.fromkeys(field.sources, "")) & ~Q(**{field.name: ""})
    edited = islice(_edited(rows, field), _MOST)
    wrong = Q(**{field.name: None}) | emptied | Q(pk__in=list(edited))
    return retention.Old(
        f"search texts of the {model._meta.verbose_name_raw} that were not those of its rows",
        rows.filter(wrong),
        lambda ids: searchable.refold(model, ids, DEFAULT_DB_ALIAS),
    )


def _edited(rows: Any, field: FoldedField) -> Iterator[Any]:
    """Ids of rows with another text than what is folded of them."""
    if not any(one.name == "edited_at" for one in rows.model._meta.concrete_fields):
        return
    lately = rows.filter(edited_at__gt=retention.before(_EDITED_DAYS))
    for batch in personal.in_batches(lately):
        for row in batch:
            if getattr(row, field.attname) not in (None, field.of(row)):
                yield row.pk


def _of_names() -> retention.Old:
    users = get_user_model()._default_manager
    return retention.Old(
        "search texts of users that were not those of their names",
        users.filter(pk__in=list(islice(names.stale(), _MOST))),
        _remember,
    )


def _remember(ids: Sequence[Any]) -> None:
    names.remember(get_user_model()._default_manager.filter(pk__in=ids))


retention.register("search-names", _of_names)
for _model in apps.get_models():
    for _field in folded_fields(_model):
        retention.register(
            f"search-{_model._meta.model_name}",
            partial(_of, _model, _field),
        )
