from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "holodrive.accounts"
    label = "accounts"
    verbose_name = _("Accounts")
    reads_where_it_writes = True  # holodrive/realtime/routing.py

    def ready(self) -> None:
        from holodrive.accounts import checks, personal  # noqa: F401 - they register themselves
