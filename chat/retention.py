"""Trips are old `CHAT_TRIP_DAYS` after they have closed: their messages go with them."""

from collections.abc import Sequence

from django.conf import settings

from chat import events, note_events
from chat.models import Conversation
from holodrive.realtime import log, retention
from holodrive.realtime.models import Stream


def _closed_trips() -> retention.Old | None:
    if not (days := settings.CHAT_TRIP_DAYS):
        return None
    return retention.Old(
        f"trips closed more than {days} days ago, with their messages",
        Conversation.objects.filter(
            kind=Conversation.Kind.TRIP, closes_at__lt=retention.before(days)
        ),
        _delete,
    )


def _delete(ids: Sequence[int]) -> None:
    """All locks first, and in one order: participants would take them one by one."""
    streams = [events.stream_of(id) for id in ids] + [note_events.stream_of(id) for id in ids]
    with log.writing(*streams):
        retention.with_everything_below(Conversation, ids)
    Stream.objects.filter(name__in=streams).delete()


retention.register("trips", _closed_trips)
