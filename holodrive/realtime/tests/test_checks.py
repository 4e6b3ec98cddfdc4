"""`manage.py check`: each fault is named, and a good project is not bothered."""

import http.client
import os
import re
import subprocess
import sys
from unittest.mock import patch

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.checks import run_checks
from django.db import models
from django.test.utils import isolate_apps
from rest_framework_simplejwt.settings import api_settings

from holodrive.realtime import checks, embedded
from testing.patience import ANSWER, patience
from testing.services import ROOT

# The checks read the setting and open no connection.
pytestmark = pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")

POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 0}
WITH_POOL = {"OPTIONS": {"pool": {"max_size": 16}}}
LAYER = "holodrive.realtime.layer.ConfirmedPubSubLayer"
GOOD = {
    "DEBUG": False,
    "ALLOWED_HOSTS": ["rides.example.com"],
    "SECRET_KEY": "good-0123456789abcdef0123456789abcdef0123456789abcdef",
    "CHANNEL_LAYERS": {"default": {"BACKEND": LAYER, "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}},
    "REDIS_URL": "redis://127.0.0.1:1",
    "WEBSOCKET_URL": "rides.example.com",
    "WEBSOCKET_ALLOWED_ORIGINS": [],
    "REALTIME_DATABASE_THREADS": 16,
}


def with_options(**options):
    return {"default": POSTGRESQL | {"OPTIONS": options}}


def layer(path):
    return {"default": {"BACKEND": path}}


TLS_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
FAULTS = [
    ("realtime.E020", {"TRUSTED_PROXIES": ["127.0.0.1", "nginx"]}),
    ("realtime.E020", {"TRUSTED_PROXIES": "127.0.0.1"}),
    ("realtime.E021", {"CLIENT_ADDRESS_HEADER": "HTTP_X_FORWARDED_FOR"}),
    ("realtime.E021", {"CLIENT_ADDRESS_HEADER": ""}),
    ("realtime.W020", {"SECURE_PROXY_SSL_HEADER": TLS_HEADER, "TRUSTED_PROXIES": []}),
    (
        "realtime.W020",
        {"SECURE_PROXY_SSL_HEADER": TLS_HEADER, "REALTIME_BIND": "0.0.0.0:9000"},
    ),
    (
        "realtime.W020",
        {"SECURE_PROXY_SSL_HEADER": TLS_HEADER, "WEBSOCKET_HOST": "rides.example.com"},
    ),
    (
        "realtime.W020",
        {"CLIENT_ADDRESS_HEADER": "X-Forwarded-For", "REALTIME_BIND": "[::]:9000"},
    ),
    ("realtime.W021", {"TRUSTED_PROXIES": ["0.0.0.0/0"]}),
    ("realtime.W021", {"TRUSTED_PROXIES": ["127.0.0.1", "::/0"]}),
    ("realtime.E002", {"USE_TZ": False}),
    ("realtime.E007", {"DATABASES": {"default": POSTGRESQL | WITH_POOL | {"AUTOCOMMIT": False}}}),
    ("realtime.E003", {"DEBUG": True}),
    ("realtime.E004", {"ALLOWED_HOSTS": ["rides.example.com", "*"]}),
    ("realtime.E005", {"SECRET_KEY": "development-only-not-a-secret-0123456789abcdef"}),
    ("realtime.E006", {"CHANNEL_LAYERS": layer("channels.layers.InMemoryChannelLayer")}),
    ("realtime.E006", {"CHANNEL_LAYERS": {}}),
    (
        "realtime.W002",
        {"CHANNEL_LAYERS": layer("channels_redis.pubsub.RedisPubSubChannelLayer")},
    ),
    ("realtime.W003", {"REDIS_URL": embedded.url(ROOT)}),
    ("realtime.W004", {"WEBSOCKET_URL": "127.0.0.1:9000"}),
    ("realtime.W004", {"WEBSOCKET_URL": "[::1]:9000"}),
    ("realtime.W005", {"ALLOWED_HOSTS": ["admin.example.com", "rides.example.com"]}),
    ("realtime.W024", {"WEBSOCKET_ALLOWED_ORIGINS": ["capacitor://localhost"], "MIDDLEWARE": []}),
    ("realtime.E023", {"WEBSOCKET_ALLOWED_ORIGINS": ["null"], "CORS_ALLOW_CREDENTIALS": True}),
    ("realtime.W007", {"DATABASES": with_options()}),
    ("realtime.W008", {"DATABASES": with_options(pool={"max_size": 15})}),
    ("realtime.W008", {"DATABASES": with_options(pool=True)}),
]


@pytest.fixture
def found(settings):
    """Applies settings over good ones; the ids that all our checks then give."""

    def find(**changes):
        good = GOOD | {"DATABASES": with_options(pool={"max_size": 32})}
        for name, value in (good | changes).items():
            setattr(settings, name, value)
        return [message.id for message in everything()]

    return find


def everything():
    return [
        message
        for message in run_checks(tags=["realtime"], include_deployment_checks=True)
        if message.id.startswith("realtime.")
    ]


def test_a_good_project_is_not_bothered(found):
    assert found() == []


@pytest.mark.parametrize(("id", "fault"), FAULTS)
def test_a_fault_is_named_alone(found, id, fault):
    assert found(**fault) == [id]


def test_every_fault_comes_with_a_hint(found):
    for _, fault in FAULTS:
        found(**fault)
        assert all(message.hint for message in everything())


@pytest.mark.parametrize(
    "changes",
    [
        {"WEBSOCKET_URL": ""},
        {"SECURE_PROXY_SSL_HEADER": TLS_HEADER},
        {"SECURE_PROXY_SSL_HEADER": TLS_HEADER, "REALTIME_BIND": "[::1]:9000"},
        {
            "SECURE_PROXY_SSL_HEADER": TLS_HEADER,
            "REALTIME_BIND": "0.0.0.0:9000",
            "TRUSTED_PROXIES": ["10.0.0.0/8"],
        },
        {"TRUSTED_PROXIES": []},  # clients come directly
        {
            "ALLOWED_HOSTS": ["admin.example.com", "rides.example.com"],
            "WEBSOCKET_ALLOWED_ORIGINS": ["https://admin.example.com"],
        },
        {"ALLOWED_HOSTS": ["rides.example.com", "127.0.0.1"]},
        {"DATABASES": {"default": POSTGRESQL | {"CONN_MAX_AGE": 60}}},
        {"DATABASES": with_options(pool={"min_size": 16})},
    ],
)
def test_what_is_meant_so_is_no_fault(found, changes):
    assert found(**changes) == []


def test_sqlite_is_a_warning_in_production(found):
    sqlite = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    assert found(DATABASES=sqlite) == ["realtime.W006"]


@pytest.mark.parametrize(
    ("algorithm", "key", "ids"),
    [
        ("HS256", "x" * 31, ["realtime.W001"]),
        ("HS256", "x" * 32, []),
        ("RS256", "", []),
    ],
)
def test_a_short_key_of_tokens_is_a_warning(found, algorithm, key, ids):
    with patch.multiple(api_settings, ALGORITHM=algorithm, SIGNING_KEY=key):
        assert found() == ids


@isolate_apps("holodrive.realtime")
def test_a_user_whose_key_is_no_integer_is_an_error(monkeypatch):
    class User(AbstractUser):
        id = models.UUIDField(primary_key=True)

    monkeypatch.setattr(checks, "get_user_model", lambda: User)
    assert [message.id for message in run_checks(tags=["realtime"])] == ["realtime.E001"]


# As an operator runs it


def good_environment():
    """The environment that docs/how-to/run-it.md shows."""
    text = (ROOT / "docs/how-to/run-it.md").read_text().split("An environment that it\nis content")
    shown = dict(
        line.split("#")[0].strip().split("=", 1)
        for line in re.findall(r"```shell\n(.*?)```", text[1], re.DOTALL)[0].splitlines()
    )
    shown["SECRET_KEY"] = "q7Zr-0123456789abcdef0123456789abcdef0123456789abcdef"
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"ENV_FILE": ""} | shown


def check(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", "check", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience(120),
    )


def test_the_good_environment_of_the_guide_is_silent():
    run = check(good_environment(), "--deploy", "--fail-level", "WARNING")
    assert (run.returncode, run.stderr) == (0, "")
    assert "no issues" in run.stdout


def test_a_developers_environment_is_refused_in_production():
    environment = {
        name: value
        for line in (ROOT / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
        for name, value in [line.split("=", 1)]
    }
    environment |= {"PATH": os.environ["PATH"], "ENV_FILE": ""}
    run = check(environment, "--deploy")
    assert run.returncode == 1
    for id in ("E003", "E005", "W003", "W004", "W006"):
        assert f"realtime.{id}" in run.stderr
    plain = check(environment)
    assert (plain.returncode, plain.stderr) == (0, "")


# What a proxy says counts only if it is configured


@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.django_db(transaction=True)
def test_the_proxys_word_about_tls_counts_only_if_it_is_configured(start_server, configured):
    named = {"SECURE_PROXY_SSL_HEADER": "X-Forwarded-Proto"} if configured else {}
    server = start_server(
        SESSION_COOKIE_SECURE="on", CSRF_COOKIE_SECURE="on", SECURE_HSTS_SECONDS="60", **named
    )
    proxied = answer_to(server, "/admin/login/", {"X-Forwarded-Proto": "https"})
    plain = answer_to(server, "/admin/login/", {})
    assert proxied.status == 200
    assert "; Secure" in proxied.headers["Set-Cookie"]
    assert proxied.headers.get("Strict-Transport-Security") == (
        "max-age=60" if configured else None
    )
    assert plain.status == (301 if configured else 200)
    assert answer_to(server, "/healthz", {}).status == 200


def answer_to(server, path, headers):
    connection = http.client.HTTPConnection(server.address, timeout=ANSWER)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["serve", "daphne", "uvicorn"])
@pytest.mark.django_db(transaction=True)
def test_nobody_writes_his_own_address(start_server, kind):
    """Each try from another invented address, but through no proxy of ours."""
    server = start_server(
        kind,
        TRUSTED_PROXIES="10.0.0.1",
        LOGIN_FAILURES_PER_USER="2",
        REALTIME_PREFIX=f"addresses-{kind}",
    )
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
        body = {"username": header, "password": "wrong"}
        got = {
            server.request("POST", "/api/token/", body, {header: f"203.0.113.{n}"})[0]
            for n in range(6)  # so that three of them are in one window of counting
        }
        assert got == {401, 429}
