from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "holodrive.accounts"
    label = "accounts"

    def ready(self) -> None:
        from holodrive.accounts import personal  # noqa: F401 - it registers itself
