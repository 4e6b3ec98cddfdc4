"""Each user has a stream."""

from collections.abc import Collection

from django.contrib.auth import get_user_model

from holodrive.realtime import log, restoration
from holodrive.realtime.routing import HOME
from notifications import events
from notifications.models import Notification

restoration.register(events.stream_of, get_user_model())


def _used(names: Collection[str]) -> dict[str, int]:
    """Where the streams of users go on who have notifications and no event: those were restored
    without them.
    """
    ids = restoration.ids_in(names, events.stream_of)
    rows = Notification._base_manager.using(HOME).filter(recipient__in=ids).order_by()
    found = rows.values_list("recipient", flat=True).distinct()
    return {events.stream_of(id): restoration.GAP for id in found}


log.goes_on_after(_used)
