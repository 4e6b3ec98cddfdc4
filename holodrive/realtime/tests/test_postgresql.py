"""PostgreSQL as it is found in the field: made with LANG=C, and with defaults of its own.

One cluster as Debian makes it without LANG (SQL_ASCII).
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.core.checks import run_checks
from django.db import connections
from django.db.utils import ConnectionHandler
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict

from holodrive.realtime import checks
from testing.client import bearer
from testing.parts import missing
from testing.patience import START
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
