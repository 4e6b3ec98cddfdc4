"""Slows down the guessing of passwords: counts failed logins by account and address, and by
address.

From an address with too many failures the right password still gets in, for a carrier's riders
share one; what bounds spraying then is in docs/explanation/decisions.md.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from django.conf import settings
from django.core.cache import BaseCache, caches
from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed, Throttled

from holodrive.accounts import names
from holodrive.realtime.addresses import address_of_request
from holodrive.realtime.places import Places
from holodrive.realtime.threads import current

WINDOW = 15 * 60  # seconds; the counts begin anew with each
# Of an address over its limit, each account has three tries, and all of them thirty in thirty
# seconds. Who logged in from there in the last fifteen days has the usual ones.
_TRIES, _ALL_TRIES, _ALL_SECONDS = 3, 30, 30
_SOON = 5  # seconds until another try of those is worth while
_KNOWN_SECONDS = 15 * 86_400
_RUN_SECONDS = 60  # that a login takes at most; of one whose process was killed nothing stays
_PATIENCE, _POLL = 30.0, 0.05  # seconds
_WAITING, _WAITING_FOR_ONE = 96, 32  # attempts of a process, and for one count: a thread each

_REASON = "Too many failed logins."
_OVER = "Too many failed logins from this address: only the right password gets in."
_BUSY = "Too many logins at the same moment."

_waiting = Places(_WAITING, _WAITING_FOR_ONE)


@contextmanager
def login_attempt(
    request: HttpRequest, username: str, failure: type[Exception] = AuthenticationFailed
) -> Iterator[None]:
    """Around one check of a password, which ends without an exception only if it was right. Raises
    Throttled instead when there were too many failures.

    An attempt holds a place from its beginning, and keeps it when it ends in `failure`: so many at
    the same moment do not all slip through, and right ones wait for one another.
    """
    attempt = _begun(address_of_request(request), names.account(username))
    try:
        yield
    except failure as wrong:
        attempt.failed()
        if attempt.is_last_resort:  # the same answer as to those that were not looked at
            raise Throttled(wait=attempt.seconds_left, detail=_OVER) from wrong
        raise
    except BaseException:
        attempt.given_up()
        raise
    attempt.succeeded()


def _begun(address: str, account: str) -> "_Attempt":
    """The counts are in Redis, for all processes; without it in this process."""
    try:
        return _Attempt(caches["default"], address, account)
    except Throttled:
        raise
    except Exception:  # noqa: BLE001 - a login must not fail with Redis
        return _Attempt(caches["process"], address, account)


class _Attempt:
    """One check of a password, counted. Raises Throttled if it may not be made."""

    def __init__(self, cache: BaseCache, address: str, account: str) -> None:
        window, passed = divmod(time.time(), WINDOW)
        self.seconds_left = WINDOW - int(passed)
        self.is_last_resort = False
        self._cache = cache
        self._known = f"login.known.{_digest(f'{address} {account}')}"
        own = f"login.{int(window)}.{_digest(f'{address} {account}')}"
        most = settings.LOGIN_FAILURES_PER_USER
        self._address = _Count(cache, f"login.{int(window)}.{_digest(address)}")
        if self._address.is_full():
            self.is_last_resort = cache.get(self._known) is None
            most = min(most or _TRIES, _TRIES) if self.is_last_resort else most
        self._places = [_Place(cache, own, most, self.seconds_left)] if most else []
        for place in self._places:
            place.take(Throttled(wait=self.seconds_left, detail=_REASON))
        if not self._address.add():
            self._join_the_last(address)

    def _join_the_last(self, address: str) -> None:
        if not self.is_last_resort and self._cache.get(self._known) is not None:
            return
        self.is_last_resort = True
        place = _Place(self._cache, f"login.{_digest(address)}", _ALL_TRIES, _ALL_SECONDS)
        try:
            # Wait beside many right ones, not behind a flood of wrong ones: each wait has a thread.
            place.take(Throttled(wait=_SOON, detail=_OVER), at_least=_ALL_TRIES // 2)
        except Throttled:
            self.given_up()
            raise
        self._places.append(place)

    def failed(self) -> None:
        for place in self._places:
            _try(place.keep)

    def given_up(self) -> None:
        for place in self._places:
            _try(place.free)
        _try(self._address.forgive)

    def succeeded(self) -> None:
        self.given_up()
        if settings.LOGIN_FAILURES_PER_ADDRESS:
            _try(self._cache.set, self._known, 1, _KNOWN_SECONDS)


class _Place:
    """One of `most` places: a key of the cache each, which one atomic `add` takes. A failure keeps
    its place for `seconds`; a refused attempt never had one, so it prolongs nothing and leaves
    nothing.
    """

    _RUNS, _FAILED = 1, 2

    def __init__(self, cache: BaseCache, name: str, most: int, seconds: int) -> None:
        self._cache = cache
        self._name = name
        self._keys = [f"{name}.{number}" for number in range(most)]
        self._seconds = seconds
        self._mine = ""

    def take(self, refusal: Throttled, at_least: int = 1) -> None:
        """Wait while so many run that may free theirs. Raises the refusal once they do not."""
        if not self._is_taken(refusal, at_least):
            with _waiting_aside(self._name):
                give_up_at = time.monotonic() + _PATIENCE
                while not self._is_taken(refusal, at_least):
                    if time.monotonic() > give_up_at:
                        raise Throttled(wait=1, detail=_BUSY)
                    time.sleep(_POLL)

    def _is_taken(self, refusal: Throttled, at_least: int) -> bool:
        taken = self._cache.get_many(self._keys)
        for key in self._keys:
            if key not in taken and self._cache.add(key, self._RUNS, _RUN_SECONDS):
                self._mine = key
                return True
        running = list(taken.values()).count(self._RUNS)
        if len(taken) == len(self._keys) and running < at_least:
            raise refusal
        return False

    def keep(self) -> None:
        self._cache.set(self._mine, self._FAILED, self._seconds)

    def free(self) -> None:
        self._cache.delete(self._mine)


@contextmanager
def _waiting_aside(name: str) -> Iterator[None]:
    """Wait without a place of requests: three addresses that guess would have them all."""
    begun, thread = threading.Event(), current()
    _waiting.take(name, begun.set)
    if not begun.is_set() and _waiting.withdraw(name, begun.set):
        raise Throttled(wait=1, detail=_BUSY)
    with ExitStack() as stack:
        stack.callback(_waiting.give_back, name)
        if thread is not None:
            stack.enter_context(thread.aside())
        yield


class _Count:
    """The failures of an address. It never stands above the limit."""

    def __init__(self, cache: BaseCache, key: str) -> None:
        self._cache, self._key = cache, key
        self._most = settings.LOGIN_FAILURES_PER_ADDRESS
        self._added = False

    def is_full(self) -> bool:
        return bool(self._most) and self._cache.get(self._key, 0) >= self._most

    def add(self) -> bool:
        """Whether there was room for one more."""
        if not self._most:
            return True
        if self.is_full():
            return False
        self._cache.add(self._key, 0, WINDOW + _RUN_SECONDS)  # it outlives who is under way
        self._added = self._cache.incr(self._key) <= self._most
        if not self._added:
            self._cache.decr(self._key)
        return self._added

    def forgive(self) -> None:
        if self._added:
            self._cache.decr(self._key)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]


def _try(change: Callable[..., Any], *args: Any) -> None:
    with suppress(Exception):  # Redis went away: what is left there expires
        change(*args)
