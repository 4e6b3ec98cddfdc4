"""Devices that a user gets pushes on."""

from typing import Any

from django.db import transaction

from holodrive.accounts.models import Device
from holodrive.realtime.wire import NotFound

MOST_DEVICES = 20  # of a user: an app that is installed anew has a new token, and forgets the old


def devices_of(user: Any) -> Any:
    return Device.objects.filter(user=user).order_by("id")


@transaction.atomic
def register_device(*, user: Any, platform: str, token: str) -> tuple[Device, bool]:
    """The user's device with this push token, and whether it is new. The oldest beyond 20 go."""
    device, created = Device.objects.update_or_create(
        user=user, token=token, defaults={"platform": platform}
    )
    kept = devices_of(user).order_by("-id").values_list("pk", flat=True)[:MOST_DEVICES]
    devices_of(user).exclude(pk__in=[*kept]).delete()
    return device, created


def remove_device(*, user: Any, device_id: int) -> None:
    """Raises NotFound."""
    deleted, _ = devices_of(user).filter(pk=device_id).delete()
    if not deleted:
        raise NotFound("There is no such device.")
