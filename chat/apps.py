from django.apps import AppConfig
from django.conf import settings
from django.utils.translation import gettext_lazy as _

# What a project that does not set these gets. holodrive/settings.py reads each from a variable.
DEFAULTS = {
    "CHAT_OWN_NUMBERS": (),
    "CHAT_PHONE_REGION": "UZ",
    "CHAT_REPLY_NEEDS_PERMISSION": False,
    "CHAT_TRIP_DAYS": 0,
}


class ChatConfig(AppConfig):
    name = "chat"
    verbose_name = _("Chat")
    default_auto_field = "django.db.models.BigAutoField"
    reads_where_it_writes = True  # holodrive/realtime/routing.py

    def ready(self) -> None:
        for name, value in DEFAULTS.items():
            if not hasattr(settings, name):
                setattr(settings, name, value)
        from chat import (  # noqa: F401 - they register themselves
            checks,
            endings,
            oversight,
            personal,
            restoration,
            retention,
            signals,
        )
