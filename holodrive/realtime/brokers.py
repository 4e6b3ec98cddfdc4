"""Where Redis is: one host, several that share the load (sharded by channel), or one behind
Sentinel. What `REDIS_URL` says, in the form that channels_redis takes hosts in.

    redis://user:password@host:6379/0            also rediss:// (TLS) and unix:///path
    redis://one:6379/0,redis://two:6379/0        shards
    redis+sentinel://user:password@one:26379,two:26379,three:26379/mymaster/0
                                                 also rediss+sentinel://; ?sentinel_password=...
"""

from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

_PLAIN = ("redis", "rediss", "unix")
_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_SENTINEL_PORT = 26379
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")  # each user of a host sets its own
_OF_SENTINEL = ("sentinel_username", "sentinel_password")

C = TypeVar("C", redis.Redis, redis.asyncio.Redis)
Host = dict[str, Any]


def hosts(url: str) -> list[Host]:
    """Raises ValueError, without the URL in it: there may be a password."""
    if urlsplit(url).scheme in _SENTINEL:
        return [_behind_sentinel(url)]
    parts = url.split(",")
    if any(urlsplit(part).scheme not in _PLAIN for part in parts):
        raise ValueError("a URL such as redis://127.0.0.1:6379/0 is wanted")
    return [{"address": part} for part in parts]


def _behind_sentinel(url: str) -> Host:
    parts = urlsplit(url)
    user, _, places = parts.netloc.rpartition("@")
    name, _, number = parts.path.strip("/").partition("/")
    sentinels = [_place(place) for place in places.split(",") if place]
    asked = parse_qs(parts.query)
    if not name or not sentinels or (number and not number.isdigit()) or {*asked} - {*_OF_SENTINEL}:
        raise ValueError("redis+sentinel://HOST:PORT,HOST:PORT/MASTER/0 is wanted")
    host: Host = {"sentinels": sentinels, "master_name": name, "db": int(number or 0)}
    username, _, password = user.partition(":")
    if username:
        host["username"] = unquote(username)
    if password:
        host["password"] = unquote(password)
    if parts.scheme.startswith("rediss"):
        host["ssl"] = True
    if asked:
        host["sentinel_kwargs"] = {
            key.removeprefix("sentinel_"): values[0] for key, values in asked.items()
        }
    return host


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not host:
        host, port = text, ""
    if port and not port.isdigit():
        raise ValueError("redis+sentinel://HOST:PORT,HOST:PORT/MASTER/0 is wanted")
    return host.strip("[]"), int(port or _SENTINEL_PORT)


def client(kind: type[C], host: Host, **options: Any) -> C:
    """A Redis client (sync or asyncio class) of that host, as configured but with these options."""
    host = {name: value for name, value in host.items() if name not in _TIMEOUTS}
    if "address" in host:
        return kind.from_url(host.pop("address"), **host, **options)
    if "sentinels" in host:
        return _master(kind, host, options)
    return kind(**host, **options)


def _master(kind: type[C], host: Host, options: dict[str, Any]) -> C:
    timeouts = {name: options[name] for name in _TIMEOUTS if name in options}
    module = redis.sentinel if issubclass(kind, redis.Redis) else redis.asyncio.sentinel
    sentinel = module.Sentinel(
        host.pop("sentinels"),
        sentinel_kwargs={**timeouts, **host.pop("sentinel_kwargs", {})},
    )
    return sentinel.master_for(host.pop("master_name"), kind, **host, **options)  # type: ignore[no-any-return]


class CachePool:
    """For Django's Redis cache (`OPTIONS["pool_class"]`): of any URL above, the first host's."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> redis.ConnectionPool:
        return client(redis.Redis, hosts(url)[0], **options).connection_pool
