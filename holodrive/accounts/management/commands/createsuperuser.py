"""Django's own, with a name read as a login reads it: decomposed letters were refused."""

import os
from typing import Any

from django.contrib.auth.management.commands import createsuperuser

from holodrive.realtime.tokens import as_typed


class Command(createsuperuser.Command):
    def handle(self, *args: Any, **options: Any) -> Any:
        field = self.username_field.name
        said = options[field]
        if said is None and not options["interactive"]:
            said = os.environ.get(f"DJANGO_SUPERUSER_{field.upper()}")
        if said is not None:
            options[field] = as_typed(said)
        return super().handle(*args, **options)
