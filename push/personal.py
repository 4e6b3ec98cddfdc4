"""A person's devices, and what they want to be told there; what is to be told goes with the
notifications.
"""

from holodrive.realtime import personal
from push.models import Preference, QuietHours
from push.services import devices_of

personal.removed("devices", devices_of, "platform", "name", "token", "created_at", "renewed_at")
personal.removed(
    "push_preferences",
    lambda user: Preference.objects.filter(user=user),
    "category",
    "channel",
    "is_enabled",
)
personal.removed(
    "quiet_hours",
    lambda user: QuietHours.objects.filter(user=user),
    "start",
    "end",
    "time_zone",
)
