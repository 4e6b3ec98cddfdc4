"""Ends a server that may not start: with a line for each reason, and not with a traceback."""

import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from django.core.exceptions import ImproperlyConfigured

# gunicorn's WORKER_BOOT_ERROR: at any other code it starts workers for ever. uvicorn has it, too.
_DID_NOT_START = 3

T = TypeVar("T")


def configured(make: Callable[[], T]) -> T:
    """Return what `make` does, unless a setting is wrong."""
    try:
        return make()
    except ImproperlyConfigured as wrong:
        refuse(str(wrong))


def refuse(why: str) -> NoReturn:
    sys.stderr.write(f"error: {why}\n")
    sys.exit(_DID_NOT_START)
