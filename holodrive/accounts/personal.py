"""The table of devices of before still has them."""

from holodrive.accounts.models import Device
from holodrive.realtime import personal

personal.removed(
    "old_devices", lambda user: Device.objects.filter(user=user), "platform", "token", "created_at"
)
