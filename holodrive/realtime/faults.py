"""Classifies what the database raises. No other module knows an SQLSTATE, or SQLite's words for it.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import time

from django.db import InterfaceError, InternalError, OperationalError
from django.db.transaction import TransactionManagementError

# Not the client's fault, and temporary: away, shutting down, locked for too long, full, read-only,
# out of connections, or damaged. psycopg makes 25006 (read-only) and XX000 an InternalError.
FAULTS = (OperationalError, InterfaceError, InternalError)

READ_ONLY = "read-only"
DISK_FULL = "disk full"

_ABORTED = "25P02"
_LOST_RACES = ("40001", "40P01", "55P03")  # serialization failure, deadlock, lock time-out
_REFUSED_WRITES = {"25006": READ_ONLY, "53100": DISK_FULL}
_SQLITE_REFUSED_WRITES = {
    "attempt to write a readonly database": READ_ONLY,
    "database or disk is full": DISK_FULL,
}
_KNOWN_SECONDS = 60.0  # for which a refused write says something about the next one


def lost_race(problem: Exception) -> bool:
    """Return whether a transaction lost against another one: nothing was stored, and the same again
    may succeed at once.
    """
    return _sqlstate(problem) in _LOST_RACES or "database is locked" in str(problem)


def refused_write(problem: Exception) -> str | None:
    """Return READ_ONLY or DISK_FULL if the database takes no changes; None for any other fault."""
    state = _sqlstate(problem)
    if state is not None:
        return _REFUSED_WRITES.get(state)
    return next((why for text, why in _SQLITE_REFUSED_WRITES.items() if text in str(problem)), None)


def expose(problem: Exception) -> None:
    """Raise TransactionManagementError if a program caught a database error inside of a transaction
    and went on: a mistake, which psycopg calls an InternalError as well.
    """
    if _sqlstate(problem) == _ABORTED:
        raise TransactionManagementError(
            "A database error was caught inside this transaction: use atomic() around what may fail"
        ) from problem


def _sqlstate(problem: Exception) -> str | None:
    return getattr(problem.__cause__, "sqlstate", None)


class Writes:
    """Remembers why this process's last write was refused, so that readiness need not write."""

    def __init__(self) -> None:
        self._refused: str | None = None
        self._at = 0.0

    def refused(self, why: str) -> None:
        self._refused, self._at = why, time.monotonic()

    def succeeded(self) -> None:
        self._refused = None

    def database_is(self, *, read_only: bool) -> None:
        """Take in what the server itself says: about a full disk it says nothing."""
        if read_only:
            self.refused(READ_ONLY)
        elif self._refused == READ_ONLY:
            self.succeeded()

    def refusal(self) -> str | None:
        """Return READ_ONLY or DISK_FULL; None if writes succeed, or none was tried lately."""
        is_recent = time.monotonic() - self._at < _KNOWN_SECONDS
        return self._refused if is_recent else None


writes = Writes()
