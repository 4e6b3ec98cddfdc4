from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    name = "holodrive.realtime"
    label = "realtime"
