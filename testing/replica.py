"""A read replica that refuses every query, and the router that Django's documentation has for one.
Whatever works beside them asks the replica nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

REPLICA = "replica"
DATABASE = {"ENGINE": "django.db.backends.dummy"}  # any use of it raises ImproperlyConfigured


class PrimaryReplicaRouter:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return REPLICA

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, first: Any, second: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return True


@contextmanager
def beside_a_replica() -> Iterator[None]:
    """This process reads from the replica whatever may be read there."""
    from django.test import override_settings

    connections.settings[REPLICA] = connections.configure_settings({"default": {**DATABASE}})[
        "default"
    ]
    with override_settings(DATABASE_ROUTERS=[f"{__name__}.{PrimaryReplicaRouter.__name__}"]):
        yield
    del connections.settings[REPLICA]
