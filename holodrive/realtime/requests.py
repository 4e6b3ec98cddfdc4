"""HTTP requests and their threads: so many work at once, the others wait without one.

Django gives each request a thread, and with it a connection: unbounded, a burst of slow requests
would take every connection of the pool, and no socket could be opened. A place is held while a
request's thread works, and not around the whole request: an event stream, a long poll or a client
that reads slowly has a socket, and neither thread nor connection.
"""

from collections import Counter
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.core.handlers.asgi import ASGIHandler

from holodrive.realtime import answers, metrics
from holodrive.realtime.addresses import address_of_scope
from holodrive.realtime.bodies import BoundedBodies
from holodrive.realtime.credentials import ASGIApp, Scope
from holodrive.realtime.places import Places
from holodrive.realtime.recent_refusals import recent_refusals
from holodrive.realtime.streams import read_in_turns
from holodrive.realtime.threads import RequestThread, working

_OPEN, _OPEN_OF_ONE = 4000, 1000  # requests of a process, and of one address: a socket each


class BoundedRequests:
    """An ASGI wrapper around Django: the threads of `most` requests work at once, and of one
    address's at most three quarters of them. Of the places half may be streams' (streams.py).
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        if isinstance(app, ASGIHandler):
            read_in_turns(app)
        self._app = BoundedBodies(app)
        self._places = Places(most, most - most // 4)
        self._streams = Places(max(1, most // 2), most)
        self._open: Counter[str] = Counter()
        metrics.requests_running.read = lambda: self._places.taken
        metrics.requests_waiting.read = lambda: self._places.waiting
        metrics.requests_open.read = self._open.total

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        address = address_of_scope(scope)
        if seconds := recent_refusals.seconds_left(address, scope):
            await answers.refuse(scope, send, 429, seconds)
        elif self._open[address] >= _OPEN_OF_ONE:
            await answers.refuse(scope, send, 429)
        elif self._open.total() >= _OPEN:
            await answers.refuse(scope, send, 503)
        else:
            await self._run(address, scope, receive, send)

    async def _run(self, address: str, scope: Scope, receive: Any, send: Any) -> None:
        thread = RequestThread(address, self._places, self._streams)
        token = working.set(thread)
        self._open[address] += 1
        try:
            async with ThreadSensitiveContext() as context:
                # Django's own context, within, finds this one and makes no thread of its own.
                SyncToAsync.context_to_thread_executor[context] = thread
                try:
                    await self._app(scope, receive, send, address)
                finally:
                    SyncToAsync.context_to_thread_executor.pop(context, None)
        finally:
            thread.close()
            working.reset(token)
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]
