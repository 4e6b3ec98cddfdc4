"""Classification of what the database raises: bugs, faults, lost races and refused writes."""

import logging
import time
from types import SimpleNamespace

import psycopg
import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InternalError,
    OperationalError,
    connections,
)
from django.db.transaction import TransactionManagementError
from django.db.utils import DatabaseErrorWrapper

from holodrive.realtime import database, faults, log
from holodrive.realtime.faults import DISK_FULL, FAULTS, READ_ONLY, Writes

RACE = "race"  # tried again at once
KINDS = {
    "08000": None,  # connection exceptions
    "08003": None,
    "08006": None,
    "08P01": None,  # of PgBouncer
    "25006": READ_ONLY,
    "25P03": None,  # idle_in_transaction_session_timeout
    "40001": RACE,
    "40003": None,  # nobody knows whether it was committed
    "40P01": RACE,
    "53100": DISK_FULL,
    "53200": None,
    "53300": None,  # too many connections
    "55P03": RACE,
    "57014": None,  # statement_timeout, or pg_cancel_backend
    "57P01": None,  # shutdowns
    "57P02": None,
    "57P03": None,
    "57P05": None,  # idle_session_timeout
    "58030": None,
    "XX000": None,
    "XX001": None,
}
BUGS = ["22001", "22021", "23505", "42501", "42P01", "0A000"]


def raised(state):
    """As Django raises it."""
    wrapper = DatabaseErrorWrapper(SimpleNamespace(Database=psycopg, errors_occurred=False))
    with pytest.raises(DatabaseError) as found, wrapper:
        raise psycopg.errors.lookup(state)("it says")
    return found.value


@pytest.mark.parametrize(("state", "kind"), KINDS.items())
def test_a_fault_is_classified_by_its_code(state, kind):
    problem = raised(state)
    assert isinstance(problem, FAULTS)
    assert faults.lost_race(problem) is (kind == RACE)
    assert faults.refused_write(problem) == (kind if kind != RACE else None)


@pytest.mark.parametrize("state", BUGS)
def test_a_bug_is_no_fault(state):
    assert not isinstance(raised(state), FAULTS)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("state", "kind"), [("25P02", TransactionManagementError), ("XX000", InternalError)]
)
def test_an_error_that_was_caught_inside_a_transaction_is_a_bug(state, kind):
    """Else all the messages that share it would be `unavailable`, and nothing would say why."""
    with pytest.raises(kind) as found, log.writing("conversation.1"):
        raise raised(state)
    assert isinstance(found.value, FAULTS) is (state == "XX000")


@pytest.mark.parametrize(
    ("text", "is_race", "refused"),
    [
        ("database is locked", True, None),
        ("attempt to write a readonly database", False, READ_ONLY),
        ("database or disk is full", False, DISK_FULL),
        ("disk I/O error", False, None),
    ],
)
def test_sqlite_has_words_for_codes(text, is_race, refused):
    problem = OperationalError(text)
    assert (faults.lost_race(problem), faults.refused_write(problem)) == (is_race, refused)


@pytest.fixture
def writes(monkeypatch):
    monkeypatch.setattr(faults, "writes", Writes())
    return faults.writes


@pytest.mark.parametrize(
    ("state", "said"), [("25006", READ_ONLY), ("53100", DISK_FULL), ("57P01", None)]
)
def test_a_refused_write_is_remembered_and_said_in_one_line(writes, caplog, state, said):
    with caplog.at_level(logging.WARNING):
        answer = database.unavailable(raised(state))
    assert (answer.code, answer.retryable) == ("unavailable", True)
    assert ("takes no changes" in answer.message) is (said is not None)
    assert writes.refusal() == said
    assert [record.exc_info for record in caplog.records] == [None]


def test_what_was_refused_is_forgotten_after_a_success_or_a_minute(writes, monkeypatch):
    writes.refused(DISK_FULL)
    writes.database_is(read_only=False)
    assert writes.refusal() == DISK_FULL  # a server does not say that of itself
    writes.succeeded()
    assert writes.refusal() is None
    writes.database_is(read_only=True)
    assert writes.refusal() == READ_ONLY
    writes.database_is(read_only=False)
    assert writes.refusal() is None
    writes.refused(DISK_FULL)
    later = time.monotonic() + 61
    monkeypatch.setattr(faults, "time", SimpleNamespace(monotonic=lambda: later))
    assert writes.refusal() is None


class Pool:
    def __init__(self):
        self.drained = 0

    def drain(self):
        self.drained += 1


@pytest.mark.parametrize(("state", "is_kept"), [("25006", False), ("53100", True)])
def test_without_a_pool_a_read_only_session_ends_behind_its_request(
    writes, monkeypatch, state, is_kept
):
    """Else it would refuse writes for CONN_MAX_AGE, for ever by None."""
    here = connections[DEFAULT_DB_ALIAS]
    monkeypatch.setattr(here, "close_at", None)
    database.unavailable(raised(state))
    closes_at = here.close_at
    assert (closes_at is None) if is_kept else (closes_at <= time.monotonic())


def test_a_read_only_database_renews_the_pool_but_not_at_every_write(writes, monkeypatch):
    pool = Pool()
    monkeypatch.setattr(database.connection, "_connection_pools", {"default": pool}, raising=False)
    monkeypatch.setattr(database, "_renewed_at", float("-inf"))
    database.note(raised("53100"))
    assert pool.drained == 0
    for _ in range(5):
        database.note(raised("25006"))
    assert pool.drained == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("state", "status", "said"),
    [("25006", 200, READ_ONLY), ("53100", 200, DISK_FULL), ("", 400, None)],
)
def test_who_only_reads_is_answered_though_each_request_saves_the_session(
    writes, settings, client, make_user, monkeypatch, state, status, said
):
    """Not if the session is gone, for which Django raises the same."""

    def save(self, must_create=False):
        try:
            if state:
                raise raised(state)
        except DatabaseError:
            raise UpdateError  # noqa: B904 - as Django does
        raise UpdateError

    settings.SESSION_SAVE_EVERY_REQUEST = True
    client.force_login(make_user("rider"))
    monkeypatch.setattr(SessionStore, "save", save)
    assert client.get("/api/me/").status_code == status
    assert writes.refusal() == said
