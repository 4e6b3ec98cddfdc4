"""What staff may see of other people's notifications in the admin: some quote what another app
guards, which says here who may read it and writes down who did.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from notifications.models import Notification


class Source(NamedTuple):
    """An app that notifies of its own objects. `looked` is called with a user and their ids; what
    it raises keeps them from being shown.
    """

    object_type: str
    notification_types: frozenset[str]
    may_read: Callable[[Any], bool]
    looked: Callable[..., None]


_sources: list[Source] = []


def register(source: Source) -> None:
    _sources.append(source)


def readable_by(user: Any, rows: Any) -> Any:
    for source in _sources:
        if not source.may_read(user):
            rows = rows.exclude(related_object_type=source.object_type)
            rows = rows.exclude(notification_type__in=source.notification_types)
    return rows


def looked(user: Any, rows: Iterable[Notification]) -> None:
    """That they are about to be shown to this user."""
    rows = list(rows)
    for source in _sources:
        shown = [row for row in rows if row.related_object_type == source.object_type]
        if ids := {row.related_object_id for row in shown if row.related_object_id is not None}:
            source.looked(user, *ids)


def is_of_an_app(notification_type: str, object_type: str = "") -> bool:
    """Whether it is in an app's own name: a person can neither write nor rewrite one."""
    return any(
        object_type == source.object_type or notification_type in source.notification_types
        for source in _sources
    )
