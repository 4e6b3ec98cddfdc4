"""Where Redis is: one host, several that share the load (sharded by channel), one behind Sentinel,
or a cluster. What `REDIS_URL` says, in the form that channels_redis takes hosts in.

    redis://user:password@host:6379/0            also rediss:// (TLS) and unix:///path
    redis://one:6379/0,redis://two:6379/0        shards
    redis+sentinel://user:password@one:26379,two:26379,three:26379/mymaster/0
                                                 also rediss+sentinel://; ?sentinel_password=...
    redis+cluster://user:password@one:6379,two:6379
                                                 also rediss+cluster://; options as of redis://
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

_PLAIN = ("redis", "rediss", "unix")
_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_CLUSTER = ("redis+cluster", "rediss+cluster")
_PORT, _SENTINEL_PORT = 6379, 26379
_WANTED_OF_SENTINEL = "redis+sentinel://HOST:PORT,HOST:PORT/MASTER/0 is wanted"
_WANTED_OF_CLUSTER = "redis+cluster://HOST:PORT,HOST:PORT is wanted"
TIMEOUTS = ("socket_timeout", "socket_connect_timeout")  # each user of a host sets its own
_OF_SENTINEL = ("sentinel_username", "sentinel_password")

C = TypeVar("C", redis.Redis, redis.asyncio.Redis)
Host = dict[str, Any]
Place = tuple[str, int]  # host and port


def hosts(url: str) -> list[Host]:
    """Raises ValueError, without the URL in it: there may be a password."""
    if urlsplit(url).scheme in _SENTINEL:
        return [_behind_sentinel(url)]
    if urlsplit(url).scheme in _CLUSTER:
        return [_cluster(url)]
    parts = [part.strip() for part in url.split(",")]
    if any(urlsplit(part).scheme not in _PLAIN for part in parts):
        raise ValueError("a URL such as redis://127.0.0.1:6379/0 is wanted")
    return [{"address": part} for part in parts]


def _behind_sentinel(url: str) -> Host:
    parts = urlsplit(url)
    user, _, places = parts.netloc.rpartition("@")
    name, _, number = parts.path.strip("/").partition("/")
    sentinels = _places(places, _SENTINEL_PORT, _WANTED_OF_SENTINEL)
    asked = parse_qs(parts.query)
    if not name or not sentinels or (number and not number.isdigit()) or {*asked} - {*_OF_SENTINEL}:
        raise ValueError(_WANTED_OF_SENTINEL)
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


def _cluster(url: str) -> Host:
    parts = urlsplit(url)
    user, at, places = parts.netloc.rpartition("@")
    nodes = _places(places, _PORT, _WANTED_OF_CLUSTER)
    if not nodes or parts.path.strip("/") not in ("", "0") or "db" in parse_qs(parts.query):
        raise ValueError(_WANTED_OF_CLUSTER)
    plain = f"{parts.scheme.partition('+')[0]}://{user}{at}node?{parts.query}"
    try:
        host = {"nodes": nodes, **options({"address": plain})}
        client(redis.Redis, host).connection_pool.make_connection()  # knows every option, or raises
    except (ValueError, TypeError, redis.RedisError):
        raise ValueError(f"{_WANTED_OF_CLUSTER}, with the options of redis://") from None
    return host


def options(host: Host) -> Host:
    """What is said of a host beside where it is: its user, password and TLS; for other nodes of its
    cluster.
    """
    if "address" not in host:
        return {name: it for name, it in host.items() if name not in _OF_PLACES}
    said = _parsed(host["address"])
    if said.pop("connection_class", None) is redis.SSLConnection:
        said["ssl"] = True
    rest = {name: it for name, it in host.items() if name != "address"}
    return {name: it for name, it in {**said, **rest}.items() if name not in _OF_PLACES}


def _parsed(url: str) -> Host:
    return redis.connection.parse_url(url)  # type: ignore[no-untyped-call, no-any-return]


_OF_PLACES = ("nodes", "host", "port", "db", "path")


def places(host: Host) -> list[Place]:
    """Where nodes of its cluster are, if it is of one."""
    said = _parsed(host["address"]) if "address" in host else host
    return said.get("nodes") or [(said.get("host", "localhost"), said.get("port", _PORT))]


def _places(text: str, default: int, wanted: str) -> list[Place]:
    return [_place(place.strip(), default, wanted) for place in text.split(",") if place.strip()]


def _place(text: str, default: int, wanted: str) -> Place:
    host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not host:
        host, port = text, ""
    if port and not (port.isdigit() and int(port) < 65_536):
        raise ValueError(wanted)
    return host.strip("[]"), int(port or default)


def client(kind: type[C], host: Host, **options: Any) -> C:
    """A Redis client (sync or asyncio class) of that host, as configured but with these options."""
    host = {name: value for name, value in host.items() if name not in TIMEOUTS}
    if "address" in host:
        return kind.from_url(host.pop("address"), **host, **options)
    if "sentinels" in host:
        return _master(kind, host, options)
    if "nodes" in host:
        return _any_node(kind, host, options)
    return kind(**host, **options)


def _master(kind: type[C], host: Host, options: dict[str, Any]) -> C:
    timeouts = {name: options[name] for name in TIMEOUTS if name in options}
    module = redis.sentinel if issubclass(kind, redis.Redis) else redis.asyncio.sentinel
    sentinel = module.Sentinel(
        host.pop("sentinels"),
        sentinel_kwargs={**timeouts, **host.pop("sentinel_kwargs", {})},
    )
    return sentinel.master_for(host.pop("master_name"), kind, **host, **options)  # type: ignore[no-any-return]


def _any_node(kind: type[C], host: Host, options: dict[str, Any]) -> C:
    """Pub/sub passes through every node of a cluster, so any one will do."""
    has_tls = bool(host.pop("ssl", False))
    if issubclass(kind, redis.Redis):
        of_kind: Any = _SyncTlsNode if has_tls else _SyncNode
        pool: Any = redis.ConnectionPool(connection_class=of_kind, **host, **options)
    else:
        of_kind = _AsyncTlsNode if has_tls else _AsyncNode
        pool = redis.asyncio.ConnectionPool(connection_class=of_kind, **host, **options)
    return kind.from_pool(pool)


class _Nodes:
    """A connection that goes to the first node that answers, and after a loss to the one behind the
    last: that one may accept, and answer nothing.
    """

    def __init__(self, *, nodes: Sequence[Place], **options: Any) -> None:
        super().__init__(host=nodes[0][0], port=nodes[0][1], **options)  # type: ignore[call-arg]
        self._nodes = deque(nodes)
        self._nodes.rotate(1)

    def _each(self) -> Iterator[bool]:
        """Set `host` and `port` to one node after another; True with the last."""
        for left in reversed(range(len(self._nodes))):
            self._nodes.rotate(-1)
            self.host, self.port = self._nodes[0]
            yield not left


class _SyncNodes(_Nodes):
    def _connect(self) -> Any:
        for is_last in self._each():
            try:
                return super()._connect()  # type: ignore[misc]
            except OSError:
                if is_last:
                    raise


class _AsyncNodes(_Nodes):
    async def _connect(self) -> None:
        for is_last in self._each():
            try:
                await super()._connect()  # type: ignore[misc]
                return
            except OSError:
                if is_last:
                    raise


class _SyncNode(_SyncNodes, redis.Connection):
    pass


class _SyncTlsNode(_SyncNodes, redis.SSLConnection):
    pass


class _AsyncNode(_AsyncNodes, redis.asyncio.Connection):
    pass


class _AsyncTlsNode(_AsyncNodes, redis.asyncio.SSLConnection):
    pass
