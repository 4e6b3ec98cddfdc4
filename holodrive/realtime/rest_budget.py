"""What one user, or one address without a login, may ask of REST: units of work, a second's share
at a time. Counted in this process only, as limits.py does, so that no request waits for it.

A request is one unit, and more for what it turns out to cost (rows, a search, a password): whoever
is in debt waits until it is paid.
"""

import threading
from collections.abc import Hashable
from time import monotonic
from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from holodrive.realtime.addresses import address_of_request
from holodrive.realtime.limits import Bucket, Buckets, Clock
from holodrive.realtime.recent_refusals import recent_refusals

SEARCH = 10
PASSWORD = 20  # forty at once of one address, a carrier's perhaps; hashing.py bounds what they cost
SCHEMA = 100
ROWS_OF_A_UNIT = 25

_BURST_SECONDS = 4  # of which the units may be spent at once
_STAFF = 5  # times a user's: a console asks for more
_ADDRESS = 10  # times a user's: thousands of riders share a carrier's address


class Budgets:
    """Buckets for threads; a user whose rate changes (a rider becomes staff) has another."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._lock = threading.Lock()
        self._buckets = Buckets(clock)

    def seconds_until_allowed(self, key: Hashable, rate: float) -> float:
        """0: now."""
        with self._lock:
            return self._of(key, rate).wait()

    def charge(self, key: Hashable, rate: float, cost: float) -> None:
        with self._lock:
            bucket = self._of(key, rate)
            bucket.wait()  # fills it
            bucket.take(cost)

    def _of(self, key: Hashable, rate: float) -> Bucket:
        return self._buckets.of((key, rate), rate, rate * _BURST_SECONDS)


_budgets = Budgets()


def charge(request: Request, cost: float) -> None:
    """Take that from the user who asks; it is refused to nobody, but the next request may be."""
    if settings.REALTIME_REQUESTS_PER_SECOND:
        view = (request.parser_context or {}).get("view")
        _budgets.charge(*_whose(request, view), cost)


class WithinBudget(BaseThrottle):
    """429 for whoever is in debt. A view's `work` is what it costs at least."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        if not settings.REALTIME_REQUESTS_PER_SECOND:
            return True
        key, rate = _whose(request, view)
        self._seconds = _budgets.seconds_until_allowed(key, rate)
        if not self._seconds:
            _budgets.charge(key, rate, getattr(view, "work", 1))
        elif (scope := getattr(request._request, "scope", None)) is not None:  # none under WSGI
            recent_refusals.note(address_of_request(request._request), scope, self._seconds)
        return not self._seconds

    def wait(self) -> float:
        return self._seconds


def _whose(request: Request, view: Any) -> tuple[Hashable, float]:
    """Of an address each view has a budget of its own: whoever tries passwords keeps no neighbour
    from a new token.
    """
    rate = settings.REALTIME_REQUESTS_PER_SECOND
    user: Any = request.user
    if user is None or not user.is_authenticated:
        address = address_of_request(request._request)
        return (type(view).__qualname__, address), rate * _ADDRESS
    return ("user", user.pk), rate * _STAFF if getattr(user, "is_staff", False) else rate
