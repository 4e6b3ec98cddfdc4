from django.apps import AppConfig
from django.conf import settings
from django.utils.translation import gettext_lazy as _

# What a project that does not set these gets. holodrive/settings.py reads each from a variable.
DEFAULTS = {"NOTIFICATIONS_READ_DAYS": 0}


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = _("Notifications")
    default_auto_field = "django.db.models.BigAutoField"
    reads_where_it_writes = True  # holodrive/realtime/routing.py

    def ready(self) -> None:
        for name, value in DEFAULTS.items():
            if not hasattr(settings, name):
                setattr(settings, name, value)
        from notifications import (  # noqa: F401 - they register themselves
            checks,
            personal,
            restoration,
            retention,
            signals,
        )
