"""System checks of PostgreSQL as it was set up: by `check --database default`, by `migrate`, and
when `serve` starts. They ask the server itself, by a connection with all that the project sets.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from holodrive.realtime.checks import SERVING

_ASKED = (
    "DateStyle",
    "lock_timeout",
    "server_encoding",
    "statement_timeout",
    "synchronous_commit",
    "transaction_isolation",
    "transaction_read_only",
)
_READ_COMMITTED = "read committed"

Found = dict[str, str]


@checks.register(checks.Tags.database, SERVING)
def check_server(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """What texts, times and transactions need of the server."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    if connections[DEFAULT_DB_ALIAS].vendor != "postgresql":
        return []
    found = _settings()
    return [
        *_encoding(found),
        *_times(found),
        *_isolation(found),
        *_read_only(found),
        *_timeouts(found),
        *_durability(found),
    ]


def _settings() -> Found:
    """Settings by name as this connection has them; times are in milliseconds."""
    connection = connections[DEFAULT_DB_ALIAS]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(_ASKED)])
        found = dict(cursor.fetchall())
        with transaction.atomic():
            cursor.execute("SHOW transaction_isolation")
            (found["isolation in a transaction"],) = cursor.fetchone()
    return found


def _encoding(found: Found) -> Iterator[CheckMessage]:
    encoding = found["server_encoding"]
    if encoding != "UTF8":
        name = connections[DEFAULT_DB_ALIAS].settings_dict["NAME"]
        yield Error(
            f"The encoding of the database {name!r} is {encoding}, and must be UTF8.",
            hint="Make another (createdb -E UTF8 --locale=C.UTF-8 -T template0 NAME), and restore "
            "a dump of this one into it.",
            id="realtime.E040",
        )


def _times(found: Found) -> Iterator[CheckMessage]:
    style = found["DateStyle"]
    if not style.startswith("ISO"):
        yield Error(
            f"DateStyle is {style}, in which psycopg reads no times.",
            hint='Add "-c datestyle=iso" to "options" in the OPTIONS of the database, or behind '
            "PgBouncer ALTER ROLE ... SET datestyle = 'ISO'.",
            id="realtime.E041",
        )


def _isolation(found: Found) -> Iterator[CheckMessage]:
    levels = {found["transaction_isolation"], found["isolation in a transaction"]}
    if others := sorted(levels - {_READ_COMMITTED}):
        yield Warning(
            f"Transactions are {' and '.join(others)}: of those that meet, all but one fail.",
            hint='Set "isolation_level": psycopg.IsolationLevel.READ_COMMITTED in the OPTIONS of '
            "the database, and ALTER ROLE ... SET default_transaction_isolation = "
            f"'{_READ_COMMITTED}'.",
            id="realtime.W040",
        )


def _read_only(found: Found) -> Iterator[CheckMessage]:
    if found["transaction_read_only"] == "on":
        yield Warning(
            "The database takes no changes: reading goes on, and nothing can be sent.",
            hint="It is a standby, or default_transaction_read_only is on.",
            id="realtime.W041",
        )


def _timeouts(found: Found) -> Iterator[CheckMessage]:
    lock, statement = int(found["lock_timeout"]), int(found["statement_timeout"])
    if lock == 0:
        yield Warning(
            "lock_timeout is 0: whoever waits for a lock keeps a thread for as long.",
            hint='Add "-c lock_timeout=2s" to "options" in the OPTIONS of the database, or behind '
            "PgBouncer ALTER ROLE ... SET lock_timeout = '2s'.",
            id="realtime.W042",
        )
    if 0 < statement <= lock:
        yield Warning(
            f"statement_timeout ({statement} ms) is not above lock_timeout ({lock} ms): what waits "
            "for a lock is cancelled before it is tried again.",
            hint="Raise statement_timeout, or lower lock_timeout.",
            id="realtime.W043",
        )


def _durability(found: Found) -> Iterator[CheckMessage]:
    if found["synchronous_commit"] == "off":
        yield Warning(
            "synchronous_commit is off: a crash of PostgreSQL loses messages that were "
            "acknowledged, and clients do not notice.",
            hint="ALTER DATABASE ... SET synchronous_commit = on.",
            id="realtime.W044",
        )
