from django.apps import AppConfig


class AsyncapiConfig(AppConfig):
    name = "holodrive.asyncapi"
    verbose_name = "AsyncAPI"
