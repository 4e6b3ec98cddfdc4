"""Django's own, with a name read as a login reads it: decomposed letters were refused."""

import os
from typing import Any, NamedTuple

from django.contrib.auth.management.commands import createsuperuser

from holodrive.realtime.tokens import as_typed


class _Typed(NamedTuple):
    """The field of the name, for what is typed at the prompt."""

    field: Any

    def clean(self, value: str, instance: None) -> Any:
        return self.field.clean(as_typed(value), instance)


class Command(createsuperuser.Command):
    def handle(self, *args: Any, **options: Any) -> Any:
        field = self.username_field.name
        said = options[field]
        if said is None and not options["interactive"]:
            said = os.environ.get(f"DJANGO_SUPERUSER_{field.upper()}")
        if said is not None:
            options[field] = as_typed(said)
        return super().handle(*args, **options)

    def get_input_data(self, field: Any, message: str, default: Any = None) -> Any:
        typed: Any = _Typed(field) if field is self.username_field else field
        return super().get_input_data(typed, message, default)
