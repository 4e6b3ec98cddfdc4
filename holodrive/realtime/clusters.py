"""Finds where in a Redis Cluster a key is.

Pub/sub needs none of this, for it passes through every node (brokers.py). Keys do: each belongs to
one node, any other one answers MOVED. A plain URL may lead to a node of a cluster as well (managed
ones hand out one name), so the server itself is asked what it is.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import redis
import redis.asyncio
import redis.cluster
from redis.crc import key_slot

from holodrive.realtime import brokers
from holodrive.realtime.brokers import Host, Place

_QUESTION = "CLUSTER SLOTS"  # an error where there is no cluster


class _Range(NamedTuple):
    """Slots in a row, and the nodes that have them, the primary first."""

    first: int
    last: int
    nodes: list[Place]


async def client_for(
    host: Host, key: str, tagged: str, **options: Any
) -> tuple[redis.asyncio.Redis, str]:
    """A client of the node that has these keys, and which of the two names they have: `tagged` on a
    cluster. A node that loses them answers with an error: look again.
    """
    client = brokers.client(redis.asyncio.Redis, host, **options)
    try:
        reply = await client.execute_command(_QUESTION)  # type: ignore[no-untyped-call]
    except redis.ResponseError:
        return client, key
    except BaseException:
        await client.aclose()
        raise
    await client.aclose()
    slot = key_slot(tagged.encode())
    for each in _ranges(reply, client):
        if each.first <= slot <= each.last:
            there = {"nodes": each.nodes[:1], **brokers.options(host)}
            return brokers.client(redis.asyncio.Redis, there, **options), tagged
    raise redis.ConnectionError(f"no node of the cluster has the slot {slot}")


def nodes(client: redis.Redis) -> set[Place]:
    """All nodes of the cluster that this client's server is of; none if it is of none. Raises what
    its commands raise.
    """
    try:
        reply = client.execute_command(_QUESTION)  # type: ignore[no-untyped-call]
    except redis.ResponseError:
        return set()
    return {place for each in _ranges(reply, client) for place in each.nodes}


def is_of_one(client: redis.Redis) -> bool:
    """Whether this client's server is a node of a cluster. Raises ConnectionError while that serves
    no slot yet, and what commands raise.
    """
    try:
        reply = client.execute_command(_QUESTION)  # type: ignore[no-untyped-call]
    except redis.ResponseError:
        return False
    if not reply:
        raise redis.ConnectionError("no node of the cluster has a slot yet")
    return True


def receivers(client: redis.Redis, host: Host, channel: str, **options: Any) -> int:
    """How many subscribe to the channel. PUBLISH counts those of one node only."""
    count = 0
    for place in nodes(client):
        there = {"nodes": [place], **brokers.options(host)}
        # Of a node that is away no process hears anything.
        with (
            suppress(redis.RedisError, OSError),
            brokers.client(redis.Redis, there, **options) as node,
        ):
            ((_, found),) = node.pubsub_numsub(channel)
            count += int(found)
    return count


def keyed(host: Host, **options: Any) -> redis.RedisCluster:
    """A client that finds each key's node itself. Connects at once; to be shared by threads."""
    node: Any = redis.cluster.ClusterNode
    startup = [node(*place) for place in brokers.places(host)]
    return redis.RedisCluster(startup_nodes=startup, **{**brokers.options(host), **options})


def _ranges(reply: Any, client: Any) -> Iterator[_Range]:
    connected = client.connection_pool.connection_kwargs
    home = connected.get("host") or connected.get("nodes", [("localhost", 0)])[0][0]
    for first, last, *nodes in reply:
        yield _Range(first, last, [(_text(node[0]) or home, int(node[1])) for node in nodes])


def _text(name: bytes | str | None) -> str:
    return name.decode() if isinstance(name, bytes) else name or ""
