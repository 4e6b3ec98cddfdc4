"""Slows down the guessing of passwords: counts failed logins by user name and address, and by
address.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.cache import BaseCache, caches
from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed, Throttled

from holodrive.realtime.addresses import client_address

WINDOW = 15 * 60  # seconds; the counts begin anew with each
_REASON = "Too many failed logins."


@contextmanager
def login_attempt(
    request: HttpRequest, username: str, failure: type[Exception] = AuthenticationFailed
) -> Iterator[None]:
    """Around one check of a password; raises Throttled instead when there were too many failures.

    An attempt counts from its beginning, and is forgiven when it ends in anything but `failure`: so
    many at the same moment do not all slip through.
    """
    address = client_address(request.META.get("REMOTE_ADDR"), request.META.get("HTTP_X_REAL_IP"))
    limits = {
        f"{address} {username}": settings.LOGIN_FAILURES_PER_USER,
        address: settings.LOGIN_FAILURES_PER_ADDRESS,
    }
    counts = _Counts()
    for name, limit in limits.items():  # who is over his own limit does not use up the address's
        if limit and counts.add(name) > limit:
            raise Throttled(wait=counts.seconds_left, detail=_REASON)
    try:
        yield
    except failure:
        raise
    except BaseException:
        counts.forgive()
        raise
    counts.forgive()


class _Counts:
    """One attempt's counters. They are in Redis, for all processes; without it in this process."""

    def __init__(self) -> None:
        window, passed = divmod(time.time(), WINDOW)
        self.seconds_left = WINDOW - int(passed)
        self._window = int(window)
        self._counted: list[tuple[BaseCache, str]] = []

    def add(self, name: str) -> int:
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
        key = f"login.{self._window}.{digest}"
        try:
            return self._count(caches["default"], key)
        except Exception:  # noqa: BLE001 - a login must not fail with Redis
            return self._count(caches["process"], key)

    def _count(self, cache: BaseCache, key: str) -> int:
        cache.add(key, 0, WINDOW)
        count: int = cache.incr(key)
        self._counted.append((cache, key))
        return count

    def forgive(self) -> None:
        for cache, key in self._counted:
            try:
                cache.decr(key)
            except Exception:  # noqa: BLE001, S112 - then it was away, or the window is over
                continue
