"""The thread of an HTTP request, and its place among those that work at once."""

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from time import monotonic
from typing import Any

from django.db import Error, connections

from holodrive.realtime.places import Places

_IDLE_SECONDS = 0.1  # between two calls of one request; then its place is another's


class RequestThread(Executor):
    """The thread of one request. It works while it has a place: from the request's first call (of a
    middleware, a view, the ORM) until there was none for a tenth of a second.
    """

    def __init__(self, address: str, places: Places, streams: Places) -> None:
        self.address = address
        self.is_streaming = False
        self._places, self._streams = places, streams
        self._held: list[Places] = []
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._calls: list[Callable[[], None]] = []  # that wait for the place
        self._worker: ThreadPoolExecutor | None = None
        self._has_asked = self._is_closed = False
        self._running = 0  # and those that wait
        self._ended_at = 0.0
        self._ident: int | None = None  # of the thread that works
        self._watcher: asyncio.TimerHandle | None = None

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        answered: Future[Any] = Future()
        run = functools.partial(self._call, answered, functools.partial(call, *args, **kwargs))
        with self._lock:
            self._running += 1
            if self._held and self._worker is not None:
                self._worker.submit(run)
                return answered
            self._calls.append(run)
            must_ask, self._has_asked = not self._has_asked, True
        if must_ask:
            self._ask()
        return answered

    def _ask(self) -> None:
        if not self.is_streaming:
            self._places.take(self.address, functools.partial(self._begin, [self._places]))
            return
        # A view that streams from an ordinary generator sleeps in its thread.
        both = functools.partial(self._begin, [self._places, self._streams])
        self._streams.take(self.address, lambda: self._places.take(self.address, both))

    def _begin(self, held: list[Places]) -> None:
        with self._lock:
            self._held, self._has_asked = held, False
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="request")
            for run in self._calls:
                self._worker.submit(run)
            self._calls.clear()
        with suppress(RuntimeError):  # the loop has ended, and everything with it
            self._loop.call_soon_threadsafe(self._watch)

    def _call(self, answered: Future[Any], call: Callable[[], Any]) -> None:
        tell: Callable[[], Any] = bool
        self._ident = threading.get_ident()
        if answered.set_running_or_notify_cancel():
            try:
                tell = functools.partial(answered.set_result, call())
            except BaseException as problem:  # noqa: BLE001 - it is whoever asked who handles it
                tell = functools.partial(answered.set_exception, problem)
        with self._lock:
            self._ended_at = monotonic()
            self._running -= 1
            is_over = self._is_closed and not self._running
        if is_over:
            self._end()
        elif self.is_streaming:
            self._rest()
        tell()

    # In the loop

    def _watch(self) -> None:
        """Whether the thread is idle, again and again while it has its place."""
        with self._lock:
            if self._is_closed or not self._held or self._worker is None:
                return
            if not self._running and monotonic() - self._ended_at >= _IDLE_SECONDS:
                self._worker.submit(self._rest)
            self._watcher = self._loop.call_later(_IDLE_SECONDS, self._watch)

    def close(self) -> None:
        """The request is over: its place is free once its thread has ended."""
        with self._lock:
            self._is_closed = True
            if self._watcher is not None:
                self._watcher.cancel()
            if not self._running and self._worker is not None:
                self._worker.submit(self._end)

    # In the thread

    def _rest(self) -> None:
        """Give the place back, if nothing that the thread has keeps it, until the next call. A
        stream's generator has its thread to itself until it ends; any other call may have another.
        """
        if not _put_away():
            return
        with self._lock:
            if self._running or self._is_closed:
                return
            held, self._held = self._held, []
            if self._worker is not None and not self.is_streaming and not _has_connection():
                self._worker.shutdown(wait=False)
                self._worker = None
        self._give_back(held)

    def _end(self) -> None:
        try:
            connections.close_all()
        finally:
            with self._lock:
                held, self._held = self._held, []
                if self._worker is not None:
                    self._worker.shutdown(wait=False)
            self._give_back(held)

    def _give_back(self, held: list[Places]) -> None:
        for places in held:
            places.give_back(self.address)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Around what this thread waits for and that needs no database: meanwhile its place is
        another's.
        """
        is_own = threading.get_ident() == self._ident and self._held == [self._places]
        if not is_own or not _put_away():
            yield
            return
        self._places.give_back(self.address)
        try:
            yield
        finally:
            granted = threading.Event()
            self._places.take(self.address, granted.set)
            granted.wait()


working: ContextVar[RequestThread | None] = ContextVar("request_thread", default=None)
current = working.get  # the request's that this code works for; None outside of one


def _put_away() -> bool:
    """Give this thread's connections back to their pools. False if one must stay: within a
    transaction, or under a cursor that is read on later.
    """
    opened = [each for each in connections.all(initialized_only=True) if each.connection]
    if any(each.in_atomic_block or not each.get_autocommit() for each in opened):
        return False
    # SQLite's is missing from no pool.
    opened = [each for each in opened if each.vendor != "sqlite"]
    if any(_has_cursor(each) for each in opened):
        return False
    for each in opened:
        with suppress(Error):  # it is lost, and noticed at its next use
            each.close()
    return True


def _has_cursor(connection: Any) -> bool:
    if connection.vendor != "postgresql" or connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"]:
        return False
    with suppress(Error), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_cursors LIMIT 1")
        return cursor.fetchone() is not None
    return False


def _has_connection() -> bool:
    return any(each.connection for each in connections.all(initialized_only=True))
