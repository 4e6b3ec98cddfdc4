"""What a person was notified of goes, with the log of it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from holodrive.realtime import personal, retention
from holodrive.realtime.models import Event
from notifications import events, services
from notifications.models import Notification


def _notifications(user: Any) -> personal.Kind:
    own = Notification.objects.filter(recipient=user)
    sent = Event.objects.filter(stream__name=events.stream_of(user.pk))

    def rows() -> Iterator[personal.Row]:
        services.settle([user.pk])
        for batch in personal.in_batches(own):
            for row in batch:
                yield msgspec.to_builtins(events.body(row))

    def erase(at_once: int) -> Iterator[int]:
        while ids := list(own.order_by("pk").values_list("pk", flat=True)[:at_once]):
            retention.with_everything_below(Notification, ids)
            personal.forget_in_admin(Notification, ids)
            yield len(ids)
        while ids := list(sent.order_by("pk").values_list("pk", flat=True)[:at_once]):
            Event.objects.filter(pk__in=ids).delete()
            yield 0

    return personal.Kind("notifications", rows, own.count, erase)


personal.register("notifications", _notifications)
