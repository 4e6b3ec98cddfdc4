"""Django's own, with a name read as a login reads it."""

from typing import Any

from django.contrib.auth.management.commands import changepassword

from holodrive.realtime.tokens import as_typed


class Command(changepassword.Command):
    def handle(self, *args: Any, **options: Any) -> Any:
        if options["username"]:
            options["username"] = as_typed(options["username"])
        return super().handle(*args, **options)
