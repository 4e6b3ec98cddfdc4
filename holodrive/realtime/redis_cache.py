"""Django's Redis cache, wherever `REDIS_URL` leads: to the first host of several, behind Sentinel,
or to a cluster.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import redis
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.backoff import NoBackoff
from redis.retry import Retry

from holodrive.realtime import brokers, clusters


class Pool:
    """`OPTIONS["pool_class"]`: of a URL that brokers.py knows."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> redis.ConnectionPool:
        return brokers.client(redis.Redis, brokers.hosts(url)[0], **options).connection_pool


class Client(RedisCacheClient):
    """On a cluster several keys are on several nodes, and no command may name them together."""

    _servers: list[str]
    _serializer: Any

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        return self._cluster() or super().get_client(key, write=write)

    def get_many(self, keys: Iterable[Any]) -> dict[Any, Any]:
        if (cluster := self._cluster()) is None:
            return super().get_many(keys)
        names = list(keys)
        found = zip(names, cluster.mget_nonatomic(names), strict=True)
        return {name: self._serializer.loads(it) for name, it in found if it is not None}

    def set_many(self, data: Mapping[Any, Any], timeout: Any) -> None:
        if self._cluster() is None:
            super().set_many(data, timeout)
            return
        for key, value in data.items():
            self.set(key, value, timeout)

    def delete_many(self, keys: Iterable[Any]) -> None:
        if self._cluster() is None:
            super().delete_many(keys)
            return
        for key in keys:
            self.delete(key)

    def _cluster(self) -> redis.RedisCluster | None:
        if (url := self._servers[0]) not in _known:
            with super().get_client() as plain:
                is_cluster = clusters.is_of_one(plain)
            _known[url] = is_cluster
        return _opened(url) if _known[url] else None


class Cache(RedisCache):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._class = Client


_known: dict[str, bool] = {}  # whether a URL leads to a cluster: of this process, once it answered


@functools.cache
def _opened(url: str) -> redis.RedisCluster:
    """One for all threads: each new one asks for the cluster's nodes, and for all its commands."""
    once = Retry(NoBackoff(), 1)
    return clusters.keyed(brokers.hosts(url)[0], retry=once, **_TIMEOUTS)


_TIMEOUTS = {"socket_timeout": 0.25, "socket_connect_timeout": 0.25}
