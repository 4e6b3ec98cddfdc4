"""The base of all our admins: a list takes no lookup on a field that it neither shows nor filters
by. Django's own takes any local field, so `?original__startswith=9` reads what is hidden digit by
digit. And nothing that decides what is shown or changed is read from a replica.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import BaseModelAdmin, IncorrectLookupParameters
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.admin.widgets import AutocompleteSelect, url_params_from_lookup_dict
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import DataError
from django.db.models import Field
from django.http import HttpRequest

from holodrive.realtime import routing
from holodrive.realtime.admin_search import FoldedSearch

# What a list asks of a field that it filters by, and of one that it only shows. Neither has a
# pattern: of a field that is shown, it would find no more than the search does, and cost more.
_OF_FILTERS = ("exact", "in", "isnull", "isempty", "gt", "gte", "lt", "lte", "year", "month", "day")
_OF_SHOWN = ("exact", "in", "isnull")
# What a number of an address is that no column holds. Django knows only some of them.
_NO_NUMBER = (OverflowError, ValueError, DataError)


class Completed(AutocompleteSelect):
    """Shows a value that is no key, of an address or a form, as none: Django's fails."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        key = self.field.target_field
        return super().optgroups(name, [one for one in value if _is_of(key, one)], attr)


class FreshRights(BaseModelAdmin):  # type: ignore[type-arg]
    """Permissions are asked of what is written, also where a backend of the project decides."""

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            widget = Completed(db_field, self.admin_site, using=kwargs.get("using"))
            kwargs.setdefault("widget", widget)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_module_permission(self, request: HttpRequest) -> bool:
        with routing.fresh_reads():
            return super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        with routing.fresh_reads():
            return super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest, *of: Any) -> bool:
        with routing.fresh_reads():
            return super().has_add_permission(request, *of)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        with routing.fresh_reads():
            return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        with routing.fresh_reads():
            return super().has_delete_permission(request, obj)


class StrictLookups(FreshRights, FoldedSearch):
    # What completes a field of a form searches these, if not `search_fields`: it shows no more of a
    # row than its `str`, so a search for a text would answer what it does not show.
    completed_by: ClassVar[tuple[str, ...] | None] = None

    def get_search_fields(self, request: HttpRequest) -> Any:
        match = request.resolver_match
        if self.completed_by is None or match is None or match.url_name != "autocomplete":
            return super().get_search_fields(request)
        return self.completed_by

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        try:
            return super().get_changelist_instance(request)
        except _NO_NUMBER as problem:
            raise IncorrectLookupParameters(problem) from problem  # Django shows the list again

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        try:
            return super().get_object(request, object_id, from_field)
        except _NO_NUMBER:
            return None

    def response_action(self, request: HttpRequest, queryset: Any) -> Any:
        """Run an action on what was ticked. What is no key was not: Django's own fails on it."""
        form: Any = request.POST.copy()
        ticked = form.getlist(ACTION_CHECKBOX_NAME)
        form.setlist(ACTION_CHECKBOX_NAME, [one for one in ticked if _is_of(self.opts.pk, one)])
        request.POST = form
        return super().response_action(request, queryset)

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """Whether the query string of a list may have it; Django answers 400 if not."""
        return lookup in {*self._offered(request)} or self._limits_choices(lookup, value)

    def _offered(self, request: HttpRequest | None) -> Iterator[str]:
        yield from _lookups("pk", None, _OF_SHOWN)
        yield from _lookups(self.opts.pk.name, None, _OF_SHOWN)
        shown: Any = self.list_display if request is None else self.get_list_display(request)
        for name in shown:
            if isinstance(name, str) and (field := self._field(name)) is not None:
                yield from _lookups(name, field, _OF_SHOWN)
        filters: Any = self.list_filter if request is None else self.get_list_filter(request)
        for one in (self.date_hierarchy, *filters):
            path: Any = one[0] if isinstance(one, list | tuple) else one
            if isinstance(path, str):
                yield from _lookups(path, self._field(path), _OF_FILTERS)
            elif name := getattr(path, "parameter_name", None):
                yield name

    def _field(self, path: str) -> Any:
        """What is at the end of a path; None if that is no field, as a column may be a method."""
        try:
            return get_fields_from_path(self.model, path)[-1]
        except FieldDoesNotExist:
            return None

    def _limits_choices(self, lookup: str, value: str) -> bool:
        """Whether it comes from a foreign key's `limit_choices_to`, as in the pop-up of raw ids."""
        for choices in self.opts.related_fkey_lookups:
            known = url_params_from_lookup_dict(choices() if callable(choices) else choices)
            if (lookup, value) in known.items():
                return True
        return False


def _is_of(field: Any, text: str) -> bool:
    """Return whether the column of a key can hold it."""
    while field.is_relation:
        field = field.target_field
    try:
        field.clean(text, None)
    except ValidationError:
        return False
    return True


def _lookups(path: str, field: "Field[Any, Any] | None", lookups: tuple[str, ...]) -> Iterator[str]:
    """The field itself and, of a relation, the key of what it leads to: never another of its
    fields.
    """
    yield from (path, *(f"{path}__{lookup}" for lookup in lookups))
    if field is not None and field.is_relation and hasattr(field, "target_field"):
        key = f"{path}__{field.target_field.name}"
        yield from (key, f"{key}__exact", f"{key}__in")
