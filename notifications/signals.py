"""Turns a saved Notification into its event, inside the transaction that saves it."""

from collections.abc import Collection
from typing import Any

import msgspec
from django.utils import timezone

from holodrive.realtime import log
from holodrive.realtime.published import completes, publishes
from notifications import events, hooks
from notifications.models import Notification, unread_counts


@completes(Notification)
def remember_what_clients_know(
    instance: Notification, update_fields: Collection[str] | None
) -> None:
    """The stream is locked here, so what is read now is what the last event said."""
    if instance.status == Notification.Status.UNREAD:
        instance.read_at = None
    elif instance.read_at is None:
        instance.read_at = timezone.now()
    instance._known = None if instance._state.adding else _stored(instance)  # type: ignore[attr-defined]


@publishes(Notification)
def append_event(instance: Notification, raw: bool = False, **kwargs: Any) -> None:
    if raw:  # loaddata brings rows, not news
        return
    known: events.NotificationBody | None = instance._known  # type: ignore[attr-defined]
    # After an update the row is asked: of a save with `update_fields` the instance knows only part.
    body = events.body(instance) if known is None else _stored(instance)
    if body is None or body == known:
        return
    unread = unread_counts([instance.recipient_id]).get(instance.recipient_id, 0)
    event: events.NotificationAdded | events.NotificationRead
    if known and body.status == "read" and body == msgspec.structs.replace(known, status="read"):
        event = events.NotificationRead(notification_id=instance.pk, unread_count=unread)
    else:
        event = events.NotificationAdded(notification=body, unread_count=unread)
    log.append(events.stream_of(instance.recipient_id), event)
    if known is None:
        hooks.added.send(Notification, rows=[instance])
    elif isinstance(event, events.NotificationRead):
        hooks.read.send(Notification, user_id=instance.recipient_id, ids=[instance.pk])
    else:
        hooks.edited.send(Notification, row=instance)


def _stored(instance: Notification) -> events.NotificationBody | None:
    row = Notification._base_manager.filter(pk=instance.pk).first()
    return events.body(row) if row else None
