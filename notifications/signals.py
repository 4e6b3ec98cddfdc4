"""Turns a saved Notification into its event, inside the transaction that saves it."""

from typing import Any

import msgspec
from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver
from django.utils import timezone

from holodrive.realtime import log
from notifications import events
from notifications.models import Notification, unread_counts


@receiver(pre_save, sender=Notification)
def remember_what_clients_know(instance: Notification, raw: bool = False, **kwargs: Any) -> None:
    """The stream is locked here, so what is read now is what the last event said."""
    if instance.status == Notification.Status.UNREAD:
        instance.read_at = None
    elif instance.read_at is None:
        instance.read_at = timezone.now()
    known = None
    if not instance._state.adding:
        row = Notification._base_manager.filter(pk=instance.pk).first()
        known = events.body(row) if row else None
    instance._known = known  # type: ignore[attr-defined]


@receiver(post_save, sender=Notification)
def append_event(instance: Notification, raw: bool = False, **kwargs: Any) -> None:
    known: events.NotificationBody | None = instance._known  # type: ignore[attr-defined]
    body = events.body(instance)
    if body == known:
        return
    unread = unread_counts([instance.recipient_id]).get(instance.recipient_id, 0)
    event: events.NotificationAdded | events.NotificationRead
    if known and body.status == "read" and body == msgspec.structs.replace(known, status="read"):
        event = events.NotificationRead(notification_id=instance.pk, unread_count=unread)
    else:
        event = events.NotificationAdded(notification=body, unread_count=unread)
    log.append(events.stream_of(instance.recipient_id), event)
