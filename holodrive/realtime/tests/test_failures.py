"""Bad days, each on a real server with a database and a Valkey of its own: what the client sees,
what is logged, what is counted. docs/explanation/failure-modes.md is the table of them.
"""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import redis
from websockets.exceptions import ConnectionClosed

from testing.client import RemoteSocket, bearer, wait_until
from testing.parts import missing
from testing.patience import PATIENCE, patience
from testing.server import ServerProcess
from testing.services import ROOT, PostgreSQL, free_port

RECONCILED = 4.0  # seconds: an event without a wake-up is promised within 3
PASSWORD = "known-to-these-tests"
TRIP = 2  # the demo's trip of rider and driver
CHAT, HISTORY = f"/ws/chat/{TRIP}/", f"/api/conversations/{TRIP}/messages/"
QUEUE, NOTES = "/ws/support/", f"/ws/support/notes/{TRIP}/"


def manage(url, *arguments):
    run = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url, "DEBUG": "on"},
        capture_output=True,
        text=True,
        timeout=patience(120),
    )
    assert run.returncode == 0, run.stderr


def fill(url):
    """The demo's people, with a password that is not published: without DEBUG nobody serves it."""
    manage(url, "demo")
    code = (
        "from django.contrib.auth import get_user_model\n"
        "for user in get_user_model().objects.all():\n"
        f"    user.set_password({PASSWORD!r})\n"
        "    user.save()"
    )
    manage(url, "shell", "--no-imports", "-c", code)


class SQLite:
    """A file with the demo's users; a lock is refused after four times a second."""

    def __init__(self, file):
        self.file = file
        self.url = f"sqlite:///{file}"
        self.impatient = f"{self.url}?timeout=1"

    def connect(self):
        return sqlite3.connect(self.file, isolation_level=None, timeout=20)

    def run(self, statement):
        connection = self.connect()
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    @contextmanager
    def locked(self):
        connection = self.connect()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()


class Cluster:
    """The same on PostgreSQL."""

    def __init__(self, postgresql):
        self.postgresql = postgresql
        self.url = postgresql.url
        self.impatient = f"{self.url}?options={quote('-c lock_timeout=200ms')}"

    def connect(self):
        return psycopg.connect(self.url, autocommit=True)

    def run(self, statement):
        with self.connect() as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def locked(self):
        with self.connect() as connection, connection.transaction():
            name = f"conversation.{TRIP}"
            connection.execute(
                "INSERT INTO realtime_stream (name, head) VALUES (%s, 0) "
                "ON CONFLICT (name) DO UPDATE SET head = realtime_stream.head",
                (name,),
            )
            yield

    def backends(self):
        """Of the server: whoever else is connected."""
        return self.run(
            "SELECT pid, wait_event_type FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )


@pytest.fixture(scope="module")
def demo_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("demo") / "demo.sqlite3"
    manage(f"sqlite:///{file}", "migrate", "-v", "0")
    fill(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite(demo_file, tmp_path):
    return SQLite(shutil.copy(demo_file, tmp_path / "db.sqlite3"))


@pytest.fixture(scope="module")
def cluster():
    try:
        postgresql = PostgreSQL()
    except FileNotFoundError as problem:
        missing("A failing PostgreSQL", str(problem))
    manage(postgresql.url, "migrate", "-v", "0")
    fill(postgresql.url)
    yield Cluster(postgresql)
    postgresql.stop()


class PgBouncer:
    """In transaction mode, with far fewer connections than the server's pool would take."""

    CONFIGURATION = """
        [databases]
        postgres = host=127.0.0.1 port={behind} user=postgres
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = any
        pool_mode = transaction
        default_pool_size = 3
        ignore_startup_parameters = options
    """

    def __init__(self, postgresql, home):
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            missing("PgBouncer", "pgbouncer (Debian: pgbouncer)")
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        file = home / "pgbouncer.ini"
        text = self.CONFIGURATION.format(behind=postgresql.port, port=self.port)
        file.write_text("\n".join(line.strip() for line in text.splitlines()))
        as_user = ["-u", "postgres"] if os.getuid() == 0 else []
        home.chmod(0o755)
        self.process = subprocess.Popen(
            [program, "-q", *as_user, str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def _answers(self):
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def bouncer(cluster):
    cluster.run("ALTER ROLE postgres SET lock_timeout = '2s'")
    with tempfile.TemporaryDirectory(prefix="holodrive-pgbouncer-") as home:
        started = PgBouncer(cluster.postgresql, Path(home))
        yield started
        started.stop()
    cluster.run("ALTER ROLE postgres RESET lock_timeout")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """Each kind of database."""
    return request.getfixturevalue("cluster" if request.param == "postgresql" else "sqlite")


class Place:
    """One server and those who talk through it."""

    def __init__(self, valkey, database_url, **settings):
        settings.setdefault("REDIS_URL", valkey.url)
        self.server = ServerProcess(DATABASE_URL=database_url, **settings)
        self.sockets = []

    def headers(self, name):
        body = {"username": name, "password": PASSWORD}
        status, tokens = self.server.request("POST", "/api/token/", body)
        assert status == 200, tokens
        return bearer(tokens["access"])

    def dial(self, name, headers=None, path=CHAT):
        headers = self.headers(name) if headers is None else headers
        socket = RemoteSocket(self.server.address, path, headers=headers, ping_interval=None)
        self.sockets.append(socket)
        return socket

    def chat(self, name, headers=None):
        socket = self.dial(name, headers)
        socket.welcome = socket.frame("connection_established")
        return socket

    def count(self, name, labels=""):
        """A metric's value."""
        _, text = self.server.request("GET", "/metrics")
        found = re.search(rf"^{name}{re.escape(labels)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def logged(self, text):
        wait_until(lambda: text in self.server.log())
        assert "Traceback" not in self.server.log()

    def close(self):
        for socket in self.sockets:
            socket.close()
        self.server.discard()


@pytest.fixture
def place(valkey):
    places = []

    def start(database_url, **settings):
        places.append(Place(valkey, database_url, **settings))
        return places[-1]

    yield start
    for made in places:
        made.close()


def message(text, id):
    return {"type": "chat_message", "message": text, "client_message_id": id}


def stored(database, id):
    return database.run(f"SELECT count(*) FROM chat_message WHERE client_message_id = '{id}'")[0][0]  # noqa: S608


def assert_said(socket, id, seconds=PATIENCE):
    error = socket.frame("error", seconds=seconds)
    assert (error["code"], error["ref"], error["retryable"]) == ("unavailable", id, True)


def assert_refused(socket, seconds=PATIENCE):
    error = socket.frame("error", seconds=seconds)
    assert (error["code"], error["retryable"]) == ("unavailable", True)
    with pytest.raises(ConnectionClosed):
        socket.frame()
    assert socket.connection.close_code == 1013


# Redis. That nothing is lost: test_server.py.


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_redis_away_is_logged_counted_and_costs_time_only(place, sqlite, valkey, fault):
    one, other = place(sqlite.url), place(sqlite.url)
    rider, driver = one.chat("rider"), other.chat("driver")
    getattr(valkey, fault)()
    rider.send(message("Hi", fault))
    assert rider.frame("message_ack")
    assert driver.frame("chat_message", seconds=RECONCILED)["message"] == "Hi"
    one.logged("Redis does not take wake-ups")
    assert one.count("holodrive_publish_failures_total") > 0
    assert other.count("holodrive_repairs_total") > 0
    status, report = one.server.request("GET", "/readyz")
    assert (status, report["redis"]) == (200, "unreachable")
    if fault == "kill":
        one.logged("Redis is lost")
        valkey.start()
        one.logged("Redis is back")


def test_a_redis_without_memory_still_wakes_and_logins_go_on(place, sqlite, valkey):
    one, other = place(sqlite.url), place(sqlite.url)
    rider, driver = one.chat("rider"), other.chat("driver")
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            client.set("x", "1")
    rider.send(message("Hi", "oom"))
    assert driver.frame("chat_message")["message"] == "Hi"
    assert one.count("holodrive_publish_failures_total") == 0
    later = other.chat("driver")  # a login (its failures are counted here now), and a join
    rider.send(message("Hi again", "oom2"))
    assert later.frame("chat_message")["message"] == "Hi again"
    status, report = one.server.request("GET", "/readyz")
    assert (status, report["redis"]) == (200, "refusing")


def test_a_wrong_password_of_redis_is_as_redis_away(place, sqlite, valkey):
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("requirepass", "another")
    one, other = place(sqlite.url), place(sqlite.url)
    rider, driver = one.chat("rider"), other.chat("driver")
    rider.send(message("Hi", "auth"))
    assert driver.frame("chat_message", seconds=RECONCILED)["message"] == "Hi"
    one.logged("Redis does not take wake-ups")
    assert "REDIS_URL does not answer" in one.server.log()  # at the start
    assert one.count("holodrive_publish_failures_total") > 0
    assert one.server.request("GET", "/readyz")[1]["redis"] == "unreachable"


# The database


def test_a_send_to_a_locked_database_is_retryable_and_stored_once(place, database):
    here = place(database.impatient)
    headers = here.headers("rider")
    rider = here.chat("rider", headers)
    id = f"locked-{time.time_ns()}"
    body = {"message": "Hi", "client_message_id": f"{id}-rest"}
    with database.locked():
        rider.send(message("Hi", id))
        assert_said(rider, id, seconds=10)
        status, answer = here.server.request("POST", HISTORY, body, headers)
        assert (status, answer["code"], answer["retryable"]) == (503, "unavailable", True)
    here.logged("The database did not do it")
    here.logged("database is locked" if database.url.startswith("sqlite") else "lock timeout")
    assert here.count("holodrive_database_failures_total") >= 2
    assert here.count("holodrive_errors_total", '{code="unavailable"}') == 1
    for duplicate in (False, True):
        rider.send(message("Hi", id))
        assert rider.frame("message_ack")["duplicate"] is duplicate
        status, _ = here.server.request("POST", HISTORY, body, headers)
        assert status == (200 if duplicate else 201)
    assert (stored(database, id), stored(database, f"{id}-rest")) == (1, 1)


def test_behind_a_locked_sqlite_opens_whatever_writes_nothing(place, sqlite):
    """An agent's first look at a conversation is audited, a ticket is used up: both are writes."""
    here = place(sqlite.impatient)
    rider, agent = here.headers("rider"), here.headers("admin")
    ticket = here.server.request("POST", "/api/realtime/ticket/", headers=rider)[1]["ticket"]
    with_ticket = f"{CHAT}?ticket={ticket}"
    with sqlite.locked():
        assert here.chat("rider", rider).welcome
        assert here.dial("admin", agent, QUEUE).frame("connection_established")
        assert_refused(here.dial("admin", agent))
        assert_refused(here.dial("admin", agent, NOTES))
        assert_refused(here.dial("rider", {}, with_ticket))
        assert here.server.request("GET", HISTORY, headers=rider)[0] == 200
        assert here.server.request("GET", HISTORY, headers=agent)[0] == 503
        assert here.server.request("POST", "/api/realtime/ticket/", headers=rider)[0] == 503
    assert here.dial("rider", {}, with_ticket).frame("connection_established")
    assert here.chat("admin", agent).welcome
    with sqlite.locked():  # it was audited a moment ago
        assert here.chat("admin", agent).welcome


def test_a_connection_that_is_cut_under_a_send_is_retryable(place, cluster):
    here = place(cluster.url)
    rider = here.chat("rider")
    id = f"cut-{time.time_ns()}"
    with cluster.locked():
        rider.send(message("Hi", id))
        wait_until(lambda: any(wait == "Lock" for _, wait in cluster.backends()))
        for pid, wait in cluster.backends():
            if wait == "Lock":
                cluster.run(f"SELECT pg_terminate_backend({pid})")
        assert_said(rider, id)
    here.logged("terminating connection")
    assert here.count("holodrive_database_failures_total") == 1
    rider.send(message("Hi", id))
    assert rider.frame("message_ack")["duplicate"] is False
    assert stored(cluster, id) == 1


def test_idle_connections_that_were_cut_are_noticed_before_they_are_used(place, cluster):
    here = place(cluster.url)
    rider = here.chat("rider")
    for pid, _ in cluster.backends():
        cluster.run(f"SELECT pg_terminate_backend({pid})")
    rider.send(message("Hi", "idle"))
    assert rider.frame("message_ack", seconds=patience(10))
    assert here.count("holodrive_errors_total", '{code="unavailable"}') == 0


def test_a_postgresql_that_stops_and_starts_costs_no_socket(place, cluster):
    here = place(cluster.url)
    headers = here.headers("rider")
    rider, driver = here.chat("rider", headers), here.chat("driver")
    id = f"stopped-{time.time_ns()}"
    cluster.postgresql.halt()
    try:
        rider.send(message("Hi", id))
        assert_said(rider, id, seconds=15)
        assert_refused(here.dial("rider", headers), seconds=15)
        status, report = here.server.request("GET", "/readyz")
        assert (status, report["database"]) == (503, "unreachable")
        status, answer = here.server.request("GET", "/api/me/", headers=headers)
        assert (status, answer["code"]) == (503, "unavailable")
    finally:
        cluster.postgresql.resume()
    here.logged("The database did not do it")
    assert here.count("holodrive_database_failures_total") >= 3

    def acked():
        rider.send(message("Hi", id))
        return rider.frame(seconds=patience(15))["type"] == "message_ack"

    wait_until(acked, seconds=patience(30))
    assert driver.frame("chat_message", seconds=patience(10))["client_message_id"] == id
    assert stored(cluster, id) == 1


def test_slow_requests_leave_connections_for_sockets(place, cluster):
    """A pool of four connections, ten requests that hold one each for seconds: two may run at once,
    the others wait their turn.
    """
    here = place(cluster.url, REALTIME_DATABASE_THREADS="2")
    headers = here.headers("rider")
    answers = []

    def post():
        answers.append(here.server.request("POST", HISTORY, {"message": "slow"}, headers)[0])

    with cluster.locked():
        threads = [threading.Thread(target=post) for _ in range(10)]
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(wait == "Lock" for _, wait in cluster.backends()) == 2)
        joined = [here.chat("rider", headers) for _ in range(5)]
        assert all(socket.welcome for socket in joined)
        assert answers == []
        assert sum(wait == "Lock" for _, wait in cluster.backends()) == 2
    for thread in threads:
        thread.join()
    assert answers == [201] * 10


def fill_up(sqlite, pages):
    """Not one entry of the audit log more fits in: nor in what the pages that it has leave."""
    connection = sqlite.connect()
    connection.execute(f"PRAGMA max_page_count={pages}")
    with closing(connection), suppress(sqlite3.OperationalError):
        while True:
            connection.execute(
                "INSERT INTO chat_auditentry "
                "(actor_id, actor_name, action, conversation_id, detail, at) "
                "SELECT id, '', '', ?, '{}', '2026-01-01 00:00:00.000000' "
                "FROM accounts_user WHERE username = 'admin'",
                (TRIP,),
            )


def test_a_full_disk_is_retryable_and_reading_goes_on(place, sqlite):
    """PRAGMA max_page_count stands for the disk: the same error, without filling one."""
    pages = sqlite.run("PRAGMA page_count")[0][0]
    pragmas = quote(f"PRAGMA journal_mode=WAL; PRAGMA max_page_count={pages + 20};")
    here = place(f"{sqlite.url}?init_command={pragmas}")
    headers, agent = here.headers("rider"), here.headers("admin")
    rider = here.chat("rider", headers)
    for number in range(100):
        rider.send(message("x" * 4000, f"full-{number}"))
        answer = rider.frame()
        while answer["type"] == "chat_message":
            answer = rider.frame()
        if answer["type"] == "error":
            break
    assert (answer["code"], answer["retryable"]) == ("unavailable", True)
    assert answer["ref"] == f"full-{number}"
    here.logged("database or disk is full")
    status, report = here.server.request("GET", "/readyz")
    assert (status, report["writes"]) == (200, "disk full")
    assert here.count("holodrive_database_failures_total") > 0
    assert here.chat("rider", headers).welcome["last_seq"] >= number
    assert here.server.request("GET", HISTORY, headers=headers)[0] == 200
    fill_up(sqlite, pages + 20)
    assert_refused(here.dial("admin", agent))  # nobody of support reads without its being audited
    assert here.server.request("GET", HISTORY, headers=agent)[0] == 503
    assert_refused(here.dial("admin", agent, NOTES))
    assert here.dial("admin", agent, QUEUE).frame("connection_established")
    with_room = place(sqlite.url)
    rider = with_room.chat("rider", headers)
    rider.send(message("x" * 4000, f"full-{number}"))
    assert rider.frame("message_ack")["duplicate"] is False
    assert stored(sqlite, f"full-{number}") == 1


# The server


def test_a_server_killed_under_its_sends_stores_each_once(place, database):
    here = place(database.url)
    headers = here.headers("rider")
    rider = here.chat("rider", headers)
    run = time.time_ns()
    ids = [f"kill-{run}-{number}" for number in range(25)]
    for id in ids:
        rider.send(message("Hi", id))
    while rider.frame("message_ack")["client_message_id"] != ids[4]:
        pass  # some are acked, some are stored, some are on their way
    here.server.kill()
    here.server.start()
    again = here.chat("rider", headers)
    assert again.welcome["last_seq"] >= 5
    for id in ids:
        again.send(message("Hi", id))
        ack = again.frame("message_ack")
        assert ack["client_message_id"] == id
        assert ack["duplicate"] or id not in ids[:5]
    assert [stored(database, id) for id in ids] == [1] * len(ids)


def test_behind_pgbouncer_in_transaction_mode_nothing_is_different(place, cluster, bouncer):
    here = place(bouncer.url, REALTIME_PROCESSES="0")
    headers = here.headers("rider")
    riders = [here.chat("rider", headers) for _ in range(6)]
    driver = here.chat("driver")
    run = time.time_ns()
    for number in range(60):
        riders[number % 6].send(message(f"{number}", f"{run}-{number}"))
    seqs = [driver.frame("chat_message")["seq"] for _ in range(60)]
    assert seqs == list(range(seqs[0], seqs[0] + 60))
    for rider in riders:
        assert len({rider.frame("message_ack")["seq"] for _ in range(10)}) == 10
    assert len(cluster.backends()) <= 3 + 1  # and an autovacuum's, perhaps
    with psycopg.connect(bouncer.url) as connection:
        assert connection.execute("SHOW lock_timeout").fetchone() == ("2s",)


def test_more_pools_than_postgresql_has_connections_is_said_at_the_start(place, cluster):
    here = place(cluster.url, REALTIME_PROCESSES="20")
    here.logged("warning: 20 processes with 32 connections each may want 640, and PostgreSQL")
    assert "may want" not in place(cluster.url, REALTIME_PROCESSES="9").server.log()
