"""PostgreSQL as it is found in the field: made with LANG=C, with defaults of its own, read-only.

One cluster as Debian makes it without LANG (SQL_ASCII), with a server on each of two databases.
"""

import http.client
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from django.core.checks import run_checks
from django.db import connections
from django.db.utils import ConnectionHandler
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict
from websockets.exceptions import ConnectionClosed

from holodrive.realtime import checks, log
from testing.client import RemoteSocket, bearer, wait_until
from testing.parts import missing
from testing.patience import ANSWER, PATIENCE, START, patience
from testing.server import ServerProcess
from testing.services import ROOT, PostgreSQL, free_port

PASSWORD = "known-to-these-tests"

# Prints what the tests need to know, as JSON.
PEOPLE = """
import json
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from chat import notes, services
from chat.models import Conversation, SupportMember
from holodrive.realtime.tokens import ObtainSerializer
from notifications.models import Notification

def person(role, **fields):
    return get_user_model().objects.create(username=role, role=role, first_name=role, **fields)

rider, driver, guest = person("rider"), person("driver"), person("guest")
agent = person("admin", is_staff=True, is_superuser=True)
for user in (rider, agent):
    user.set_password({password!r})
    user.save()
trip = services.open_trip(rider=rider, driver=driver)
said = services.send_message(user=rider, conversation_id=trip.pk, text="a blue umbrella")
heard = services.send_message(user=driver, conversation_id=trip.pk, text="which one?")
asked = services.open_support(user=rider, subject="umbrella").conversation
note = notes.add_note(user=agent, conversation_id=trip.pk, text="a note")
now = timezone.now()
Conversation.objects.create(kind="support", status="snoozed", snoozed_until=now - timedelta(1))
SupportMember.objects.create(user=driver)  # once: not settled yet
client = Client()
client.force_login(agent)
refresh = ObtainSerializer.get_token(rider)
print(json.dumps(dict(
    rider=str(refresh.access_token), refresh=str(refresh),
    agent=str(ObtainSerializer.get_token(agent).access_token),
    session=client.cookies["sessionid"].value, guest=guest.pk, conversation_id=trip.pk,
    asked=asked.pk, message_id=said.message.pk, heard=heard.message.pk, note_id=note.note.pk,
    notification_id=Notification.objects.create(recipient=rider, title="Ж" * 120).pk, device_id=1,
)))
"""


@pytest.fixture(scope="module")
def cluster():
    try:
        postgresql = PostgreSQL("--locale=C")
    except FileNotFoundError as problem:
        missing("PostgreSQL as it is found in the field", str(problem))
    yield postgresql
    postgresql.stop()


def manage(url, *arguments):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=START,
    )


def recipe():
    """How README.md says that a database is made, without its owner."""
    found = re.search(r"CREATE DATABASE holodrive OWNER holodrive ([^\"]*)", README)
    assert found
    return found[1]


README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def plain(cluster):
    """A migrated database with people, made by README's recipe; others are copied from it."""
    url = cluster.create("plain", recipe())
    run = manage(url, "migrate", "-v", "0")
    assert (run.returncode, run.stderr) == (0, "")
    return url


@pytest.fixture(scope="module")
def people(plain):
    run = manage(plain, "shell", "--no-imports", "-c", PEOPLE.format(password=PASSWORD))
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def serve(cluster, people):
    """`serve("name", setting="value")`: a server on a copy, with defaults for its sessions."""
    started = []

    def start(name, **settings):
        url = cluster.create(name, "TEMPLATE plain", **settings)
        started.append(ServerProcess(DATABASE_URL=url))
        return started[-1]

    yield start
    for process in started:
        process.discard()


@contextmanager
def connected(url, blocker, **options):
    """Within it the default connection of this thread is one to that database."""
    known = conninfo_to_dict(url)
    config = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": known["dbname"],
        "USER": known["user"],
        "HOST": known["host"],
        "PORT": known["port"],
        "OPTIONS": options,
    }
    usual = connections["default"]
    connections["default"] = ConnectionHandler({"default": config})["default"]
    try:
        with blocker.unblock():
            yield
    finally:
        connections["default"].close()
        connections["default"] = usual


# What can be checked is said at the start


GOOD = "-c lock_timeout=2s"


def found():
    """Ids of what the default connection's server is warned of."""
    messages = run_checks(tags=[checks.SERVING], databases=["default"])
    assert all(message.hint for message in messages)
    return [message.id for message in messages]


def encoded(cluster, encoding):
    return cluster.create(f"in_{encoding}", f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")


@pytest.mark.parametrize(
    ("encoding", "command"),
    [("sql_ascii", ["migrate"]), ("latin1", ["serve", "--bind", f"127.0.0.1:{free_port()}"])],
)
def test_another_encoding_than_utf8_is_refused_in_one_sentence(cluster, encoding, command):
    run = manage(encoded(cluster, encoding), *command)
    said = f"The encoding of the database 'in_{encoding}' is {encoding.upper()}, and must be UTF8."
    assert run.returncode == 1
    assert said in run.stderr
    assert "createdb -E UTF8" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("encoding", ["win1251", "euc_jp"])
def test_so_is_any_other(cluster, django_db_blocker, encoding):
    with connected(encoded(cluster, encoding), django_db_blocker, options=GOOD):
        assert found() == ["realtime.E040"]


def test_a_cluster_made_without_lang_is_sql_ascii_and_the_recipe_is_not(cluster, plain):
    encodings = dict(cluster.run("SELECT datname, pg_encoding_to_char(encoding) FROM pg_database"))
    assert (encodings["template1"], encodings["plain"]) == ("SQL_ASCII", "UTF8")


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (GOOD, []),
        (f"{GOOD} -c datestyle=German", ["E041"]),
        (f"{GOOD} -c datestyle=sql,dmy", ["E041"]),
        (f"{GOOD} -c default_transaction_isolation=repeatable\\ read", ["W040"]),
        (f"{GOOD} -c default_transaction_isolation=serializable", ["W040"]),
        (f"{GOOD} -c default_transaction_read_only=on", ["W041"]),
        ("", ["W042"]),
        (f"{GOOD} -c statement_timeout=2s", ["W043"]),
        (f"{GOOD} -c statement_timeout=3s", []),
        (f"{GOOD} -c synchronous_commit=off", ["W044"]),
        (f"{GOOD} -c synchronous_commit=local", []),
    ],
)
def test_what_a_project_leaves_as_it_is_found_is_said(plain, django_db_blocker, options, ids):
    with connected(plain, django_db_blocker, options=options):
        assert found() == [f"realtime.{id}" for id in ids]


def test_an_isolation_that_only_transactions_have_is_said(plain, django_db_blocker):
    options = {"options": GOOD, "isolation_level": IsolationLevel.SERIALIZABLE}
    with connected(plain, django_db_blocker, **options):
        assert found() == ["realtime.W040"]


# What can be set is set


ODD = {
    "bytea_output": "escape",
    "client_encoding": "latin1",
    "client_min_messages": "error",
    "datestyle": "German",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "extra_float_digits": "0",
    "idle_session_timeout": "1s",
    "intervalstyle": "sql_standard",
    "lock_timeout": "0",
    "row_security": "off",
    "standard_conforming_strings": "off",
    "statement_timeout": "30s",
    "timezone": "Asia/Tashkent",
}


def test_a_database_with_defaults_of_its_own_changes_nothing(serve, people):
    """Serializable, with times in German, and backslashes that mean something."""
    server = serve("odd", **ODD)
    assert "warning:" not in server.log()
    path = f"/api/conversations/{people['conversation_id']}/messages/"
    texts = [f"Ўзбекча \\' \\\\ {number} 🚕" for number in range(40)]

    def post(text):
        return server.request("POST", path, {"message": text}, bearer(people["rider"]))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(post, texts))
    assert [status for status, _ in answers] == [201] * len(texts)
    assert [item["message"] for _, item in answers] == texts
    assert all(item["created_at"].endswith("+00:00") for _, item in answers)
    assert sorted(item["seq"] for _, item in answers) == [*range(3, len(texts) + 3)]
    _, page = server.request("GET", "/api/notifications/", headers=bearer(people["rider"]))
    assert page["results"][-1]["title"] == "Ж" * 120  # more bytes than its column has characters
    assert "The database did not do it" not in server.log()


def test_sessions_that_the_pool_keeps_are_not_ended(cluster, plain):
    """With 1 s, whoever waited between two tries of the pool found none that lived: all was 503."""
    url = cluster.create("impatient", "TEMPLATE plain", idle_session_timeout="1s")
    show = "from django.db import connection as c; q = c.cursor(); "
    show += "q.execute('SHOW idle_session_timeout'); print(q.fetchone()[0])"
    run = manage(url, "shell", "--no-imports", "-c", show)
    assert (run.stdout.strip(), run.returncode) == ("0", 0)


def test_a_serialization_failure_is_tried_again(cluster, plain, django_db_blocker):
    """Where a project has left its isolation as it was found."""
    count = """INSERT INTO realtime_stream (name, head) VALUES ('race', 1)
        ON CONFLICT (name) DO UPDATE SET head = realtime_stream.head + 1"""
    calls = []

    @log.retrying
    def write():
        calls.append(log.heads(["race"]))
        with log.writing():
            log.heads(["race"])  # the transaction sees this moment from here on
            if len(calls) == 1:
                with psycopg.connect(plain) as other:
                    other.execute(count)
            with log.writing("race"):
                pass

    with connected(plain, django_db_blocker, isolation_level=IsolationLevel.REPEATABLE_READ):
        write()
    assert calls == [{}, {"race": 1}]


# Read-only, after a fail-over or by an operator's hand


class ReadOnly:
    """A server whose database has become read-only under it, and what was open before."""

    def __init__(self, cluster, server, people):
        self.cluster, self.server, self.people = cluster, server, people
        self.sockets = []
        self.rider = self.dial("rider", self.chat)
        self.rider.frame("connection_established")
        ticket = server.request("POST", "/api/realtime/ticket/", headers=self.headers("rider"))[1]
        self.with_ticket = f"{self.chat}?ticket={ticket['ticket']}"

    @property
    def chat(self):
        return f"/ws/chat/{self.people['conversation_id']}/"

    def headers(self, who):
        return bearer(self.people[who]) if who else {}

    def known(self, fields):
        """With `$name` for what is known by that name."""
        return {
            name: self.people[value[1:]] if str(value).startswith("$") else value
            for name, value in fields.items()
        }

    def dial(self, who, path):
        headers = self.headers(who)
        address = self.server.address
        self.sockets.append(RemoteSocket(address, path, headers=headers, ping_interval=None))
        return self.sockets[-1]

    def begin(self):
        self.cluster.run("ALTER DATABASE standby SET default_transaction_read_only = on")
        self.cluster.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'standby'"
        )

    def end(self):
        """The sessions that began meanwhile stay read-only."""
        self.cluster.run("ALTER DATABASE standby RESET default_transaction_read_only")

    def page(self, method, path, fields=None, cookies=""):
        token = "a" * 32
        headers = {"Cookie": f"csrftoken={token}; {cookies}"}
        body = urlencode({**(fields or {}), "csrfmiddlewaretoken": token})
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        with closing(http.client.HTTPConnection(self.server.address, timeout=ANSWER)) as connection:
            connection.request(method, path, body if method == "POST" else None, headers)
            answer = connection.getresponse()
            return answer, answer.read().decode()


@pytest.fixture(scope="module")
def standby(cluster, serve, people):
    here = ReadOnly(cluster, serve("standby"), people)
    here.begin()
    yield here
    for socket in here.sockets:
        socket.close()


def assert_retryable(answer):
    assert (answer["code"], answer["retryable"]) == ("unavailable", True)


def assert_refused(socket):
    assert_retryable(socket.frame("error", seconds=PATIENCE))
    with pytest.raises(ConnectionClosed):
        socket.frame()
    assert socket.connection.close_code == 1013


RIDER, AGENT = "rider", "agent"
MESSAGE, NOTE, CHANGE = {"message": "Hi"}, {"text": "Hi"}, {"priority": "high"}
DEVICE = {"platform": "android", "token": "t"}
WANTED: Any = {"categories": [], "quiet_hours": None}
LOGIN = {"username": "rider", "password": PASSWORD}
C = "/api/conversations/{conversation_id}/"
# Every operation of REST: by whom, with which body, and whether it is answered.
OPERATIONS = [
    ("POST", "/api/token/", "", LOGIN, 503),
    ("POST", "/api/token/refresh/", "", {"refresh": "$refresh"}, 503),
    ("POST", "/api/token/logout/", "", {"refresh": "$refresh"}, 503),
    ("POST", "/api/realtime/ticket/", RIDER, None, 503),
    ("GET", "/api/me/", RIDER, None, 200),
    ("GET", "/api/notifications/", RIDER, None, 200),
    ("POST", "/api/notifications/read-all/", RIDER, {}, 503),
    ("POST", "/api/notifications/{notification_id}/read/", RIDER, None, 503),
    ("GET", "/api/unread/", RIDER, None, 200),
    ("GET", "/api/conversations/", RIDER, None, 200),
    ("GET", "/api/conversations/", AGENT, None, 503),
    ("POST", "/api/conversations/", RIDER, {"kind": "support"}, 503),
    ("GET", C, RIDER, None, 200),
    ("GET", C, AGENT, None, 503),
    ("PATCH", C, AGENT, CHANGE, 503),
    ("POST", "/api/conversations/{asked}/claim/", AGENT, None, 503),
    ("POST", f"{C}read/", RIDER, {"up_to_id": "$heard"}, 503),
    ("GET", f"{C}messages/", RIDER, None, 200),
    ("GET", f"{C}messages/", AGENT, None, 503),
    ("POST", f"{C}messages/", RIDER, MESSAGE, 503),
    ("PATCH", C + "messages/{message_id}/", RIDER, MESSAGE, 503),
    ("DELETE", C + "messages/{message_id}/", RIDER, None, 503),
    ("POST", C + "messages/{message_id}/unmask/", AGENT, None, 503),
    ("GET", f"{C}notes/", AGENT, None, 503),
    ("POST", f"{C}notes/", AGENT, NOTE, 503),
    ("PATCH", C + "notes/{note_id}/", AGENT, NOTE, 503),
    ("DELETE", C + "notes/{note_id}/", AGENT, None, 503),
    ("GET", "/api/messages/search/?q=umbrella", RIDER, None, 200),
    ("GET", "/api/messages/search/?q=umbrella", AGENT, None, 503),
    ("GET", "/api/canned-replies/", AGENT, None, 200),
    ("GET", "/api/agents/", AGENT, None, 200),
    ("GET", "/api/devices/", RIDER, None, 200),
    ("POST", "/api/devices/", RIDER, DEVICE, 503),
    ("DELETE", "/api/devices/{device_id}/", RIDER, None, 503),
    ("GET", "/api/push/", RIDER, None, 200),
    ("GET", "/api/push/preferences/", RIDER, None, 200),
    ("PUT", "/api/push/preferences/", RIDER, WANTED, 503),
]


@pytest.mark.parametrize(("method", "path", "who", "body", "status"), OPERATIONS)
def test_rest_serves_what_needs_no_entry_and_refuses_the_rest(
    standby, method, path, who, body, status
):
    body = None if body is None else standby.known(body)
    path = path.format_map(standby.people)
    got, answer = standby.server.request(method, path, body, standby.headers(who))
    assert got == status, answer
    if status == 503:
        assert_retryable(answer)


def test_every_operation_of_rest_was_tried(standby):
    schema = standby.server.request("GET", "/api/schema/?format=json")[1]
    known = {
        (method.upper(), path)
        for path, methods in schema["paths"].items()
        for method in methods
        if not path.startswith("/api/schema")
    }
    tried = {
        (method, path.replace("asked", "conversation_id").partition("?")[0])
        for method, path, *_ in OPERATIONS
    }
    assert known == tried


@pytest.mark.parametrize("path", ["{chat}?last_seq=0", "/ws/notifications/?last_seq=0"])
def test_a_rider_connects_and_resumes(standby, path):
    socket = standby.dial(RIDER, path.format(chat=standby.chat))
    assert socket.frame("connection_established")
    assert socket.frame("resumed")["recovered"] is True


@pytest.mark.parametrize(
    ("who", "path"),
    [(AGENT, "{chat}"), (AGENT, "/ws/support/notes/{conversation_id}/"), ("", "{ticket}")],
)
def test_whose_entry_is_a_write_is_told_to_try_later(standby, who, path):
    known = {"chat": standby.chat, "ticket": standby.with_ticket, **standby.people}
    assert_refused(standby.dial(who, path.format_map(known)))


def test_the_queue_opens_though_snoozes_and_former_agents_wait(standby):
    assert standby.dial(AGENT, "/ws/support/").frame("connection_established")


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("{chat}", {"type": "chat_message", "message": "Hi"}),
        ("{chat}", {"type": "message_edit", "message_id": "$message_id", "message": "Hi"}),
        ("{chat}", {"type": "message_delete", "message_id": "$message_id"}),
        ("{chat}", {"type": "message_read", "up_to_id": "$heard"}),
        ("{chat}", {"type": "message_delivered", "up_to_id": "$heard"}),
        ("/ws/notifications/", {"type": "mark_as_read", "notification_id": "$notification_id"}),
        ("/ws/notifications/", {"type": "mark_all_as_read"}),
    ],
)
def test_a_command_that_writes_is_retryable_and_costs_no_socket(standby, path, command):
    socket = standby.dial(RIDER, path.format(chat=standby.chat))
    socket.send(standby.known(command))
    error = socket.frame("error")
    assert_retryable(error)
    assert error["ref"] == command["type"]
    socket.send({"type": "token_refresh", "token": standby.people["rider"]})
    assert socket.frame("token_refreshed")


USER = {
    "username": "x",
    "role": "rider",
    "password1": "q7Zr-01234567",
    "password2": "q7Zr-01234567",
}
ANNOUNCEMENT = {
    "audience": "everybody",
    "title": "Hi",
    "notification_type": "announcement",
    "step": "preview",
}
PAGES = [
    ("GET", "/admin/", None, 200),
    ("GET", "/admin/chat/console/", None, 200),
    ("GET", "/admin/accounts/user/", None, 200),
    ("GET", "/admin/chat/auditentry/", None, 200),
    ("GET", "/admin/chat/cannedreply/", None, 200),
    ("GET", "/admin/chat/conversation/", None, 503),
    ("GET", "/admin/chat/conversation/{conversation_id}/change/", None, 503),
    ("GET", "/admin/chat/message/", None, 503),
    ("GET", "/admin/chat/note/", None, 503),
    ("POST", "/admin/accounts/user/add/", USER, 503),
    ("POST", "/admin/accounts/user/{guest}/delete/", {"post": "yes"}, 503),
    ("POST", "/admin/chat/cannedreply/add/", {"code": "hi", "text": "Hi"}, 503),
    ("POST", "/admin/notifications/notification/announce/", ANNOUNCEMENT, 503),
    ("POST", "/admin/logout/", None, 503),
]


@pytest.mark.parametrize(("method", "path", "fields", "status"), PAGES)
def test_a_page_of_the_admin_is_shown_or_said_to_come_later(standby, method, path, fields, status):
    path = path.format_map(standby.people)
    answer, text = standby.page(method, path, fields, f"sessionid={standby.people['session']}")
    assert answer.status == status
    assert (answer.headers["Retry-After"] is not None) is (status == 503)
    assert ("takes no changes" in text) is (status == 503)


def test_a_login_to_the_admin_is_said_to_come_later(standby):
    assert standby.page("GET", "/admin/login/")[0].status == 200
    answer, _ = standby.page("POST", "/admin/login/", LOGIN | {"username": "admin"})
    assert (answer.status, answer.headers["Retry-After"] is not None) == (503, True)


def test_probes_say_so_and_take_no_process_away(standby):
    assert standby.server.request("GET", "/healthz") == (200, {"status": "ok"})
    status, report = standby.server.request("GET", "/readyz")
    assert (status, report["status"], report["database"]) == (200, "ok", "ok")
    assert report["writes"] == "read-only"


@pytest.mark.parametrize("command", [["migrate", "sessions", "zero"], ["prune"]])
def test_a_command_ends_in_one_line(plain, people, command):
    url = f"{plain}?options=-c%20default_transaction_read_only%3Don"
    run = manage(url, *command)
    assert run.returncode == 1
    assert "read-only transaction" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ({"default_transaction_read_only": "on"}, "read-only transaction"),
        ({"search_path": "nowhere"}, "no schema has been selected"),
    ],
)
def test_so_does_the_first_migration_where_no_table_can_be_made(cluster, setting, why):
    url = cluster.create(f"without_{next(iter(setting))}", recipe(), **setting)
    run = manage(url, "migrate")
    assert run.returncode == 1
    assert why in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr


def test_when_it_takes_changes_again_so_does_every_session(standby):
    """And of whatever ran here before no traceback was logged."""

    def acked():
        standby.rider.send({"type": "chat_message", "message": "Hi", "client_message_id": "again"})
        return standby.rider.frame(seconds=patience(15))["type"] != "error"

    standby.end()
    try:
        wait_until(acked, seconds=patience(15))
        wait_until(lambda: "writes" not in standby.server.request("GET", "/readyz")[1])
    finally:
        standby.begin()
    assert "Traceback" not in standby.server.log()
