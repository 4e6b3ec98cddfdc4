"""Kinds of settings that are URLs of services. There may be a password in any part of a wrong one:
of these, messages repeat the scheme alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import environ
import redis

from holodrive.environment.kinds import Kind, Number, WrongValueError
from holodrive.environment.places import File, is_host, is_port
from holodrive.realtime import brokers

_PORT = re.compile(r":([0-9]+)(?=,|$)")
_POSTGRESQL = ("postgres", "postgresql", "psql", "pgsql")
_LONGEST_NAME = 63  # PostgreSQL's, of databases
_ESCAPED = "in a user's name and a password / ? # and @ are written %2F %3F %23 and %40"
_LOGIN_OF_EACH = re.compile(r"rediss?\+\w+://[^/?]*@[^/?]*,[^/?]*@")  # else all but one are lost
_SOCKET = "the folder of a socket is written postgres:////var/run/postgresql/name"
_TLS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
# What the drivers look at only when they connect.
_FLAGS_OF_DJANGO = ("ATOMIC_REQUESTS", "CONN_HEALTH_CHECKS", "DISABLE_SERVER_SIDE_CURSORS")
_WORDS = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "channel_binding": ("disable", "prefer", "require"),
    "target_session_attrs": (
        *("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    ),
    "gssencmode": ("disable", "prefer", "require"),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "load_balance_hosts": ("disable", "random"),
    "ssl_min_protocol_version": _TLS,
    "ssl_max_protocol_version": _TLS,
    "transaction_mode": ("DEFERRED", "IMMEDIATE", "EXCLUSIVE"),
}
_NUMBERS = (
    *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval"),
    *("keepalives_count", "tcp_user_timeout", "prepare_threshold", "timeout"),
)
_FILES = ("sslrootcert", "sslcert", "sslkey", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OF_DJANGO = ("assume_role", "prepare_threshold")  # and not of libpq
_OF_SQLITE = ("timeout", "transaction_mode", "init_command")
# redis-py takes any of its arguments from a query, as texts, and objects are among them.
_SECONDS = r"(?=.*[1-9])[0-9]{1,5}(\.[0-9]{1,9})?"
_FLAG = r"(?i)0|1|f|t|n|y|no|yes|false|true"
_OF_REDIS = {
    "db": "[0-9]{1,5}",
    "protocol": "[23]",
    "max_connections": "[0-9]{1,9}",
    "health_check_interval": "[0-9]{1,5}",
    "ssl_min_version": "[0-9]{1,5}",
    "encoding": "(?i)utf-?8",
    "client_name": "[!-~]+",
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout"), _SECONDS),
    **dict.fromkeys(("socket_keepalive", "retry_on_timeout", "ssl_check_hostname"), _FLAG),
    **dict.fromkeys(
        (
            *("username", "password", "sentinel_username", "sentinel_password"),
            *("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_certfile", "ssl_keyfile"),
            *("ssl_password", "ssl_ciphers", "ssl_cert_reqs"),
        ),
        ".+",
    ),
}


class _Url(Kind):
    def shown(self, part: object) -> str:
        found = re.match(r"[a-z][a-z0-9+.-]{0,20}(?=://)", str(part))
        return f"{found[0]}://..." if found else ""


@dataclass(frozen=True)
class DatabaseUrl(_Url):
    """As django-environ reads it, into an entry of DATABASES. An empty one is the trace of a secret
    that was not found: SQLite in its place would begin without all data.
    """

    wanted = "a URL of PostgreSQL or SQLite"
    example = "postgres://user:password@host:5432/name or sqlite:////srv/holodrive/db.sqlite3"

    def empty(self, default: Any) -> Any:
        raise WrongValueError(why="it is empty")

    def read(self, text: str) -> dict[str, Any]:
        scheme, _, rest = text.partition("://")
        scheme = scheme.lower()
        if not rest or scheme not in (*_POSTGRESQL, "sqlite"):
            raise WrongValueError(text)
        try:
            why = next(_faults_of_sqlite(text) if scheme == "sqlite" else _faults(text), "")
        except ValueError:  # a port that is none, an IPv6 address that is none
            why = f"its port or its host cannot be read ({_ESCAPED})"
        if why:
            raise WrongValueError(text, why)
        return configuration(text)


@dataclass(frozen=True)
class RedisUrl(_Url):
    """See `brokers.py`. It stays a text."""

    wanted = "a URL of Redis, of several with commas, of Sentinel or of a cluster"
    example = (
        "redis://127.0.0.1:6379/0, rediss://..., unix:///path, "
        "redis+sentinel://HOST:PORT,HOST:PORT/MASTER/0 or redis+cluster://HOST:PORT,HOST:PORT"
    )

    def read(self, text: str) -> str:
        try:
            faults = [why for part in text.split(",") for why in _faults_of_options(part)] or [
                why for host in brokers.hosts(text) for why in _faults_of_redis(host)
            ]
        except TypeError:
            faults = ["it has an option that redis-py does not know"]
        except (ValueError, redis.RedisError):  # these repeat a part of it
            faults = ["a part of it cannot be read"]
        if "#" in text:
            faults = [_ESCAPED]
        if _LOGIN_OF_EACH.match(text):
            faults = ["a user and a password stand once, ahead of all hosts"]
        if faults:
            raise WrongValueError(text, faults[0])
        return text


def configuration(url: str) -> dict[str, Any]:
    """Return the entry of DATABASES that a right URL stands for."""
    found: dict[str, Any] = environ.Env.db_url_config(url)
    if (
        found.get("HOST", "").lower().startswith("%2f")
    ):  # libpq's way to write the folder of a socket
        place = urlsplit(url).netloc.rpartition("@")[2]
        found["HOST"] = unquote(place.partition(":")[0])
    return found


def _faults(text: str) -> Iterator[str]:
    parts = urlsplit(text)
    if "#" in text or "@" in parts.path + parts.query:
        yield _ESCAPED
    found = configuration(text)
    place = parts.netloc.rpartition("@")[2]
    hosts = str(found["HOST"]).split(",")
    if not all(host == "" or host.startswith("/") or _is_host(host) for host in hosts):
        yield "its host is neither a name nor an address"
    # Not as parsed: port 0 would be the default one, and what follows a bracket is left out.
    if re.search(r"\][^:,]", place) or not all(map(is_port, _PORT.findall(place))):
        yield "its port is not from 1 to 65535"
    if not found["NAME"] and "service" not in found.get("OPTIONS", {}):
        yield "the name of the database is missing"
    if "/" in parts.path[1:] and not str(found["HOST"]).startswith("/"):
        yield f"a database's name has no slash; {_SOCKET}"
    if len(found["NAME"]) > _LONGEST_NAME:
        yield f"a database's name has {_LONGEST_NAME} characters at most"
    if any("\0" in str(found[name]) for name in ("HOST", "NAME", "USER", "PASSWORD")):
        yield "there is a NUL in it"
    yield from _faults_of_driver(found, parts.query)


def _is_host(parsed: str) -> bool:
    # A name with a dot at its end is complete: in Kubernetes no search path is tried for it.
    return is_host(f"[{parsed}]" if ":" in parsed else parsed.removesuffix("."))


def _faults_of_driver(found: dict[str, Any], query: str) -> Iterator[str]:
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import make_conninfo
    except ImportError as problem:
        yield f"its driver is not here ({problem}): pip install -r requirements.txt"
        return
    yield from _faults_of_flags(found)
    for name, value in _options(query):
        try:
            if name not in _OF_DJANGO:
                make_conninfo(**{name: value})
        except ProgrammingError:
            yield _unknown(name)
        if not _is_taken(name, value):
            yield f"its option {name} has another value than the driver takes"


def _faults_of_flags(found: dict[str, Any]) -> Iterator[str]:
    """Of what django-environ takes out of the query for Django itself."""
    for name in _FLAGS_OF_DJANGO:
        if not isinstance(found.get(name, True), bool):
            yield f"its option {name.lower()} is neither True nor False"
    if found.get("AUTOCOMMIT", True) is not True:
        yield "without autocommit nothing would be committed"


def _faults_of_sqlite(text: str) -> Iterator[str]:
    parts = urlsplit(text)
    in_memory = text in ("sqlite://:memory:", "sqlite:///:memory:")
    if "#" in text or (parts.netloc and not in_memory):
        yield "a path has three slashes ahead, an absolute one four, and # is written %23"
    elif parts.path.strip("/") == "" and not in_memory:
        yield "its path is missing"
    if "%00" in parts.path:
        yield "there is a NUL in it"
    for name, value in _options(parts.query):
        if name not in _OF_SQLITE:
            yield _unknown(name)
        if not _is_taken(name, value):
            yield f"its option {name} has another value than the driver takes"
    if not in_memory:
        try:
            File().read(configuration(text)["NAME"])
        except WrongValueError as problem:
            yield problem.why


def _options(query: str) -> list[tuple[str, str]]:
    """Those that go to the driver; also the empty ones, which django-environ leaves out."""
    ours = {name.lower() for name in environ.Env._DB_BASE_OPTIONS}
    found = parse_qsl(query, keep_blank_values=True)
    return [(name, value) for name, value in found if name.lower() not in ours]


def _unknown(name: str) -> str:
    # After a password with a "?" in it, what seems a name is a part of it.
    return f"its driver has no option {name}" if name.isidentifier() else _ESCAPED


def _is_taken(name: str, value: str) -> bool:
    if name == "port":
        return all(one.isdecimal() and is_port(one) for one in value.split(","))
    if name in _NUMBERS:
        return re.fullmatch(r"[0-9]{1,9}", value) is not None
    if name in _FILES:
        return value == "system" or Path(value).is_file()
    return value in _WORDS.get(name, (value,)) and value != ""


def _faults_of_redis(host: brokers.Host) -> Iterator[str]:
    for name, port in (*host.get("sentinels", ()), *host.get("nodes", ())):
        Number(1, 65_535).check(port)
        if not _is_host(name):
            yield "one of its hosts is neither a name nor an address"
    if "address" in host:
        yield from _faults_of_one(host["address"])


def _faults_of_options(part: str) -> Iterator[str]:
    query = urlsplit(part).query
    if "@" in query:  # after a password with a "?" in it
        yield _ESCAPED
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "decode_responses":
            yield "replies are read as bytes: leave out decode_responses"
        elif name not in _OF_REDIS:
            yield f"a URL of Redis has no option {name}" if name.isidentifier() else _ESCAPED
        elif not re.fullmatch(_OF_REDIS[name], value):
            yield f"its option {name} has another value than the driver takes"
        elif name in _FILES and not _is_taken(name, value):
            yield f"its option {name} names no file"


def _faults_of_one(address: str) -> Iterator[str]:
    parts = urlsplit(address)
    is_socket = parts.scheme == "unix"
    if "@" in parts.path:
        yield _ESCAPED
    elif is_socket and (parts.path in ("", "/") or parts.hostname or "%00" in parts.path):
        yield "the path of its socket is missing, or begins with no slash, or has a NUL"
    elif not is_socket and (not _is_host(parts.hostname or "") or parts.port == 0):
        yield "its host is neither a name nor an address, or its port is 0"
    elif not is_socket and not re.fullmatch(r"/?|/[0-9]{1,5}/?", parts.path):
        yield "its path is the number of a database"
    pool = redis.ConnectionPool.from_url(address)
    pool.connection_class(**pool.connection_kwargs)  # TypeError for what it does not know
