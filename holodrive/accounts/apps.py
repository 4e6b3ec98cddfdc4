from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "holodrive.accounts"
    label = "accounts"
