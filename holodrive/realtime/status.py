"""What every process says of itself when an operator asks: `manage.py realtime`.

The question goes to all hubs on the bulk group, the answers come back on a group of the question's
own. So nothing is kept in Redis, nothing is spent while nobody looks, and a process that has died
is not there. Redis counts who got the question: one of them that does not answer is stuck.
"""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from heapq import nlargest
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from django.conf import settings
from prometheus_client.metrics import MetricWrapperBase

from holodrive.realtime import addresses, database, metrics
from holodrive.realtime.layer import ConfirmedPubSubLayer
from holodrive.realtime.publish import BULK_GROUP, WakeUp, signed

if TYPE_CHECKING:
    from holodrive.realtime.hub import Hub

_SLOWEST = 10  # sockets that a process names
_BEGAN = time.time()


class Answers(NamedTuple):
    """What came back: one status of each process that answered, and how many did not."""

    processes: list[dict[str, Any]]
    silent: int


def of(hub: "Hub") -> dict[str, Any]:
    """This process, in figures: totals since its start, or as it is now. Names users by id only;
    nothing of what they say, and no token.
    """
    waiting = nlargest(_SLOWEST, _backlogs(hub), key=lambda one: one["bytes"])
    return {
        "process": f"{socket.gethostname()}:{os.getpid()}",
        "seconds": time.time() - _BEGAN,
        "sockets": _by_label(metrics.sockets, "endpoint"),
        "users": len(hub.users),
        "streams": len(hub.topics()),
        "deliveries": _value(metrics.deliveries),
        "publish_failures": _value(metrics.publish_failures),
        "repairs": _value(metrics.repairs),
        "dropped": _value(metrics.outbox_dropped),
        "closes": _by_label(metrics.closes, "code"),
        "lag": _buckets(metrics.lag),
        "reconciled_seconds_ago": hub.seconds_since_reconcile(),
        "outbox_bytes": _value(metrics.outbox_bytes),
        "slowest": waiting,
        "notices": addresses.notices(),
        "database": {
            "queue": database.queued(),
            "threads": settings.REALTIME_DATABASE_THREADS,
            "wait": _buckets(metrics.database_wait),
            "failures": _value(metrics.database_failures),
            "pool": database.pool(),
        },
    }


def ask(layer: ConfirmedPubSubLayer, seconds: float) -> Answers:
    """Ask all processes, and wait at most so long for each. Raises redis.RedisError or OSError if
    Redis does not answer.
    """
    group = f"status.{uuid.uuid4().hex}"
    (home, ((channel, _),)) = _only(layer.addressed([(group, {})]))
    (bulk, ((everybody, question),)) = _only(layer.addressed([(BULK_GROUP, signed({"s": group}))]))
    options = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    clients = layer.clients(redis.Redis, **options)
    try:
        with clients[home].pubsub() as answers:  # type: ignore[no-untyped-call]
            answers.subscribe(channel)
            answers.get_message(timeout=seconds)  # from now on, no answer is missed
            spread = layer.receivers(bulk, everybody, **options)
            asked = time.monotonic()
            count = int(clients[bulk].publish(everybody, question))
            count = spread or count  # a node of a cluster counts its own only
            found: list[dict[str, Any]] = []
            while len(found) < count and (left := asked + seconds - time.monotonic()) > 0:
                message = answers.get_message(ignore_subscribe_messages=True, timeout=left)
                if message is not None:
                    status = layer.deserialize(message["data"])["status"]
                    status["answered_after"] = time.monotonic() - asked
                    found.append(status)
    finally:
        for client in clients:
            client.close()
    found.sort(key=lambda status: str(status["process"]))
    return Answers(found, count - len(found))


def answer(hub: "Hub", group: str) -> WakeUp:
    """The wake-up that tells whoever asked."""
    return WakeUp(group, {"status": of(hub)})


def quantile(buckets: dict[str, float], share: float) -> float | None:
    """The upper bound of the bucket in which that share of the cases (0 to 1) is reached; None
    without a case, infinity beyond the last bound.
    """
    total = max(buckets.values(), default=0)
    for bound, count in buckets.items():
        if total and count >= share * total:
            return float(bound)
    return None


def _backlogs(hub: "Hub") -> Iterator[dict[str, Any]]:
    for user_id, sockets in hub.users.items():
        for one in sockets:
            if waiting := one.outbox.waiting():
                yield {"user": user_id, "endpoint": one.endpoint, "bytes": waiting}


def _only(shards: dict[int, Any]) -> tuple[int, Any]:
    ((shard, messages),) = shards.items()
    return shard, messages


def _by_label(metric: MetricWrapperBase, label: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for sample in _samples(metric):
        key = sample.labels[label]
        found[key] = found.get(key, 0) + int(sample.value)
    return found


def _value(metric: MetricWrapperBase) -> int:
    return sum(int(sample.value) for sample in _samples(metric))


def _samples(metric: MetricWrapperBase) -> Iterator[Any]:
    for family in metric.collect():
        yield from (sample for sample in family.samples if not sample.name.endswith("_created"))


def _buckets(metric: MetricWrapperBase) -> dict[str, float]:
    """Upper bound in seconds -> cases up to it, ascending."""
    return {one.labels["le"]: one.value for one in _samples(metric) if "le" in one.labels}
