"""No stored value opens a door by itself; tokens' tables keep what they need, and no longer."""

import importlib
import json
import re
from contextlib import suppress
from datetime import timedelta
from io import StringIO

import pytest
import redis
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from holodrive.realtime import auth, tickets
from holodrive.realtime.auth import Identity
from holodrive.realtime.claims import SID
from holodrive.realtime.credentials import Credential
from holodrive.realtime.models import RevokedSession, Ticket
from holodrive.realtime.tokens import ObtainSerializer, RefreshToken
from holodrive.realtime.wire import Unauthenticated
from notifications.models import Notification
from testing.client import bearer

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "holodrive-demo"
_SHORTEST = 32  # a session's key; a ticket has 43 characters, a token more
# Django's own: the session's key is its primary key (SECURITY.md).
KNOWN = {("django_session.session_key", "session")}


# The doors


def post(path, **body):
    return APIClient().post(path, body, format="json")


def _is_header(value):
    return value.isascii() and value.isprintable()


def by_access(value):
    if not _is_header(value):
        return False
    return APIClient(headers=bearer(value)).get("/api/me/").status_code == 200


def by_refresh(value):
    return post("/api/token/refresh/", refresh=value).status_code == 200


def by_logout(value):
    return post("/api/token/logout/", refresh=value).status_code == 204


def by_session(value):
    if not _is_header(value):
        return False
    browser = Client(headers={"Cookie": f"{settings.SESSION_COOKIE_NAME}={value}"})
    return browser.get("/admin/").status_code == 200 or _identifies(None, value)


def _identifies(credential, session=None):
    """What sockets ask."""
    try:
        return isinstance(auth.identify(credential, session), Identity)
    except (Unauthenticated, UnicodeError):
        return False


DOORS = {
    "access": by_access,
    "socket": lambda value: _identifies(Credential(value)),
    "ticket": lambda value: _identifies(Credential(value, kind="ticket")),
    "session": by_session,
    "refresh": by_refresh,
    "logout": by_logout,
}

# The walk


def rows_of_tables():
    """(table.column, value) of every value of every row."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                yield from (
                    (f"{table}.{name}", value) for name, value in zip(names, row, strict=True)
                )


def rows_of_redis():
    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True, encoding="latin1")
    read = {
        "string": client.get,
        "hash": client.hgetall,
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1),
        "list": lambda key: client.lrange(key, 0, -1),
    }
    for key in client.scan_iter():
        yield f"redis {key}", key
        yield f"redis {key}", read.get(client.type(key), lambda key: None)(key)
    client.close()


def texts_in(value):
    """The value, and each text in it that might be one of ours."""
    if isinstance(value, str):
        yield value
        yield from re.findall(r"[\w-]+\.[\w-]+\.[\w-]+", value)
        if value[:1] in ("{", "["):
            with suppress(ValueError):
                yield from texts_in(json.loads(value))
    elif isinstance(value, bytes | memoryview):
        yield from texts_in(bytes(value).decode("latin1"))
    elif isinstance(value, dict):
        yield from (text for one in [*value, *value.values()] for text in texts_in(one))
    elif isinstance(value, list | tuple | set):
        yield from (text for one in value for text in texts_in(one))


def opened():
    """(where, door) of every stored text that opens one."""
    stored = {}
    for where, value in [*rows_of_tables(), *rows_of_redis()]:
        for text in texts_in(value):
            if len(text) >= _SHORTEST:
                stored.setdefault(text, where)
    return {
        (where, name)
        for text, where in stored.items()
        for name, door in DOORS.items()
        if door(text)
    }


@pytest.fixture
def logins(make_user):
    """Somebody has come in by every way, and what is stored of that is there."""
    person = make_user("admin", password=PASSWORD)
    first = post("/api/token/", username=person.username, password=PASSWORD).json()
    rotated = post("/api/token/refresh/", refresh=first["refresh"]).json()
    client = APIClient(headers=bearer(rotated["access"]))
    browser = Client()
    form = {"username": person.username, "password": PASSWORD}
    assert browser.post("/admin/login/?next=/admin/", form).status_code == 302
    device = {"platform": "android", "token": "a-token-of-fcm"}
    assert client.post("/api/devices/", device, format="json").status_code == 201
    Notification.objects.create(recipient=person, title="Hi", data={"link": "/"})
    return {
        "access": rotated["access"],
        "socket": first["access"],
        "refresh": rotated["refresh"],
        "logout": post("/api/token/", username=person.username, password=PASSWORD).json()[
            "refresh"
        ],
        "ticket": client.post("/api/realtime/ticket/").json()["ticket"],
        "session": browser.cookies[settings.SESSION_COOKIE_NAME].value,
        "a session's ticket": browser.post("/api/realtime/ticket/").json()["ticket"],
    }


def test_no_stored_value_opens_a_door_by_itself(logins):
    assert min(map(len, logins.values())) >= _SHORTEST
    assert OutstandingToken.objects.count() == 3
    assert Ticket.objects.count() == 2
    assert opened() == KNOWN
    # Each of them is a good one, and its door is one.
    for name, credential in logins.items():
        assert DOORS.get(name, DOORS["ticket"])(credential), name


def test_the_walk_finds_what_would_open_one(make_user):
    refresh = RefreshToken.for_user(make_user())
    access = str(refresh.access_token)
    now = timezone.now()
    OutstandingToken.objects.bulk_create(  # which sends no signal
        [OutstandingToken(jti="x", token=str(refresh), expires_at=now, created_at=now)]
    )
    Notification.objects.create(recipient=make_user(), title="Hi", data={"as": [access]})
    tokens = "token_blacklist_outstandingtoken.token"
    assert opened() >= {(tokens, "refresh"), ("notifications_notification.data", "access")}


# What is stored of a token


def stored():
    return {row.token == row.jti for row in OutstandingToken.objects.all()}


def test_whoever_makes_or_uses_up_a_refresh_token_stores_its_jti_alone(make_user):
    user = make_user()
    simplejwt.RefreshToken.for_user(user)
    RefreshToken.for_user(user)
    ObtainSerializer.get_token(user)
    for unknown in (RefreshToken(), RefreshToken()):
        unknown[api_settings.USER_ID_CLAIM] = str(user.pk)
        unknown.outstand() if OutstandingToken.objects.count() == 3 else unknown.blacklist()
    assert OutstandingToken.objects.count() == 5
    assert stored() == {True}


def test_a_refresh_token_has_its_login_before_it_is_stored(make_user, monkeypatch):
    user, seen = make_user(), []
    create = OutstandingToken.objects.create
    monkeypatch.setattr(
        OutstandingToken.objects,
        "create",
        lambda **fields: (seen.append(fields["token"]), create(**fields))[1],
    )
    given = ObtainSerializer.get_token(user)
    assert RefreshToken(seen.pop())[SID] == given[SID] == given.access_token[SID]


def test_a_login_goes_on_under_its_sid_and_another_has_another(make_user):
    user = make_user()
    first, other = (ObtainSerializer.get_token(user) for _ in range(2))
    again = RefreshToken(post("/api/token/refresh/", refresh=str(first)).json()["refresh"])
    assert again[SID] == first[SID] != other[SID]


def test_whoever_may_view_tokens_has_no_page_that_shows_them(make_user):
    staff = make_user("rider", is_staff=True)
    staff.user_permissions.add(*Permission.objects.filter(codename__contains="token"))
    ObtainSerializer.get_token(staff)
    for user in (staff, make_user("admin")):
        browser = Client()
        browser.force_login(user)
        assert "token_blacklist" not in browser.get("/admin/").content.decode()
        for model in ("outstandingtoken", "blacklistedtoken"):
            for page in ("", "add/", f"{OutstandingToken.objects.get().pk}/change/"):
                path = f"/admin/token_blacklist/{model}/{page}"
                assert browser.get(path).status_code == 404
    assert not any(map(admin.site.is_registered, (OutstandingToken, BlacklistedToken)))


def test_the_session_behind_a_ticket_is_read_with_that_ticket_only(make_user):
    user = make_user("admin")
    ticket = tickets.issue(user=user, session_key="a-session")
    row = Ticket.objects.get()
    assert "a-session" not in row.session_key
    assert tickets.session_of(ticket, row) == "a-session"
    assert tickets.session_of(tickets.issue(user=user, session_key="a-session"), row) is None
    row.session_key = "a-session"  # as the release before has stored it
    assert tickets.session_of(ticket, row) is None


# What the release before has stored


def of_before(user):
    """A login as it made them: what its app has, and what it stored: without the sid."""
    given = RefreshToken.for_user(user)
    stored = RefreshToken(str(given))
    del stored.payload[SID]
    OutstandingToken.objects.filter(jti=given["jti"]).update(token=str(stored))
    return str(given), str(stored)


def migrate(*targets):
    executor = MigrationExecutor(connection)
    executor.migrate([*targets] or executor.loader.graph.leaf_nodes())


@pytest.fixture
def not_migrated():
    migrate(("realtime", "0003_last_seen"))
    yield
    migrate()


def test_an_upgrade_logs_nobody_out_and_what_was_stored_is_worth_nothing(make_user, not_migrated):
    app, stolen = of_before(make_user())
    rotated, _ = of_before(make_user())
    rotated = post("/api/token/refresh/", refresh=rotated).json()["refresh"]
    OutstandingToken.objects.filter(jti=RefreshToken(rotated)["jti"]).update(token=rotated)
    migrate()
    assert stored() == {True}
    assert post("/api/token/refresh/", refresh=stolen).status_code == 401
    for token in (app, rotated):
        assert post("/api/token/refresh/", refresh=token).status_code == 200
        assert post("/api/token/refresh/", refresh=token).status_code == 401


def whole_rows(count):
    now = timezone.now()
    OutstandingToken.objects.bulk_create(
        OutstandingToken(jti=f"jti{n}", token=f"eyJ{n}.eyJ{n}.x", created_at=now, expires_at=now)
        for n in range(count)
    )


def test_ten_thousand_rows_are_migrated_in_chunks_and_an_interrupted_run_goes_on(not_migrated):
    migration = importlib.import_module("holodrive.realtime.migrations.0004_token_texts")
    whole_rows(10_000)
    updates = []

    def watch(execute, sql, params, many, context):
        if not sql.startswith("UPDATE"):
            return execute(sql, params, many, context)
        if len(updates) == 3:
            updates.append("interrupted")
            raise KeyboardInterrupt
        execute(sql, params, many, context)
        updates.append(context["cursor"].rowcount)
        assert not connection.in_atomic_block
        return None

    with connection.execute_wrapper(watch):
        with pytest.raises(KeyboardInterrupt):
            migrate()
        left = OutstandingToken.objects.exclude(token=F("jti")).count()
        assert left == 10_000 - 3 * migration.AT_ONCE
        updates.append("again")
        migrate()
    assert updates == [1000] * 3 + ["interrupted", "again"] + [1000] * 7
    assert stored() == {True}


# How long they are kept


def prune(*kinds):
    out = StringIO()
    call_command("prune", *kinds, stdout=out, stderr=StringIO(), batch=2)
    return out.getvalue()


def test_prune_takes_expired_tokens_and_leaves_the_used_ones_that_have_not(make_user):
    user = make_user()
    used, good, old, old_and_used = (ObtainSerializer.get_token(user) for _ in range(4))
    used.blacklist()
    old_and_used.blacklist()
    expired = OutstandingToken.objects.filter(jti__in=[old["jti"], old_and_used["jti"]])
    expired.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert prune("tokens") == "tokens: 2 refresh tokens that have expired deleted\n"
    assert {row.jti for row in OutstandingToken.objects.all()} == {used["jti"], good["jti"]}
    assert BlacklistedToken.objects.get().token.jti == used["jti"]
    assert post("/api/token/refresh/", refresh=str(used)).status_code == 401


def test_a_token_that_is_still_taken_within_the_leeway_is_kept(make_user, monkeypatch):
    used = ObtainSerializer.get_token(make_user())
    used.blacklist()
    monkeypatch.setattr("holodrive.realtime.keyring._ring", _with_leeway(60))
    OutstandingToken.objects.update(expires_at=timezone.now() - timedelta(seconds=30))
    prune("tokens")
    assert OutstandingToken.objects.exists()
    OutstandingToken.objects.update(expires_at=timezone.now() - timedelta(seconds=61))
    prune("tokens")
    assert not OutstandingToken.objects.exists()


def _with_leeway(seconds):
    from holodrive.realtime.keyring import KeyRing

    def ring(*keys):
        made = KeyRing(*keys)
        made.leeway = seconds
        return made

    return ring


def test_prune_takes_the_texts_that_an_older_process_has_stored_since(make_user):
    app, _ = of_before(make_user())
    ObtainSerializer.get_token(make_user())
    whole_rows(4)
    assert prune("token-texts") == (
        "token-texts: 5 texts of refresh tokens that were stored whole deleted\n"
    )
    assert stored() == {True}
    assert OutstandingToken.objects.count() == 6
    assert post("/api/token/refresh/", refresh=app).status_code == 200


def test_a_login_stays_ended_until_the_last_of_its_tokens_has_expired(make_user, monkeypatch):
    """A logout with a token that has a minute to live, while a later one is out."""
    user = make_user()
    first = ObtainSerializer.get_token(user)
    old = RefreshToken(str(first))
    old.set_exp(lifetime=timedelta(minutes=1))
    old.set_jti()
    assert post("/api/token/logout/", refresh=str(old)).status_code == 204
    until = RevokedSession.objects.get(sid=first[SID]).expires_at
    newest = timezone.now() + api_settings.REFRESH_TOKEN_LIFETIME
    assert until >= newest + api_settings.ACCESS_TOKEN_LIFETIME - timedelta(seconds=5)
    RevokedSession.objects.update(expires_at=until - timedelta(minutes=2))
    prune("logins")
    assert not by_access(str(first.access_token))
