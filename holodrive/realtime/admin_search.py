"""The search of an admin's list: by one spelling, where a folded column has it."""

from collections.abc import Callable
from functools import partial, reduce
from operator import and_, or_
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import (
    NotRelationField,
    get_fields_from_path,
    get_model_from_relation,
    lookup_spawns_duplicates,
)
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models import Q
from django.http import HttpRequest

from holodrive.realtime import folding, names
from holodrive.realtime.folding import Word
from holodrive.realtime.searchable import folded_fields, in_column


class FoldedSearch(admin.ModelAdmin):  # type: ignore[type-arg]
    """Reads `search_fields` as Django does, but finds a text however it is spelled if there is a
    folded column of it, and the names of users. Each word of the query has to be in one of them.
    """

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        fields = [str(name) for name in self.get_search_fields(request)]
        words = folding.words(search_term)
        if not fields or not words:
            return queryset, False
        searches = [_search_of(self.model, name) for name in fields]
        found = (reduce(or_, (search(word) for search in searches)) for word in words)
        paths = (name.lstrip("^=@") for name in fields)
        repeats = any(lookup_spawns_duplicates(self.opts, path) for path in paths)
        return queryset.filter(reduce(and_, found)), repeats


_Search = Callable[[Word], Q]
_PREFIXES = {"^": "istartswith", "=": "iexact", "@": "search"}  # as Django reads them


def _search_of(model: type[models.Model], name: str) -> _Search:
    """What one of `search_fields` looks for."""
    if name[0] in _PREFIXES:
        return partial(_plainly, f"{name[1:]}__{_PREFIXES[name[0]]}")
    path, _, last = name.rpartition("__")
    prefix = f"{path}__" if path else ""
    try:
        owner = get_model_from_relation(get_fields_from_path(model, path)[-1]) if path else model
    except (FieldDoesNotExist, NotRelationField):  # it ends with a lookup
        return partial(_plainly, name)
    if issubclass(owner, get_user_model()) and last in names.fields():
        return partial(names.called, prefix)
    for field in folded_fields(owner):
        if last in field.sources:
            return lambda word: in_column(field, prefix, word.typed, word.phrases)
    return partial(_plainly, f"{name}__icontains")


def _plainly(lookup: str, word: Word) -> Q:
    """As typed or folded: an id may be in the digits of another script."""
    wanted = {word.typed, *word.phrases[:1]}
    return reduce(or_, (Q(**{lookup: text}) for text in sorted(wanted)))
