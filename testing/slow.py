"""Settings of a server whose every query takes 50 ms, as a busy database far away would."""

import time
from typing import Any

from django.db.backends.signals import connection_created

from holodrive.settings import *  # noqa: F403


def _wait(execute: Any, *args: Any) -> Any:
    time.sleep(0.05)
    return execute(*args)


def _slow_down(connection: Any, **kwargs: Any) -> None:
    if _wait not in connection.execute_wrappers:  # a pooled connection is announced at each use
        connection.execute_wrappers.append(_wait)


connection_created.connect(_slow_down)
