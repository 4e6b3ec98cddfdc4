"""The Redis channel layer: pub/sub, with its SUBSCRIBE acknowledgements brought out.

The stock layer says neither when a join is live nor that a connection was lost. Here every
acknowledgement, the first as well as those after a reconnect, reaches `on_confirmed`: the moment to
read that group's log.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import redis
import redis.asyncio
from channels_redis.pubsub import (
    RedisPubSubChannelLayer,
    RedisPubSubLoopLayer,
    RedisSingleShardConnection,
)
from channels_redis.utils import _consistent_hash, _wrap_close, decode_hosts
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from holodrive.realtime import brokers, clusters, tasks

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_FLUSH_SECONDS = 0.5  # that a loop which ends waits for Redis


class _Shard(RedisSingleShardConnection):
    _redis: Any
    _pubsub: Any
    _receive_task: asyncio.Task[None] | None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.abandoned: set[str] = set()  # channels of receivers that were cancelled

    async def subscribe_all(self, channels: Collection[str]) -> None:
        async with self._lock:
            new = [channel for channel in channels if channel not in self._subscribed_to]
            if new:
                self._ensure_redis()
                self._ensure_receiver()
                await self._pubsub.subscribe(*new)
                self._subscribed_to.update(new)

    async def unsubscribe_all(self, channels: Collection[str]) -> None:
        async with self._lock:
            old = [channel for channel in channels if channel in self._subscribed_to]
            if old:
                self._ensure_redis()
                self._ensure_receiver()
                await self._pubsub.unsubscribe(*old)
                self._subscribed_to.difference_update(old)

    async def _do_receiving(self) -> None:
        lost = False
        while True:
            try:
                if not (self._pubsub and self._pubsub.subscribed):
                    await asyncio.sleep(0.05)
                    continue
                if gone := set(self.abandoned):
                    await self.unsubscribe_all(gone)
                    self.abandoned -= gone
                message = await self._pubsub.get_message(
                    ignore_subscribe_messages=False, timeout=_POLL_SECONDS
                )
                if lost:
                    logger.warning("Redis is back")
                    lost = False
                if message is None:
                    continue
                if message["type"] == "message":
                    if not self.channel_layer.is_echo(message["data"]):
                        self._receive_message(message)
                elif message["type"] == "subscribe":
                    self.channel_layer.confirmed(message["channel"].decode())
            except Exception as problem:  # noqa: BLE001 - it must go on, whatever a reply did to it
                if not lost:
                    logger.warning("Redis is lost (%s): events arrive by reconcile", problem)
                    lost = True
                await asyncio.sleep(_RETRY_SECONDS)

    def _ensure_redis(self) -> None:
        if self._redis is None and "nodes" in self.host:
            timeouts = {name: it for name, it in self.host.items() if name in brokers.TIMEOUTS}
            self._redis = brokers.client(redis.asyncio.Redis, self.host, **timeouts)
            self._pubsub = self._redis.pubsub()
        super()._ensure_redis()

    def _ensure_receiver(self) -> None:
        if self._receive_task is None:
            self._receive_task = tasks.start(self._do_receiving())


class _LoopLayer(RedisPubSubLoopLayer):
    """The layer's part that belongs to one event loop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Fail fast: redis-py's own back-off of up to 10 s would hold every later join behind one
        # lock.
        retry = Retry(NoBackoff(), 0)
        self._shards: list[_Shard] = [
            _Shard({"retry": retry, **_keepalive(host), **host}, self)
            for host in decode_hosts(kwargs["hosts"])
        ]
        self._group_prefix = self._get_group_channel_name("")
        self.on_confirmed: Callable[[str], None] = lambda group: None
        self.on_flush: Callable[[], Awaitable[None]] = _nothing
        # What this process has published itself comes back, too: dropped before it is unpacked.
        self.is_echo: Callable[[bytes], bool] = lambda payload: False

    async def _subscribe_to_channel(self, channel: str) -> None:
        try:
            await super()._subscribe_to_channel(channel)
        except BaseException:
            self.channels.pop(
                channel, None
            )  # or every try during an outage would leave a queue behind
            raise

    async def receive(self, channel: str) -> Any:
        """As the stock one; but who is cancelled does not wait until Redis has heard of it."""
        if channel not in self.channels:
            await self._subscribe_to_channel(channel)
        try:
            message = await self.channels[channel].get()
        except (asyncio.CancelledError, TimeoutError, GeneratorExit):
            if self.channels.pop(channel, None) is not None:
                self._get_shard(channel).abandoned.add(channel)
            raise
        return self.channel_layer.deserialize(message)

    async def flush(self) -> None:
        """When its loop closes, too, which does not wait for a Redis that is frozen."""
        for each in (super().flush, self.on_flush):
            with suppress(redis.RedisError, OSError):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await each()

    async def join(self, groups: Iterable[str], channel: str) -> None:
        by_shard: dict[_Shard, list[str]] = {}
        for group in groups:
            name = self._get_group_channel_name(group)
            self.groups.setdefault(name, set()).add(channel)
            by_shard.setdefault(self._get_shard(name), []).append(name)
        for shard, names in by_shard.items():
            await shard.subscribe_all(names)

    async def leave(self, groups: Iterable[str], channel: str) -> None:
        by_shard: dict[_Shard, list[str]] = {}
        for group in groups:
            name = self._get_group_channel_name(group)
            if self.groups.get(name, set()) <= {channel}:
                by_shard.setdefault(self._get_shard(name), []).append(name)
            else:
                self.groups[name].discard(channel)
        for shard, names in by_shard.items():
            # Forgotten only once Redis has heard of it: of a leave that fails nobody is to believe
            # that the group brings nothing any more.
            await shard.unsubscribe_all(names)
            for name in names:
                self.groups.pop(name, None)

    def confirmed(self, channel: str) -> None:
        if channel.startswith(self._group_prefix):
            self.on_confirmed(channel.removeprefix(self._group_prefix))


async def _nothing() -> None:
    pass


class ConfirmedPubSubLayer(RedisPubSubChannelLayer):
    """`channels_redis.pubsub`, plus `loop_layer().on_confirmed(group)` and what a publisher of its
    own needs.
    """

    def __init__(self, *args: Any, hosts: list[Any], prefix: str = "asgi", **kwargs: Any) -> None:
        self._hosts = [*_expanded(decode_hosts(hosts))]
        super().__init__(*args, hosts=self._hosts, prefix=prefix, **kwargs)
        self._prefix = prefix
        # Whether a PUBLISH is answered with the number of all who get it.
        self.counts_all = not any("nodes" in host for host in self._hosts)

    def _get_layer(self) -> _LoopLayer:
        loop = asyncio.get_running_loop()
        if loop not in self._layers:
            self._layers[loop] = _LoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        layer: _LoopLayer = self._layers[loop]
        return layer

    loop_layer = _get_layer

    async def join(self, groups: Iterable[str], channel: str) -> None:
        """`group_add` for many, by one SUBSCRIBE on each shard: thousands come back at once."""
        await self._get_layer().join(groups, channel)

    async def leave(self, groups: Iterable[str], channel: str) -> None:
        """`group_discard` for many."""
        await self._get_layer().leave(groups, channel)

    def key(self, name: str) -> str:
        """What a Redis key of ours is called: no other installation on the same Redis has it."""
        return f"{self._prefix}:{name}"

    def channel_of(self, group: str) -> str:
        """The Redis channel that brings this group's messages."""
        return f"{self._prefix}__group__{group}"

    def addressed(self, wake_ups: Iterable[Sequence[Any]]) -> dict[int, list[tuple[str, bytes]]]:
        """For each shard's index, what to PUBLISH there: (channel, payload), in the layer's own
        format. Each wake-up begins with its group and its message.
        """
        by_shard: dict[int, list[tuple[str, bytes]]] = {}
        for group, message, *_ in wake_ups:
            channel = self.channel_of(group)
            shard = _consistent_hash(channel, len(self._hosts))
            by_shard.setdefault(shard, []).append((channel, self.serialize(message)))
        return by_shard

    def clients(self, client: type[brokers.C], **options: Any) -> list[brokers.C]:
        """One Redis client (sync or asyncio class) for each shard, as configured but with these
        options.
        """
        return [brokers.client(client, host, **options) for host in self._hosts]

    async def keyed(self, name: str, **options: Any) -> tuple[redis.asyncio.Redis, str]:
        """A client for keys that begin with `key(name)`, and what they begin with there: on a
        cluster it has a hash tag, so that one node has them all.
        """
        host, tagged = self._hosts[0], self.key(f"{{{name}}}")
        return await clusters.client_for(host, self.key(name), tagged, **options)

    def receivers(self, shard: int, channel: str, **options: Any) -> int:
        """How many processes subscribe to the channel, on whichever node of a cluster; 0 where
        there is none.
        """
        host = self._hosts[shard]
        with brokers.client(redis.Redis, host, **options) as client:
            return clusters.receivers(client, host, channel, **options)


def _expanded(hosts: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every form of REDIS_URL as an address."""
    for host in hosts:
        rest = {name: it for name, it in host.items() if name != "address"}
        try:
            found = brokers.hosts(str(host["address"])) if "address" in host else [{}]
        except ValueError:
            found = [host]  # redis-py says what is wrong with it
        for one in found:
            yield {**rest, **one}


def _keepalive(host: dict[str, Any]) -> dict[str, Any]:
    """A subscriber only listens: without probes it never learns that its peer vanished (a NAT or a
    failover forgets connections without a word). Noticed after about 20 s.
    """
    if str(host.get("address", "redis://")).startswith("unix:"):
        return {}
    wanted = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}
    known = {getattr(socket, name): n for name, n in wanted.items() if hasattr(socket, name)}
    return {"socket_keepalive": True, "socket_keepalive_options": known}
