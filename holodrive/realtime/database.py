"""The way from the event loop to the database: a bounded pool of threads that keep their
connections.

Channels' own way runs every query of the process on one thread: a query of 1 s delayed an unrelated
socket 953 ms, and of 200 simultaneous connects with a 50 ms login 86 succeeded.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from holodrive.realtime import metrics, routing, tracing
from holodrive.realtime.requests import BoundedRequests as BoundedRequests
from holodrive.realtime.wire import Unavailable

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


@functools.cache
def executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.REALTIME_DATABASE_THREADS, thread_name_prefix="realtime-db")


def queued() -> int:
    """Calls that wait for a thread."""
    return executor()._work_queue.qsize()


def pool() -> dict[str, int] | None:
    """PostgreSQL's connections of this process; None where there is no pool (yet)."""
    pools = getattr(connection, "_connection_pools", {})
    if connection.alias not in pools:
        return None
    figures = pools[connection.alias].get_stats()
    return {
        "size": figures.get("pool_size", 0),
        "most": figures.get("pool_max", 0),
        "free": figures.get("pool_available", 0),
        "waiting": figures.get("requests_waiting", 0),
        "waited_ms": figures.get("requests_wait_ms", 0),
    }


metrics.pool_wait.read = lambda: (pool() or {}).get("waited_ms", 0) / 1000


async def in_database(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function of the ORM in a thread of the pool; its exceptions come back to the caller."""
    call = functools.partial(_run, time.monotonic(), function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(executor(), tracing.in_thread(call))


# Away, locked for too long, full, or without a connection to lend: not the client's fault, and over
# some time.
FAULTS = (OperationalError, InterfaceError)


def unavailable(problem: Exception) -> Unavailable:
    """What a client is told of one of FAULTS, which is counted and logged in one line: an outage
    meets every client, and a traceback each would bury its cause.
    """
    metrics.database_failures.inc()
    logger.warning("The database did not do it: %s: %s", type(problem).__name__, _line(problem))
    return Unavailable("The database does not answer: send this again in a moment.")


def _line(problem: Exception) -> str:
    return " ".join(str(problem).split())


def _run(asked: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    metrics.database_wait.observe(time.monotonic() - asked)
    close_old_connections()
    try:
        with routing.fresh_reads():
            return function(*args, **kwargs)
    finally:
        # Keeps SQLite's connection for the thread's next call and gives PostgreSQL's back to its
        # pool.
        close_old_connections()
