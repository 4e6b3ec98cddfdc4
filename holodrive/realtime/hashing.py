"""Checks of passwords take turns: each keeps a core busy for a third of a second, and sixteen at
once made everybody's requests wait 2.8 s.

Bounded where Django hashes, so that no way goes around it: the token endpoint, the admin's login,
a changed password, and a user that does not exist.
"""

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import get_hashers
from django.core.signals import setting_changed

from holodrive.realtime import metrics
from holodrive.realtime.places import Places
from holodrive.realtime.threads import current
from holodrive.realtime.wire import RateLimited, Unavailable

_PATIENCE = 15.0  # seconds
_WAITING, _WAITING_OF_ONE = 96, 32  # a thread each, without a place of requests
_here = threading.local()


def bound_hashers() -> None:
    """Half of the machine's cores, shared by its processes, may hash."""
    processes = max(1, settings.REALTIME_PROCESSES)
    most = max(1, (os.cpu_count() or 1) // (2 * processes))
    turns = Places(most, max(1, most // 2))
    metrics.hashes_waiting.read = lambda: turns.waiting

    def bind(setting: str = "PASSWORD_HASHERS", **kwargs: Any) -> None:
        if setting == "PASSWORD_HASHERS":
            for hasher in get_hashers():
                hasher.encode = _in_turn(turns, hasher.encode)  # type: ignore[method-assign]
                hasher.verify = _in_turn(turns, hasher.verify)  # type: ignore[method-assign]

    bind()
    # In tests: Django has made new ones by then, for its own receiver was connected first.
    setting_changed.connect(bind, weak=False, dispatch_uid="realtime.hashing")


def _in_turn(turns: Places, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if getattr(_here, "has_turn", False) or _is_event_loop():
            return function(*args, **kwargs)
        with _turn(turns):
            return function(*args, **kwargs)

    return run


def _is_event_loop() -> bool:
    """Django's `acheck_password` hashes there; waiting would stop whoever is to end the wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def _turn(turns: Places) -> Iterator[None]:
    thread = current()
    address = thread.address if thread else ""
    if turns.waiting_of(address) >= _WAITING_OF_ONE:
        raise RateLimited("Too many logins at once: try again in a moment.")
    if turns.waiting >= _WAITING:
        raise Unavailable("Too many logins at once: try again in a moment.")
    granted = threading.Event()
    turns.take(address, granted.set)
    if not granted.is_set():
        with thread.aside() if thread else nullcontext():
            if not granted.wait(_PATIENCE) and turns.withdraw(address, granted.set):
                raise RateLimited("Too many logins at once: try again in a moment.")
    try:
        _here.has_turn = True
        yield
    finally:
        _here.has_turn = False
        turns.give_back(address)
