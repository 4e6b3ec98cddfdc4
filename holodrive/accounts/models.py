"""Who uses HoloDrive. Everything else refers to it as AUTH_USER_MODEL only."""

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from holodrive.realtime.characters import isolated


class User(AbstractUser):
    class Role(models.TextChoices):
        ADMIN = "admin", _("Admin")
        RIDER = "rider", _("Rider")
        DRIVER = "driver", _("Driver")

    role = models.CharField(_("role"), max_length=10, choices=Role.choices, default=Role.RIDER)

    def __str__(self) -> str:
        """For the sentences of the admin."""
        return isolated(self.get_username())


class Device(models.Model):
    """Those of before `push.Device`, which has them all. Nothing reads or writes here; the table
    goes once no process of that release runs any more.
    """

    class Platform(models.TextChoices):
        ANDROID = "android", "Android"
        IOS = "ios", "iOS"
        WEB = "web", "Web"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="devices")
    platform = models.CharField(max_length=10, choices=Platform.choices)
    token = models.CharField(max_length=512)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "token"], name="device_once")
        ]

    def __str__(self) -> str:
        return f"{self.get_platform_display()} of {self.user}"
