from django.apps import AppConfig
from django.conf import settings
from django.utils.translation import gettext_lazy as _

# What a project that does not set these gets. holodrive/settings.py reads each from a variable.
DEFAULTS = {
    "PUSH_BACKENDS": {},
    "PUSH_DELAY_SECONDS": 5.0,
    "PUSH_FCM_CREDENTIALS": "",
    "PUSH_MANDATORY_CATEGORIES": [],
    "PUSH_SHOWN_DAYS": 30,
    "PUSH_VAPID_PRIVATE_KEY": "",
    "PUSH_VAPID_SUBJECT": "",
    "PUSH_WEB_HOSTS": [
        "fcm.googleapis.com",
        "updates.push.services.mozilla.com",
        ".notify.windows.com",
        ".push.apple.com",
    ],
}


class PushConfig(AppConfig):
    name = "push"
    verbose_name = _("Push")
    default_auto_field = "django.db.models.BigAutoField"
    reads_where_it_writes = True  # holodrive/realtime/routing.py

    def ready(self) -> None:
        for name, value in DEFAULTS.items():
            if not hasattr(settings, name):
                setattr(settings, name, value)
        from push import checks, personal, retention, signals, worker  # noqa: F401 - by themselves
