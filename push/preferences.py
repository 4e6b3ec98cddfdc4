"""What of a notification's category may reach which of its recipient's devices, and when. Reads
only.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.conf import settings

from push.models import Device, Preference, QuietHours
from push.quiet import end_of_quiet

logger = logging.getLogger("push")


class Wishes:
    """Of these users, by two queries."""

    def __init__(self, user_ids: Iterable[int]) -> None:
        users = set(user_ids)
        refused = Preference.objects.filter(user__in=users, is_enabled=False)
        self._refused = set(refused.values_list("user", "category", "channel"))
        self._quiet = {row.user_id: row for row in QuietHours.objects.filter(user__in=users)}

    def allowed(self, devices: Sequence[Device], category: str) -> list[Device]:
        """Those of these devices that their users want this category on."""
        if is_mandatory(category):
            return list(devices)
        return [
            device
            for device in devices
            if (device.user_id, category, device.channel) not in self._refused
        ]

    def quiet_until(self, user_id: int, category: str, now: datetime) -> datetime | None:
        quiet = self._quiet.get(user_id)
        if quiet is None or is_mandatory(category):
            return None
        try:
            return end_of_quiet(quiet.start, quiet.end, quiet.time_zone, now)
        except ValueError as problem:  # stored past our checks: it must not hold up other users
            logger.warning("The quiet hours of user %s count for nothing: %s", user_id, problem)
            return None


def is_mandatory(category: str) -> bool:
    """Reaches everybody at any hour: safety, say."""
    return category in settings.PUSH_MANDATORY_CATEGORIES
