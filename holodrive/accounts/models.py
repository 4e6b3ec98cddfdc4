"""Who uses HoloDrive. Everything else refers to it as AUTH_USER_MODEL only."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    class Role(models.TextChoices):
        ADMIN = "admin", "Admin"
        RIDER = "rider", "Rider"
        DRIVER = "driver", "Driver"

    role = models.CharField(max_length=10, choices=Role.choices, default=Role.RIDER)
