"""Every variable is parsed at the start: what is wrong is one sentence, in every way in."""

import ast
import os
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from unittest.mock import patch

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from rest_framework_simplejwt.settings import api_settings

import chat.checks
import notifications.checks
import push.checks
from holodrive import settings as project
from holodrive.environment import Environment
from holodrive.realtime import setting_checks
from holodrive.tests.test_documentation import SETTINGS, read_variables
from testing.patience import START
from testing.services import ROOT, free_port

LONG = "9" * 4400  # int() gives up at 4,300 digits
COUNT = [
    *("ten", "-1", "+5", "1.5", "1e3", "1_000", "٣", "²", "0x10", "NaN", LONG, "5 s", "1,000"),
    "2147483649",
]
SECONDS = ["soon", "-1", "NaN", "inf", "1e3", "1,5", "5s", "10ms", "٣", "1_0", LONG, "86401"]
FLAGS = ["maybe", "2", "-1", "on # comment", "truе"]  # the last with a Cyrillic letter
HEADERS = [
    "X-Real-IP:",
    "X_FORWARDED_FOR",
    "X-Real-IP,X-Forwarded-For",
    "X Real IP",
    "Х-Real-IP",
    "none",
]
KEYS = [
    *("-----BEGIN PRIVATE KEY-----", " key", "key ", "key\r", "a\nb", "ssh-ed25519 AAAA"),
    *("key\udcff", "key\n\n", " key\n", "\nkey", "key\u2028", "-----BEGIN PUBLIC KEY-----\n"),
]
SECRET = "p4ssw0rd"

WRONG = {
    "DEBUG": FLAGS,
    "SECRET_KEY": KEYS,
    "SECRET_KEY_FALLBACKS": ["old,-----BEGIN PRIVATE KEY-----", "a\nb", "old, ssh-rsa AAAA\n"],
    "ALLOWED_HOSTS": [
        *("https://rides.example.com", "rides.example.com:443", "rides.example.com/", "a b"),
        *("*.example.com", "::1", "[::1]:9000", "my_host", "пример.рф", "256.1.1.1", "a..b"),
        *("rides.example.com,http://b", '["rides.example.com"]', "example.com.", "-a.com"),
    ],
    "CSRF_TRUSTED_ORIGINS": [
        *("admin.example.com", "https://admin.example.com/", "ftp://admin.example.com", "null"),
        *("https://", "*", "https://*", "https://a:99999", "https://a.com https://b.com"),
    ],
    "SESSION_COOKIE_SECURE": FLAGS,
    "CSRF_COOKIE_SECURE": FLAGS,
    "SECURE_PROXY_SSL_HEADER": [
        *HEADERS,
        "HTTP_X_FORWARDED_PROTO",
        "X-Forwarded-Proto,https",
        "on",
        "Off",
    ],
    "SECURE_SSL_REDIRECT": FLAGS,
    "SECURE_HSTS_SECONDS": COUNT,
    "SECURE_HSTS_INCLUDE_SUBDOMAINS": FLAGS,
    "REALTIME_DATABASE_THREADS": [*COUNT, "1", "1001"],
    "REALTIME_MAX_FRAME_BYTES": [*COUNT, "1048577", "64k"],
    "REALTIME_OUTBOX_BYTES": [*COUNT, "1MB"],
    "REALTIME_RESUME_LIMIT": [*COUNT, "0"],
    "REALTIME_RECONCILE_SECONDS": [*SECONDS, "0"],
    "REALTIME_PRESENCE_SECONDS": [*SECONDS, "0.4"],
    "REALTIME_HEARTBEAT_SECONDS": [*COUNT, "0", "86401"],
    "REALTIME_SOCKETS_PER_USER": COUNT,
    "REALTIME_SOCKETS_PER_STAFF": COUNT,
    "REALTIME_CONNECTS_PER_USER": [*COUNT, "60/min"],
    "REALTIME_FAILED_CONNECTS_PER_ADDRESS": COUNT,
    "REALTIME_FRAMES_PER_SECOND": COUNT,
    "REALTIME_FRAMES_BURST": [*COUNT, "0"],
    "REALTIME_MAX_BODY_BYTES": [*COUNT, "2.5M"],
    "REALTIME_UPLOADS": [
        *("/uploads/", "/uploads/=10MB", "uploads/=5", "/a=5;/b=6", "/uploads/=-1", "=5"),
        *("/uploads/=٣", f"/uploads/={LONG}", "/up loads/=5", "/a/=5,/a/=6", '{"/uploads/": 5}'),
    ],
    "REALTIME_REQUEST_SECONDS": SECONDS,
    "REALTIME_REQUESTS_PER_SECOND": COUNT,
    "REALTIME_LOG_DAYS": [*COUNT, "36501", "7d"],
    "REALTIME_TRACING": FLAGS,
    "REALTIME_DRAIN_SECONDS": SECONDS,
    "CHAT_TRIP_DAYS": [*COUNT, "36501"],
    "NOTIFICATIONS_READ_DAYS": [*COUNT, "36501"],
    "CHAT_OWN_NUMBERS": [
        *(
            "(",
            "[0-9]*",
            r"\d+",
            ".{1,9}",
            r"(\d{1,9}){1,9}",
            r"4\d{8} (",
            "[0-9]{1,}",
            "a{1,99999999999}",
        ),
        *("x" * 101, r"(\d)\1", "(?i)4", "4?5?6?7?8?9?", "4[0-9]{8", "4[0-9]{x}"),
        *("4[0-9]{8},TR-[0-9]{9}", "/4[0-9]{8}/", "4[0-9]{8};5", '"4[0-9]{8}"', "[[:digit:]]{8}"),
    ],
    "CHAT_PHONE_REGION": [
        "UZB",
        "998",
        "+998",
        "Uzbekistan",
        "UK",
        "EN",
        "U",
        "UZ,RU",
        "УЗ",
        "001",
    ],
    "CHAT_REPLY_NEEDS_PERMISSION": FLAGS,
    "PUSH_DELAY_SECONDS": SECONDS,
    "PUSH_MANDATORY_CATEGORIES": ["chat_message safety", "a\tb", "x" * 51, '"safety"'],
    "PUSH_SHOWN_DAYS": [*COUNT, "36501"],
    "PUSH_FCM_CREDENTIALS": ["/nowhere.json", "/", str(ROOT / "manage.py"), '{"type": "p4ssw0rd"}'],
    "PUSH_VAPID_PRIVATE_KEY": ["nonsense", "-----BEGIN PRIVATE KEY-----", '"AAAA"', "AAAA"],
    "PUSH_VAPID_SUBJECT": ["ops@example.com", "mailto:ops", "http://example.com", "mailto:a b@c.d"],
    "PUSH_WEB_HOSTS": [
        *("https://push.example.com", "push.example.com/", "*.example.com", "push.example.com:0"),
        *("push.example.com:65536", "push.example.com:x", "[::1]", "a b", ".com", "me@a.com"),
        *("0", "127.1", "2130706433", "1.2.3.4.5", ".push.127", "256.0.0.1:443"),
    ],
    "WEBSOCKET_HOST": [
        *("ws://rides.example.com", "rides.example.com:9000", "rides.example.com/ws", "a b"),
        *("пример.рф", "9000", "256.0.0.1", "rides..example.com", "me@example.com", "*"),
    ],
    "WEBSOCKET_PORT": [*COUNT, "0", "65536", "tcp://10.0.0.1:80"],  # as Kubernetes sets it
    "WEBSOCKET_URL": [
        *("ws://rides.example.com", "wss://rides.example.com/", "https://rides.example.com"),
        *(":9000", "rides.example.com:", "rides.example.com:99999", "rides.example.com:x"),
        *("me@rides.example.com", "rides.example.com?x=1", "rides.example.com#x", "::1:9000"),
        *("a b", "//rides.example.com", "[::1", "rides.example.com:0", "a;b", "a\\b", "*"),
    ],
    "WEBSOCKET_ALLOWED_ORIGINS": [
        *("app.example.com", "https://app.example.com/", "https://app.example.com/app", "*"),
        *("https://*.example.com", "https://", "https://a:99999", "https://me@a", "https://a?b"),
        *("https:/app.example.com", "https://a.com https://b.com", "https://[::1", "localhost"),
        *("https://-", "app://*", "app://", "app://a/b"),
        "https://ok.example.com,app.example.com",
    ],
    "REALTIME_PROCESSES": [*COUNT, "auto"],
    "REALTIME_BIND": [
        *("9000", ":9000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"),
        *("http://0.0.0.0:9000", "::1:9000", "[::1]", "*:9000", "0.0.0.0:²", "a b:9000"),
    ],
    "DATABASE_URL": [
        *("", "db.sqlite3", "mysql://", f"mysql://me:{SECRET}@host/name", "oracle://host/name"),
        *("postgres://", "postgres://me@host", "postgres://me@host:99999/name", "postgres:/me"),
        *(f"postgres://me:{SECRET}@host:port/name", f"postgres://me:a/{SECRET}@host/name"),
        *(f"postgres://me:a#{SECRET}@host/name", f"postgres://me:1?{SECRET}@host/name"),
        *(f"postgres://me:1/{SECRET}@host/name", f"postgres://me:1#{SECRET}@host/name"),
        *("postgres://me@ho st/name", "postgres://me@%20/name", "postgres://me@[::1/name"),
        *("postgres://me@host/name?sslmode=maybe", "postgres://me@host/name?ssl=true"),
        *(
            "postgres://me@host:0/name",
            "postgres://me@one:5432,two:0/name",
            "postgres://[::1]70/name",
        ),
        *("postgres://me@host/name?port=70000", "postgres://me@host/name?port=x"),
        *("postgres://me@host/name?gssencmode=maybe", "postgres://me@host/name?sslnegotiation=tls"),
        *("postgres://me@host/name?load_balance_hosts=on", "sqlite:///db%00.sqlite3"),
        "postgres://me@host/name?ssl_min_protocol_version=1.2",
        *("postgres://me@host/name?pool=true", "postgres://me@host/name?connect_timeout=1s"),
        *("postgres://me@host/name?sslmode=", f"postgres://me@host/{'n' * 64}"),
        *("postgres://me@one:5432,two:x/name", "postgres://me@host/name?atomic_requests=maybe"),
        *("postgres://me@host/name/", "postgres://me@/var/run/postgresql/name"),
        *(
            "postgres://me@%2Fvar%00/name",
            "postgres://me@host/na%00me",
            "postgres://me@host/name?autocommit=False",
        ),
        *("sqlite://", "sqlite:///", "sqlite://db.sqlite3", "sqlite:db.sqlite3"),
        *("sqlite:////nowhere/db.sqlite3", "sqlite:////tmp", f"sqlite:///{ROOT}/manage.py/db"),
        *("sqlite:///db.sqlite3?mode=ro", "sqlite:///db.sqlite3?timeout=long"),
        *("sqlite:///db.sqlite3?transaction_mode=MAYBE", "sqlite:///db#1.sqlite3"),
        *("postgres://me@host/name?sslrootcert=/nowhere.pem", "'postgres://me@host/name'"),
        *(SECRET, f"postgresql+asyncpg://me:{SECRET}@host/name", LONG),
    ],
    "TEST_DATABASE_FILE": ["/nowhere/test.sqlite3", "/", f"{ROOT}/manage.py/test", "x" * 300],
    "REDIS_URL": [
        *("localhost:6379", "redis://", "redis:///0", "http://host", "redis://host:x", SECRET),
        *("redis://host:99999/0", "redis://host/first", "redis://host/0?db=x", "unix://"),
        *("redis://host/0?socket_timeout=soon", "redis://host/0?colour=red", "redis://[::1"),
        *(
            f"redis://:a#{SECRET}@host/0",
            f"redis://:a/{SECRET}@host/0",
            f"redis://:1/{SECRET}@host",
        ),
        *("redis://one/0,http://two", "redis://one/0,", "redis+sentinel://one:26379"),
        *("redis+sentinel://one:x/rides", "redis+sentinel://one:99999/rides", "valkey://host"),
        *("rediss://host/0?ssl_ca_certs=/nowhere.pem", "redis://ho st/0", "redis://host:0/0"),
        *("redis+sentinel://one/rides/²", f"redis+sentinel://one/rides?password={SECRET}"),
        *("redis+cluster://", "redis+cluster://one:0", "redis+cluster://:6379", "redis://one./0/1"),
        *(
            "redis+cluster://one;two",
            "redis+cluster://o ne",
            "redis+cluster://one/1",
            "redis://../0",
        ),
        *(f"redis+cluster://:{SECRET}@one:1,:{SECRET}@two:2", "redis+sentinel://u:p@a,u:p@b/rides"),
        *("redis://one?decode_responses=True", "redis+cluster://one?decode_responses=yes"),
        *("redis+cluster://one?db=1", "redis+cluster://one:6379,redis://two:6379"),
        *("rediss+cluster://one?ssl_ca_certs=/nowhere.pem", "redis+cluster://one:x"),
        *(
            f"redis://host/0?{option}"
            for option in (
                *("retry=3", "retry_on_error=x", "credential_provider=x", "redis_connect_func=x"),
                *("encoding=nonsense", "encoding=utf-16", "socket_keepalive_options=x"),
                *(
                    "socket_timeout=0",
                    "socket_timeout=-1",
                    "socket_timeout=nan",
                    "max_connections=",
                ),
                *("socket_timeout=5s", "socket_connect_timeout=inf", "health_check_interval=-1"),
                *("retry_on_timeout=maybe", "socket_keepalive=off", "client_name=a%20b"),
                *("host=other", "port=70000", "protocol=9", "db=٣"),
            )
        ),
        *("redis+cluster://one?retry=3", "redis://one,redis://two?socket_timeout=0"),
        *("unix://relative/socket", "unix:///a%00b", f"redis://:1?{SECRET}=x@host/0"),
    ],
    "REALTIME_PREFIX": [
        "a b",
        "{rides}",
        "rides*",
        "rides?",
        "a\x07b",
        "x" * 65,
        "ride[s]",
        "поездки",
    ],
    "LOGIN_FAILURES_PER_USER": COUNT,
    "LOGIN_FAILURES_PER_ADDRESS": COUNT,
    "TRUSTED_PROXIES": [
        *("nginx", "10.0.0.0/99", "127.0.0.1,10.0.0", "*", "10.0.0.1:80", "http://10.0.0.1"),
        *("10.0.0.0/-1", "10.0.0.0 10.0.0.1", "[::1]", "::/129", "localhost", "10.0.0.٣"),
    ],
    "CLIENT_ADDRESS_HEADER": HEADERS,
    "JWT_SIGNING_KEY": KEYS,
    "JWT_SIGNING_KEY_FALLBACKS": ["-----BEGIN PUBLIC KEY-----", "a\nb", "a,ssh-rsa AAAA"],
    "JWT_ACCESS_MINUTES": [*COUNT, "0", "5256001", "1h"],
    "JWT_REFRESH_DAYS": [*COUNT, "0", "36501", "999999999"],
    "LOG_LEVEL": ["LOUD", "NOTSET", "10", "info,debug", "TRACE", "INFO # comment"],
}

RIGHT = {
    "DEBUG": [
        ("on", True),
        ("YES", True),
        (" true ", True),
        ("0", False),
        ("f", False),
        ("", False),
    ],
    "SESSION_COOKIE_SECURE": [("", True), ("off", False)],  # an empty one is none
    # A file of a secret ends in a line break, and it has always been a part of the key.
    "SECRET_KEY": [("$a b,c'\"", "$a b,c'\""), ("ключ", "ключ"), ("key\n", "key\n")],
    "SECRET_KEY_FALLBACKS": [
        ("one, two,,", ["one", "two"]),
        ("one\n", ["one", "one\n"]),
        ("one\r\n,two", ["one", "one\r\n", "two"]),
        (" , \n", []),
        ("", []),
    ],
    "JWT_SIGNING_KEY": [("key\r\n", "key\r\n")],
    "JWT_SIGNING_KEY_FALLBACKS": [("one\n", ["one", "one\n"])],
    "ALLOWED_HOSTS": [
        ("rides.example.com, .example.com", ["rides.example.com", ".example.com"]),
        ("*,[::1],127.0.0.1,localhost", ["*", "[::1]", "127.0.0.1", "localhost"]),
        ("xn--e1afmkfd.xn--p1ai,", ["xn--e1afmkfd.xn--p1ai"]),
    ],
    "CSRF_TRUSTED_ORIGINS": [
        ("https://Admin.example.com:8443", ["https://admin.example.com:8443"]),
        ("https://*.example.com", ["https://*.example.com"]),
    ],
    "REALTIME_RESUME_LIMIT": [(" 7\r", 7), ("007", 7), ("", 500), ("2147483648", 2**31)],
    "REALTIME_RECONCILE_SECONDS": [("0.1", 0.1), ("3", 3.0), ("", 2.0), ("86400", 86400.0)],
    "REALTIME_UPLOADS": [("/a/=5, /b=c/=6", {"/a/": 5, "/b=c/": 6}), ("", {}), (",", {})],
    "CHAT_OWN_NUMBERS": [
        ("", []),
        (r"4\d{8}", [r"4\d{8}"]),
        (r"  4[0-9]{8}   TR-[0-9]{1,9} ", ["4[0-9]{8}", "TR-[0-9]{1,9}"]),
        ("(?:TR|OR)-[0-9]{6,9}", ["(?:TR|OR)-[0-9]{6,9}"]),
    ],
    "CHAT_PHONE_REGION": [("uz", "UZ"), ("RU", "RU"), ("", "UZ")],
    "PUSH_MANDATORY_CATEGORIES": [("safety, chat_message", ["safety", "chat_message"])],
    "PUSH_VAPID_PRIVATE_KEY": [
        *[(text, "A" * 42 + "E") for text in ("A" * 42 + "E", f" {'A' * 42}E\n")],
        ("", ""),
    ],
    "PUSH_VAPID_SUBJECT": [(text, text) for text in ("mailto:a@b.c", "https://example.com/me")],
    "PUSH_WEB_HOSTS": [("push.example.com:8443, .a.com", ["push.example.com:8443", ".a.com"])],
    "WEBSOCKET_HOST": [("::1", "[::1]"), ("[::1]", "[::1]"), ("my_service", "my_service")],
    "WEBSOCKET_URL": [
        *[(text, text) for text in ("rides.example.com", "127.0.0.1:9000", "[::1]:9000", "a/b")],
        ("rides.example.com/", "rides.example.com"),
        ("", ""),
    ],
    "WEBSOCKET_ALLOWED_ORIGINS": [
        ("null, capacitor://localhost", ["null", "capacitor://localhost"]),
        ("https://app.example.com:8443,http://[::1]:3000", None),
        ("chrome-extension://abcdefghijklmnopabcdefghijklmnop,file://,", None),
        ("app://-, app://., ionic://localhost", ["app://-", "app://.", "ionic://localhost"]),
    ],
    "REALTIME_BIND": [
        (text, text) for text in ("0.0.0.0:9000", "[::]:9000", "localhost:0", "[fe80::1%eth0]:9000")
    ],
    "DATABASE_URL": [
        (url, None)
        for url in (
            *(
                "postgres://me@host/name",
                "POSTGRES://me@host/name?sslrootcert=system",
                f"postgresql://me:{SECRET}@host:5432/name?sslmode=require",
            ),
            *("postgres://me:a%23b%2Fc%3Fd%40e@host/name", "postgres://me:a@b:c@host/name"),
            *("postgres:////var/run/postgresql/name", "postgres://one:5432,two:5433/name"),
            *("postgres://host/name?connect_timeout=5&conn_max_age=60", "sqlite://:memory:"),
            *("postgres:///name?host=/var/run/postgresql", "postgres://me@[::1]:5432/name"),
            *("sqlite:///db.sqlite3?timeout=20", "sqlite:////tmp/a.sqlite3", "sqlite:///:memory:"),
            "postgres://my_service/name?options=-c%20statement_timeout%3D5s",
            *(
                "postgres://me@%2Fvar%2Frun/name",
                "postgres://%2Fvar%2FPg:5433/name?sslmode=disable",
            ),
            "postgres://me@db.rides.svc.cluster.local.:5432/name",
        )
    ],
    "REDIS_URL": [
        (url, url)
        for url in (
            *("redis://host", "redis://host:6379/0", "rediss://me:a%23@host/1", "unix:///tmp/x"),
            *("redis://one/0,redis://two/0", "redis+sentinel://me:p@one,[::1]:5/rides/2"),
            *("redis://host/0?socket_timeout=0.5&retry_on_timeout=yes", "unix://:p@/tmp/x?db=1"),
            *(
                "redis://host/0?health_check_interval=0&client_name=rides",
                "redis://h?encoding=UTF-8",
            ),
            *("redis://host/0?socket_timeout=5", "rediss://host/0?ssl_cert_reqs=none"),
            *("redis://one/0, redis://two/0", "redis://redis.rides.svc.cluster.local.:6379/0"),
            *("redis+cluster://me:p@one:6379,[::1]:5/0", "redis+cluster://one.svc.,two"),
            *("redis+cluster://one:1, two:2", "redis+sentinel://:a%2Cb%40@one:1, two/rides/0"),
        )
    ],
    "REALTIME_PREFIX": [("rides:prod-1", "rides:prod-1"), ("", "holodrive")],
    "TRUSTED_PROXIES": [
        ("10.0.0.0/8, ::1", ["10.0.0.0/8", "::1"]),
        ("10.0.0.1/255.0.0.0", ["10.0.0.1/255.0.0.0"]),
        ("", []),
    ],
    "CLIENT_ADDRESS_HEADER": [("CF-Connecting-IP", "CF-Connecting-IP"), ("", "X-Real-IP")],
    "LOG_LEVEL": [("debug", "DEBUG"), ("Warning", "WARNING"), ("CRITICAL", "CRITICAL")],
}


def judged(name, text):
    """The value, and the sentences that would stop the start."""
    environment = Environment("", Path(), {name: text})
    value = environment.read(name, *project.env.known[name])
    return value, environment.problems


def test_every_variable_has_at_least_three_wrong_values():
    assert read_variables().keys() - {"ENV_FILE"} == WRONG.keys()
    assert {name for name, values in WRONG.items() if len(values) < 3} == set()


def is_secret(name):
    return "KEY" in name or name in ("DATABASE_URL", "REDIS_URL")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_one_sentence_that_names_quotes_and_explains_it(name):
    for text in WRONG[name]:
        _, problems = judged(name, text)
        assert len(problems) == 1, text
        [said] = problems
        assert said.startswith(name)
        assert said.isprintable(), text
        assert len(said) < 450
        assert " wanted" in said
        assert SECRET not in said
        if not is_secret(name):
            assert said.startswith(f"{name}='"), said
        elif "KEY" in name:
            assert text not in said


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_value_is_taken(name):
    for text, value in RIGHT[name]:
        kind, default = project.env.known[name]
        if name == "SESSION_COOKIE_SECURE":
            default = True  # of production
        environment = Environment("", Path(), {name: text})
        found = environment.read(name, kind, default)
        assert environment.problems == [], text
        assert value is None or (type(found), found) == (type(value), value), text


def test_what_a_url_of_a_database_means():
    value, _ = judged("DATABASE_URL", "postgres://me:a%23b@host:5433/name?sslmode=require")
    parts = [value[part] for part in ("USER", "PASSWORD", "HOST", "PORT", "NAME", "OPTIONS")]
    assert parts == ["me", "a#b", "host", 5433, "name", {"sslmode": "require"}]


def test_quotes_around_a_value_are_what_is_said_to_be_wrong():
    for name in ("DATABASE_URL", "REDIS_URL", "WEBSOCKET_URL", "CLIENT_ADDRESS_HEADER", "DEBUG"):
        _, [said] = judged(name, '"x_y"')  # `docker --env-file` keeps them
        assert "there are quotes around it" in said


def test_options_of_the_urls_query_leave_those_that_sessions_need():
    code = "from holodrive import settings; print(settings.DATABASES['default']['OPTIONS'])"
    url = "postgres://me@host/name?options=-c%20search_path%3Drides"
    variables = {**os.environ, "SECRET_KEY": "x", "ENV_FILE": "", "DATABASE_URL": url}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True
    ).stdout
    assert "-c lock_timeout=2s" in said
    assert "-c datestyle=iso -c idle_session_timeout=0 -c search_path=rides'" in said


@pytest.mark.parametrize(
    "url", ["postgres:////var/run/Pg/name", "postgres://%2Fvar%2Frun%2FPg/name"]
)
def test_a_socket_is_written_in_two_ways(url):
    value, _ = judged("DATABASE_URL", url)
    assert (value["HOST"], value["NAME"]) == ("/var/run/Pg", "name")


def test_a_key_that_is_missing_is_asked_for():
    for variables in ({}, {"SECRET_KEY": ""}, {"SECRET_KEY": "  "}):
        environment = Environment("", Path(), variables)
        environment.key("SECRET_KEY")
        assert environment.problems == [
            "SECRET_KEY is missing: set it in the environment or in .env"
        ]


def test_all_wrong_values_are_named_at_once_and_last():
    environment = Environment("", Path(), {"A": "x", "B": "maybe"})
    environment.number("A", 1)
    environment.flag("B", default=True)
    with pytest.raises(ImproperlyConfigured) as refusal:
        environment.refuse()
    assert [line.partition("=")[0] for line in str(refusal.value).splitlines()] == ["A", "error: B"]
    body = [ast.unparse(node) for node in SETTINGS.body]
    assert body[-2:] == ["env.refuse()", "ENVIRONMENT_NOTICES = env.notices()"]


# The file


def loaded(path, content, **variables):
    path.write_bytes(content)
    environment = Environment(str(path), Path(), variables)
    return variables, environment


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"A=1", "1"),
        (b"\xef\xbb\xbfA=1\r\nB=2\r\n", "1"),
        (b"# A=2\n\n  # A=3\nexport A=1", "1"),
        (b"  export   A=1\n", "1"),
        (b"A='1'", "1"),
        (b'A="1"', "1"),
        (b"A='1' \nB=2", "1"),
        (b'A="1"\t\r\n', "1"),
        (b"A=$1 # 2", "$1 # 2"),
        (b"A=2\nA=1", "1"),
        ("A=ключ".encode(), "ключ"),
    ],
)
def test_a_line_of_the_file_is_a_variable(tmp_path, content, value):
    variables, _ = loaded(tmp_path / "env", content)
    assert variables["A"] == value


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"A=1\nSECRET_KEY p4ssw0rd", "line 2 is not NAME=value"),
        (b"p4ssw0rd", "line 1 is not NAME=value"),
        (b"A = p4ssw0rd", "line 1 is not NAME=value"),
        (b"1A=p4ssw0rd", "line 1 is not NAME=value"),
        (b'A="p4ssw0rd', "the quote in line 1"),
        (b"\nA='-----BEGIN p4ssw0rd\n-----END'", "the quote in line 2"),
        (b'A="p4ssw0rd" # a comment', "the quote in line 1"),
        ("A=ключ".encode("cp1251"), "not UTF-8"),
        ("A=p4ssw0rd".encode("utf-16"), "not UTF-8"),
        ("A=p4ssw0rd".encode("utf-16-le"), "NUL"),
    ],
)
def test_a_wrong_line_is_named_and_not_repeated(tmp_path, content, says):
    with pytest.raises(ImproperlyConfigured, match=says) as refusal:
        loaded(tmp_path / "env", content)
    assert str(refusal.value).startswith("ENV_FILE='")
    assert str(refusal.value).isprintable()
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("path", ["/nope", "/", f"{ROOT}/manage.py/env", " ", "~/env", "x" * 300])
def test_a_file_that_cannot_be_read_is_named(path):
    with pytest.raises(ImproperlyConfigured, match=r"^ENV_FILE=.* wanted") as refusal:
        Environment(path, Path(), {})
    assert str(refusal.value).isprintable()
    with pytest.raises(ImproperlyConfigured, match="directory"):
        Environment(None, ROOT, {})  # Docker makes one where it mounts a file that is not there


def test_no_file_is_none_and_real_variables_win(tmp_path):
    Environment("", tmp_path, {})
    Environment(None, tmp_path / "absent", {})
    variables, _ = loaded(tmp_path / "env", b"A=1\nB=2", A="real")
    assert variables == {"A": "real", "B": "2"}


# Names that are nearly right


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("REALTIME_RESUME_LIMITS", "REALTIME_RESUME_LIMIT"),
        ("WEBSOCKET_ALOWED_ORIGINS", "WEBSOCKET_ALLOWED_ORIGINS"),
        ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("ALLOWED_HOST", "ALLOWED_HOSTS"),
        ("log_level", "LOG_LEVEL"),
        ("JWT_ACCESS_MINUTE", "JWT_ACCESS_MINUTES"),
        ("SECURE_HSTS_SECOND", "SECURE_HSTS_SECONDS"),
        ("WEBSOCKET_ORIGINS", "WEBSOCKET_ALLOWED_ORIGINS"),
        ("ENV_FILES", "ENV_FILE"),
    ],
)
def test_a_name_that_is_nearly_ours_is_warned_of(name, meant):
    assert slips(name) == [f"{name} is not read: is {meant} meant?"]


@pytest.mark.parametrize(
    "name", ["XDEBUG", "PATH", "SECRET_KEY_BASE", "TEST_DATABASE", "WEBSOCKET_PORT_80_TCP"]
)
def test_other_peoples_names_are_none_of_ours(name):
    assert slips(name) == []


def slips(name):
    environment = Environment("", Path(), {name: "1"})
    environment.known.update(project.env.known)
    return environment.notices()


def test_a_name_that_is_twice_in_the_file_is_warned_of(tmp_path):
    _, environment = loaded(tmp_path / "env", b"DEBUG=on\nA=1\nDEBUG=off")
    assert environment.notices() == [
        "DEBUG is twice in the file of variables, and the last one counts"
    ]


# Django settings of a project that does not use ours

TABLES = {
    "realtime": setting_checks.KINDS,
    "chat": chat.checks.KINDS,
    "notifications": notifications.checks.KINDS,
    "push": push.checks.KINDS,
}
SETTINGS_WRONG = [
    ("realtime.E020", "TRUSTED_PROXIES", ["nginx", ["10.0.0.0/99"], None, [10], {"a": 1}]),
    ("realtime.E021", "CLIENT_ADDRESS_HEADER", ["", None, "X_REAL_IP", ["X-Real-IP"]]),
    ("realtime.E022", "WEBSOCKET_URL", ["ws://a", "a/", None, 9000, ["a"]]),
    ("realtime.E022", "WEBSOCKET_ALLOWED_ORIGINS", ["https://a", ["a"], ["https://a/"], None]),
    ("realtime.E022", "WEBSOCKET_HOST", ["ws://a", None, 5, "a b"]),
    ("realtime.E022", "WEBSOCKET_PORT", ["9000", 0, True, 9000.0]),
    ("realtime.E022", "REALTIME_RESUME_LIMIT", ["500", 0, None, True, 10**5000]),
    ("realtime.E022", "REALTIME_RECONCILE_SECONDS", ["2", 0, float("nan"), float("inf"), None]),
    ("realtime.E022", "REALTIME_PROCESSES", ["2", -1, 1.5]),
    ("realtime.E022", "REALTIME_DATABASE_THREADS", ["16", 1, None]),
    ("realtime.E022", "REALTIME_TRACING", ["off", 0, None]),
    ("realtime.E022", "REALTIME_UPLOADS", ["/a/=5", {"a": 5}, {"/a/": "5"}, {5: 5}, [("/a/", 5)]]),
    ("realtime.E022", "REALTIME_BIND", ["9000", 9000, ("127.0.0.1", 9000)]),
    ("realtime.E022", "JWT_SIGNING_KEY_FALLBACKS", ["one", [5], [None], None]),
    ("chat.E001", "CHAT_PHONE_REGION", ["UZB", "uz", None, 998]),
    ("chat.E001", "CHAT_OWN_NUMBERS", ["4", [r"4\d+"], [5], None, ["("]]),
    ("chat.E001", "CHAT_REPLY_NEEDS_PERMISSION", ["off", None, 1]),
    ("chat.E001", "CHAT_TRIP_DAYS", ["7", -1, None]),
    ("notifications.E001", "NOTIFICATIONS_READ_DAYS", ["7", -1, 40_000]),
    ("push.E002", "PUSH_DELAY_SECONDS", ["5", -1, None]),
    ("push.E002", "PUSH_SHOWN_DAYS", ["30", None, -1]),
    ("push.E002", "PUSH_WEB_HOSTS", ["push.example.com", ["https://a"], None]),
    ("push.E002", "PUSH_MANDATORY_CATEGORIES", ["safety", ["a b"], None, [5]]),
    ("push.E002", "PUSH_VAPID_SUBJECT", ["ops@example.com", None, 5]),
    ("push.E002", "PUSH_BACKENDS", ["push.backends.fcm.Fcm", ["web"], {"web": None}, None]),
]


@pytest.mark.parametrize(("id", "name", "values"), SETTINGS_WRONG)
def test_a_wrong_django_setting_is_an_error_of_the_check(settings, id, name, values):
    for value in values:
        setattr(settings, name, value)
        [found] = [error for error in everything() if error.id.startswith(id[:-3])]
        assert found.id == id, value
        assert found.msg.startswith(name)
        assert found.hint
        assert found.msg.isprintable()


def everything():
    return [
        *run_checks(tags=["realtime"], include_deployment_checks=True),
        *chat.checks.check_settings(None),
        *notifications.checks.check_settings(None),
        *push.checks.check_backends(None),
    ]


def test_a_right_django_setting_is_none(settings):
    settings.TRUSTED_PROXIES = (ip_network("10.0.0.0/8"), ip_address("::1"), "10.0.0.1")
    settings.WEBSOCKET_HOST, settings.WEBSOCKET_URL = "::1", ""
    settings.REALTIME_UPLOADS, settings.REALTIME_DRAIN_SECONDS = {"/uploads/": 5}, 3
    settings.REALTIME_MAX_BODY_BYTES = None  # Django's DATA_UPLOAD_MAX_MEMORY_SIZE
    settings.JWT_SIGNING_KEY_FALLBACKS = ["one", b"two"]
    settings.PUSH_MANDATORY_CATEGORIES = {"safety"}
    settings.WEBSOCKET_ALLOWED_ORIGINS = ("app://-", "https://app.example.com")
    assert [error.id for error in everything() if ".E" in error.id and "E00" not in error.id] == []


@pytest.mark.parametrize("url", [None, {"host": "h"}, "redis://h/0?decode_responses=True"])
def test_a_projects_own_redis_url_is_not_judged(settings, url):
    """Its cache or its task queue may have that setting; ours is in CHANNEL_LAYERS."""
    settings.REDIS_URL = url
    assert [error.id for error in everything() if ".E" in error.id and "E00" not in error.id] == []


def test_a_django_setting_and_its_variable_are_of_one_kind():
    ours = {name: kind for table in TABLES.values() for name, kind in table.items()}
    variables = {name: kind for name, (kind, _) in project.env.known.items() if name in ours}
    of_variables_only = {"JWT_SIGNING_KEY_FALLBACKS"}  # PEM: our own project signs with a secret
    assert ours.keys() - variables.keys() == {"PUSH_BACKENDS"}
    assert {name for name in variables if variables[name] != ours[name]} == of_variables_only


def test_every_default_of_an_app_is_judged():
    from chat.apps import DEFAULTS as OF_CHAT
    from holodrive.realtime.apps import DEFAULTS as OF_REALTIME
    from notifications.apps import DEFAULTS as OF_NOTIFICATIONS
    from push.apps import DEFAULTS as OF_PUSH

    defaults = OF_CHAT | OF_REALTIME | OF_NOTIFICATIONS | OF_PUSH
    by_others = {"PUSH_FCM_CREDENTIALS", "PUSH_VAPID_PRIVATE_KEY", "REDIS_URL"}
    judged_here = {name for table in TABLES.values() for name in table}
    assert defaults.keys() - judged_here == by_others


def test_a_key_that_cannot_sign_is_an_error(settings):
    for algorithm, key in (
        ("HS256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
        ("RS256", "a secret"),
        ("none", "x" * 32),
    ):
        with patch.multiple(api_settings, ALGORITHM=algorithm, SIGNING_KEY=key):
            assert "realtime.E015" in [error.id for error in run_checks(tags=["realtime"])]


def test_a_slip_in_a_category_is_warned_of(settings):
    settings.PUSH_MANDATORY_CATEGORIES = ["chat_mesage", "safety", "chat_message"]
    [warning] = push.checks.check_backends(None)
    assert (warning.id, warning.hint) == ("push.W001", "Is chat_message meant?")


# Every way in


def run(*command, **variables):
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=START,
    )


SERVERS = {
    "daphne": ("-m", "daphne", "-p", "0", "holodrive.asgi:application"),
    "uvicorn": ("-m", "uvicorn", "--port", "0", "holodrive.asgi:application"),
}


@pytest.mark.parametrize(
    "command", [("manage.py", "check"), ("manage.py", "serve"), *SERVERS.values()]
)
def test_every_command_and_server_says_it_in_as_many_lines_as_there_are_faults(command):
    done = run(*command, LOG_LEVEL="LOUD", DATABASE_URL=f"mysql://me:{SECRET}@host/name")
    assert done.returncode != 0
    lines = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "error"]
    assert "DATABASE_URL=mysql://...: " in lines[0]
    assert "LOG_LEVEL='LOUD': " in lines[1]
    assert SECRET not in done.stdout + done.stderr


def test_gunicorn_says_it_and_ends():
    bind = ("-b", f"127.0.0.1:{free_port()}", "-k", "uvicorn_worker.UvicornWorker")
    done = run("-m", "gunicorn", *bind, "holodrive.asgi:application", LOG_LEVEL="LOUD")
    assert done.returncode == 3
    assert done.stderr.count("error: LOG_LEVEL='LOUD': ") == 1
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_not_a_missing_key():
    done = run("manage.py", "check", ENV_FILE="/nope", SECRET_KEY="")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ENV_FILE='/nope': ")
    assert "SECRET_KEY" not in line


def test_the_tests_say_it_in_one_line():
    for variables, says in (
        ({"WEBSOCKET_URL": "ws://a"}, "error: WEBSOCKET_URL='ws://a'"),
        ({"TEST_DATABASE": "postgres"}, "TEST_DATABASE must be sqlite or postgresql"),
    ):
        done = run("-m", "pytest", "--co", "-q", "holodrive/tests/test_headers.py", **variables)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith(says)


def test_a_name_that_is_nearly_ours_is_in_what_check_says():
    done = run("manage.py", "check", WEBSOCKET_ALOWED_ORIGINS="https://a")
    assert done.returncode == 0
    assert "realtime.W023" in done.stderr
    assert "is WEBSOCKET_ALLOWED_ORIGINS meant?" in done.stderr
