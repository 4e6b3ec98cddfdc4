"""Requests whose user or address a view has just refused, recognized before Django sees the next.

A view's 429 costs a thread, a token check and a query. At 300 a second, one user over their budget
kept a whole core busy with refusals.
"""

import math
from collections.abc import Hashable, Iterator
from time import monotonic

from holodrive.realtime.cors import is_preflight
from holodrive.realtime.credentials import Scope
from holodrive.realtime.limits import Clock

_CREDENTIALS = (b"authorization", b"cookie")
_MOST = 10_000  # refusals that are remembered; more are refused by their views again
_LONGEST = 10.0  # seconds: a debt may be larger, but an answer of a view must say so now and then


class RecentRefusals:
    """Until when which requests are refused. Used in threads and in the event loop: each operation
    on the dictionary is atomic.
    """

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._until: dict[Hashable, float] = {}

    def note(self, address: str, scope: Scope, seconds: float) -> None:
        """Refuse what shows the same credential under the same first part of the path for that
        long; without a credential, the same path from the same address.
        """
        now = self._clock()
        if len(self._until) >= _MOST:
            self._until = {key: until for key, until in self._until.items() if until > now}
        if len(self._until) < _MOST:
            self._until[_shown(address, scope)] = now + min(seconds, _LONGEST)

    def seconds_left(self, address: str, scope: Scope) -> int:
        """Return the seconds to wait, rounded up; 0 if the request may go on to its view."""
        if not self._until or is_preflight(scope):
            return 0
        key = _shown(address, scope)
        until = self._until.get(key)
        if until is None:
            return 0
        left = until - self._clock()
        if left <= 0:
            self._until.pop(key, None)
        return max(0, math.ceil(left))


def _shown(address: str, scope: Scope) -> Hashable:
    """A hash, so that no credential stays in memory."""
    path: str = scope["path"]
    credentials = tuple(_values(scope))
    return hash((address, credentials, path.split("/", 2)[1] if credentials else path))


def _values(scope: Scope) -> Iterator[bytes]:
    return (value for key, value in scope.get("headers", ()) if key.lower() in _CREDENTIALS)


recent_refusals = RecentRefusals()
