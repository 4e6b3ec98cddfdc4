"""System checks: what would fail late, or silently, is said by `manage.py check`; what only matters
in production by `manage.py check --deploy`.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, models
from django.utils.encoding import force_bytes
from rest_framework_simplejwt.settings import api_settings

from holodrive.realtime import (
    addresses,
    cors,
    embedded,
    keys,
    private,
    restoration,
    setting_checks,
)
from holodrive.realtime.apps import DEFAULTS
from holodrive.realtime.layer import ConfirmedPubSubLayer

# What `manage.py serve` checks as well: what is wrong then is refused, or warned of.
SERVING = "serving"
_KEY_BYTES = 32  # HS256 wants a key as long as its hash (RFC 7518, 3.2)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@checks.register("realtime")
def check_project(**kwargs: Any) -> list[CheckMessage]:
    """What the engine needs of the project that it is part of."""
    wrong = [*setting_checks.wrong()]
    return [
        *_user_model(),
        *_time_zones(),
        *_autocommit(),
        *(wrong or setting_checks.keys_of_tokens()),
        *setting_checks.slips(),
    ]


@checks.register("realtime", deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """What is right on a developer's machine and wrong in production."""
    if setting_checks.are_wrong():
        return []
    return [
        *_debug(),
        *_hosts(),
        *_channel_layer(),
        *_embedded_valkey(),
        *_addresses(),
        *_other_sites(),
        *_proxies(),
        *_database(),
    ]


@checks.register("realtime", SERVING, deploy=True)
def check_secrets(**kwargs: Any) -> list[CheckMessage]:
    """What lets strangers in."""
    return [*([] if setting_checks.are_wrong() else _keys()), *_files()]


def _files() -> Iterator[CheckMessage]:
    if found := [*private.lax(*getattr(settings, "PRIVATE_FILES", []))]:
        yield Warning(
            f"Other users of this machine may read {', '.join(map(str, found))}.",
            hint=f"chmod go= {' '.join(path.name for path in found)}",
            id="realtime.W010",
        )


def _user_model() -> Iterator[CheckMessage]:
    key = get_user_model()._meta.pk
    if not isinstance(key, models.IntegerField):
        yield Error(
            f"The primary key of {settings.AUTH_USER_MODEL} is no integer.",
            hint="Frames say sender_id and user_id as integers: a UUID or a text does not fit.",
            id="realtime.E001",
        )


def _time_zones() -> Iterator[CheckMessage]:
    if not settings.USE_TZ:
        yield Error(
            "USE_TZ is off.",
            hint="Frames carry times in UTC: set USE_TZ = True.",
            id="realtime.E002",
        )


def _autocommit() -> Iterator[CheckMessage]:
    if not settings.DATABASES[DEFAULT_DB_ALIAS].get("AUTOCOMMIT", True):
        yield Error(
            "AUTOCOMMIT is off.",
            hint="Nothing would be committed, and all of it acknowledged: leave it on.",
            id="realtime.E007",
        )


def _debug() -> Iterator[CheckMessage]:
    if settings.DEBUG:
        yield Error(
            "DEBUG is on.",
            hint="It lets pages of any port of the visitor's machine open sockets: DEBUG=off.",
            id="realtime.E003",
        )


def _hosts() -> Iterator[CheckMessage]:
    if "*" in settings.ALLOWED_HOSTS:
        yield Error(
            "ALLOWED_HOSTS allows every host.",
            hint="A socket's own Host counts as its Origin only if it is allowed: name yours.",
            id="realtime.E004",
        )


def _keys() -> Iterator[CheckMessage]:
    if public := keys.published():
        yield Error(
            f"{' and '.join(public)}: a key that is published, in this project or by Django.",
            hint="Whoever has it can log in as anybody: make one of your own.",
            id="realtime.E005",
        )
    symmetric = api_settings.ALGORITHM.startswith("HS")
    if symmetric and len(force_bytes(api_settings.SIGNING_KEY)) < _KEY_BYTES:
        yield Warning(
            f"The key that signs tokens has fewer than {_KEY_BYTES} bytes.",
            hint="Set a longer JWT_SIGNING_KEY, or SECRET_KEY if that signs them.",
            id="realtime.W001",
        )


def _channel_layer() -> Iterator[CheckMessage]:
    layer = get_channel_layer()
    if layer is None or type(layer).__name__ == "InMemoryChannelLayer":
        yield Error(
            "The channel layer reaches no other process.",
            hint="Set CHANNEL_LAYERS to holodrive.realtime.layer.ConfirmedPubSubLayer.",
            id="realtime.E006",
        )
    elif not isinstance(layer, ConfirmedPubSubLayer):
        yield Warning(
            f"The channel layer is a {type(layer).__name__}.",
            hint="Only holodrive.realtime.layer.ConfirmedPubSubLayer says when a join is live; "
            "what others lose arrives by reconcile.",
            id="realtime.W002",
        )


def _embedded_valkey() -> Iterator[CheckMessage]:
    if embedded.url(Path(getattr(settings, "BASE_DIR", "."))) == settings.REDIS_URL:
        yield Warning(
            "Wake-ups go through the embedded Valkey.",
            hint="Processes of other machines or folders do not reach it: set REDIS_URL.",
            id="realtime.W003",
        )


def _addresses() -> Iterator[CheckMessage]:
    if not settings.WEBSOCKET_URL:
        return  # the page's own host
    dialled = urlsplit(f"//{settings.WEBSOCKET_URL}").hostname
    if dialled in _LOOPBACK:
        yield Warning(
            f"WEBSOCKET_URL is {settings.WEBSOCKET_URL}, which is every visitor's own machine.",
            hint="Set it to the public host (and port) that clients dial.",
            id="realtime.W004",
        )
        return
    pages = set(settings.ALLOWED_HOSTS).difference(_LOOPBACK, ["*", dialled])
    if pages and not settings.WEBSOCKET_ALLOWED_ORIGINS:
        yield Warning(
            f"Pages of {', '.join(sorted(pages))} may open no socket on {dialled}.",
            hint="Name their origins in WEBSOCKET_ALLOWED_ORIGINS: https://admin.example.com.",
            id="realtime.W005",
        )


def _other_sites() -> Iterator[CheckMessage]:
    if not settings.WEBSOCKET_ALLOWED_ORIGINS:
        return
    if cors.MIDDLEWARE not in settings.MIDDLEWARE:
        yield Warning(
            "Pages of WEBSOCKET_ALLOWED_ORIGINS may open sockets, and cannot log in for them.",
            hint=f"Put {cors.MIDDLEWARE} first in MIDDLEWARE.",
            id="realtime.W024",
        )
    elif getattr(settings, "CORS_ALLOW_CREDENTIALS", False):
        yield Error(
            "CORS_ALLOW_CREDENTIALS lets pages of other sites read with their visitor's session.",
            hint="Apps and other sites log in with tokens: leave it off.",
            id="realtime.E023",
        )


def _proxies() -> Iterator[CheckMessage]:
    """Where every client would have one address: the limits by address would hit them all."""
    trusted = addresses.trusted_networks()
    if any(network.prefixlen == 0 for network in trusted):
        yield Warning(
            "TRUSTED_PROXIES believes everybody.",
            hint="Whoever reaches the port then writes an address of choice and passes every "
            "limit by address: name the networks of your proxies.",
            id="realtime.W021",
        )
    header = settings.CLIENT_ADDRESS_HEADER
    if not settings.SECURE_PROXY_SSL_HEADER and header == DEFAULTS["CLIENT_ADDRESS_HEADER"]:
        return  # nothing says that there is a proxy
    listens = _listens_on()
    only_here = all(network.is_loopback for network in trusted)
    if not trusted or (only_here and not _is_loopback(listens)):
        named = "this machine only" if trusted else "no proxy"
        yield Warning(
            f"TRUSTED_PROXIES names {named}, and the server listens on {listens}.",
            hint="All clients of a proxy that is not named count as one address, and one of them "
            f"locks all out: name it, and see that it overwrites {header}. If it is on this "
            "machine, listen there: REALTIME_BIND=127.0.0.1:9000.",
            id="realtime.W020",
        )


def _listens_on() -> str:
    """As `serve` chooses it."""
    if settings.REALTIME_BIND:
        return str(settings.REALTIME_BIND).rpartition(":")[0].strip("[]")
    host = str(settings.WEBSOCKET_HOST).strip("[]")
    return host if _is_loopback(host) else "0.0.0.0"  # noqa: S104 - only said


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _database() -> Iterator[CheckMessage]:
    known = settings.DATABASES[DEFAULT_DB_ALIAS]
    if known["ENGINE"].endswith("sqlite3"):
        yield Warning(
            "The database is SQLite.",
            hint="One writer at a time, on one machine: set DATABASE_URL to a PostgreSQL.",
            id="realtime.W006",
        )
        return
    threads = settings.REALTIME_DATABASE_THREADS
    pool = known.get("OPTIONS", {}).get("pool")
    if not pool:
        if known.get("CONN_MAX_AGE") == 0:
            yield Warning(
                "Each query of a socket opens a connection of its own.",
                hint='Set "pool" in the OPTIONS of the database.',
                id="realtime.W007",
            )
        return
    size = _pool_size({} if pool is True else pool)
    if size < threads:
        yield Warning(
            f"The pool has {size} connections for {threads} threads.",
            hint="Its max_size should be REALTIME_DATABASE_THREADS or more.",
            id="realtime.W008",
        )


@checks.register(checks.Tags.database, SERVING)
def check_connections(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Asks the server itself: by `check --database default`, `migrate`, and when `serve` starts."""
    if DEFAULT_DB_ALIAS not in (databases or ()) or connection.vendor != "postgresql":
        return []
    if setting_checks.are_wrong():
        return []
    pool = connection.settings_dict["OPTIONS"].get("pool")
    if not pool or not settings.REALTIME_PROCESSES:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
        )
        allowed = cursor.fetchone()[0]
    size = _pool_size({} if pool is True else pool)
    wanted = settings.REALTIME_PROCESSES * size
    if wanted <= allowed:
        return []
    return [
        Warning(
            f"{settings.REALTIME_PROCESSES} processes with {size} connections each may want "
            f"{wanted}, and PostgreSQL allows {allowed}.",
            hint="Raise max_connections, lower REALTIME_DATABASE_THREADS (a pool has twice as "
            "many), or put PgBouncer between and set REALTIME_PROCESSES=0.",
            id="realtime.W009",
        )
    ]


@checks.register(checks.Tags.database)
def check_streams(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Ask whether a part of the database was restored without the other."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    try:
        names = [*restoration.behind()]
    except DatabaseError:  # before the first migration
        return []
    if not names:
        return []
    return [
        Warning(  # `serve` refuses it; `migrate` may have to come first
            f"{len(names)} streams are behind what was said in them, {names[0]} for one.",
            hint="A part of the database was restored: run manage.py restored before serving.",
            id="realtime.W022",
        )
    ]


def _pool_size(options: dict[str, Any]) -> int:
    least: int = options.get("min_size", 4)  # psycopg_pool's defaults
    return options.get("max_size") or least
