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
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections, connection

from holodrive.realtime import faults, metrics, routing, tracing
from holodrive.realtime.faults import FAULTS as FAULTS
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


_RENEW_SECONDS = 2.0  # at least, between two times that a pool opens its connections anew
_renewed_at = float("-inf")


def unavailable(problem: Exception) -> Unavailable:
    """What a client is told of one of FAULTS, which is counted and logged in one line: an outage
    meets every client, and a traceback each would bury its cause.
    """
    metrics.database_failures.inc()
    logger.warning("The database did not do it: %s: %s", type(problem).__name__, _line(problem))
    if note(problem):
        return Unavailable("The database takes no changes at the moment: try again later.")
    return Unavailable("The database does not answer: send this again in a moment.")


def note(problem: Exception) -> str | None:
    """Remember a refused write for /readyz. Return why it was refused; None for other faults."""
    why = faults.refused_write(problem)
    if why is not None:
        faults.writes.refused(why)
    if why == faults.READ_ONLY:
        renew_connections()
    return why


def renew_connections() -> None:
    """Have the pool open its connections anew, and this thread its own. A session that began while
    `default_transaction_read_only` was on keeps it, for up to an hour in a pool, and without one
    for CONN_MAX_AGE; and after a fail-over a new connection may lead to the new primary.
    """
    global _renewed_at
    now = time.monotonic()
    connection.close_at = now  # what Django looks at behind each request
    pool: Any = getattr(connection, "_connection_pools", {}).get(connection.alias)
    if now - _renewed_at >= _RENEW_SECONDS and hasattr(pool, "drain"):  # psycopg_pool 3.3
        _renewed_at = now
        pool.drain()


def _line(problem: Exception) -> str:
    return " ".join(str(problem).split())


def _run(asked: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    metrics.database_wait.observe(time.monotonic() - asked)
    close_old_connections()
    try:
        with routing.fresh_reads():
            return function(*args, **kwargs)
    except FAULTS as problem:
        if faults.refused_write(problem) == faults.READ_ONLY:
            connection.close()  # without a pool it would stay for CONN_MAX_AGE
        raise
    finally:
        # Keeps SQLite's connection for the thread's next call and gives PostgreSQL's back to its
        # pool.
        close_old_connections()
