"""What operators ask a process: /healthz, /readyz and /metrics. Answered on the event loop, ahead
of Django: a probe has no Host that ALLOWED_HOSTS knows, and must not wait for a thread.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable
from typing import Any, ClassVar

import redis.asyncio
from channels.layers import get_channel_layer
from django.db import DatabaseError, InterfaceError, connection
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from holodrive.realtime import faults, hub, metrics
from holodrive.realtime.credentials import ASGIApp, Scope
from holodrive.realtime.database import in_database, renew_connections
from holodrive.realtime.layer import ConfirmedPubSubLayer

logger = logging.getLogger(__name__)

_PROBE_SECONDS = 2.0
_PROBE_KEPT = 60  # seconds


class Operations:
    """An ASGI wrapper that answers the three paths and hands everything else on; while the server
    stops, no new sockets.
    """

    draining: ClassVar[bool] = False  # set by the server when it begins to stop

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Any, send: Any) -> Awaitable[None]:
        if self.draining and scope["type"] == "websocket":
            return _turn_away(receive, send)
        answer = self._answers.get(scope["path"]) if scope["type"] == "http" else None
        return self._app(scope, receive, send) if answer is None else _answer(answer(self), send)

    async def _healthz(self) -> tuple[int, str, bytes]:
        """200 while the event loop turns."""
        return 200, "application/json", b'{"status":"ok"}'

    async def _readyz(self) -> tuple[int, str, bytes]:
        """200 when new sockets should come here. Redis away is said, but does not make a process
        unready: every process would leave the balancer at once, while all of them still deliver by
        reconcile. Nor does a database that takes no changes: all of them still serve what is read.
        """
        database, broker = await asyncio.gather(_probe(_ask_database()), _probe(_ask_redis()))
        ready = database == "ok" and not self.draining
        report: dict[str, Any] = {
            "status": "ok" if ready else "unready",
            "database": database,
            "redis": broker,
            "draining": self.draining,
        }
        if (here := hub.running()) is not None and here.presence.is_failing:
            report["presence"] = "failing"
        # Said, and no reason to leave: the others would have its requests as well.
        if waiting := metrics.requests_waiting.read():
            report["requests_waiting"] = waiting
        if refusal := faults.writes.refusal():
            report["writes"] = refusal
        return 200 if ready else 503, "application/json", json.dumps(report).encode()

    async def _metrics(self) -> tuple[int, str, bytes]:
        return 200, CONTENT_TYPE_LATEST, generate_latest()

    _answers = {"/healthz": _healthz, "/readyz": _readyz, "/metrics": _metrics}  # noqa: RUF012


async def _turn_away(receive: Any, send: Any) -> None:
    await receive()  # websocket.connect
    await send({"type": "websocket.close"})  # the server makes it a 503


async def _answer(answer: Awaitable[tuple[int, str, bytes]], send: Any) -> None:
    status, content_type, body = await answer
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _probe(question: Any) -> str:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await question
    except (DatabaseError, InterfaceError, redis.RedisError, OSError, TimeoutError) as problem:
        logger.warning("A readiness probe failed: %s: %s", type(problem).__name__, problem)
        return "refusing" if isinstance(problem, redis.ResponseError) else "unreachable"
    return "ok"


async def _ask_database() -> None:
    await in_database(_look_at_database)


def _look_at_database() -> None:
    """Raise DatabaseError if it does not answer. A standby is read-only, too."""
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            cursor.execute("SELECT 1")
            return
        cursor.execute("SELECT current_setting('transaction_read_only') = 'on'")
        (is_read_only,) = cursor.fetchone()
    faults.writes.database_is(read_only=is_read_only)
    if is_read_only:
        renew_connections()


async def _ask_redis() -> None:
    """Every host answers, and the one with the keys of presence takes one: who only pings does not
    see a full memory, a replica, or a slot of a cluster that no node has.
    """
    layer = get_channel_layer()
    if not isinstance(layer, ConfirmedPubSubLayer):
        return
    options = {"socket_timeout": _PROBE_SECONDS, "socket_connect_timeout": _PROBE_SECONDS}
    for client in layer.clients(redis.asyncio.Redis, **options):
        async with client:
            await client.ping()
    client, key = await layer.keyed("presence", **options)
    async with client:
        await client.set(f"{key}:probe", 1, ex=_PROBE_KEPT)
