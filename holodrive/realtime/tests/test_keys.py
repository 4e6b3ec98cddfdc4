"""Rotating SECRET_KEY and JWT_SIGNING_KEY: what was signed before goes on, what is new is signed
anew, and nobody is logged out.
"""

import hmac
import json
import threading
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

import jwt
import pytest
from asgiref.sync import sync_to_async
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.contrib.sessions.models import Session
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client
from django.test.utils import override_settings
from jwt import api_jws
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings

from holodrive.realtime.tokens import ObtainSerializer, RefreshToken
from testing.client import RemoteSocket, bearer
from testing.patience import patience

pytestmark = pytest.mark.django_db(transaction=True)

OLD = "old-0123456789abcdef0123456789abcdef0123456789abcdef"
NEW = "new-0123456789abcdef0123456789abcdef0123456789abcdef"
OTHER = "other-0123456789abcdef0123456789abcdef0123456789abcdef"


@contextmanager
def signed_with(key, *fallbacks, jwt_key=None, jwt_fallbacks=()):
    """As a process would run under these variables."""
    jwt_key = jwt_key or key
    with (
        patch.object(api_settings, "SIGNING_KEY", jwt_key),
        override_settings(
            SECRET_KEY=key,
            SECRET_KEY_FALLBACKS=[*fallbacks],
            JWT_SIGNING_KEY_FALLBACKS=[*jwt_fallbacks],
        ),
    ):
        yield


# How the old key is kept: beside SECRET_KEY, beside JWT_SIGNING_KEY, or when the latter is new.
ROTATIONS = {
    "SECRET_KEY": {"fallbacks": (OLD,), "jwt": {}},
    "JWT_SIGNING_KEY": {"fallbacks": (), "jwt": {"jwt_key": NEW, "jwt_fallbacks": (OLD,)}},
    "first of two": {"fallbacks": (OTHER, OLD), "jwt": {}},
}


@pytest.fixture(params=ROTATIONS)
def rotated(request):
    """`with rotated(): ...` is after the rotation, with OLD as a fallback."""
    how = ROTATIONS[request.param]
    return lambda: signed_with(NEW, *how["fallbacks"], **how["jwt"])


@pytest.fixture
def user(make_user):
    return make_user()


def tokens_of(user):
    refresh = ObtainSerializer.get_token(user)
    return str(refresh), str(refresh.access_token)


def rest(access):
    client = APIClient(headers=bearer(access))
    return client.get("/api/notifications/").status_code


def refreshed(refresh):
    return APIClient().post("/api/token/refresh/", {"refresh": refresh}, format="json")


def key_of(token):
    for key in (OLD, NEW):
        try:
            jwt.decode(token, key, algorithms=["HS256"])
        except jwt.InvalidSignatureError:
            continue
        return key
    return None


def test_a_token_of_the_old_key_is_accepted_and_its_refresh_is_signed_with_the_new(user, rotated):
    with signed_with(OLD):
        refresh, access = tokens_of(user)
    assert (key_of(refresh), key_of(access)) == (OLD, OLD)
    with rotated():
        assert rest(access) == 200
        answer = refreshed(refresh)
        assert answer.status_code == 200
        assert {key_of(token) for token in answer.json().values()} == {NEW}
        assert rest(answer.json()["access"]) == 200
        assert refreshed(refresh).status_code == 401  # the rotation of keys forgets no blacklist


def test_without_the_fallback_the_old_key_is_refused(user):
    with signed_with(OLD):
        refresh, access = tokens_of(user)
    for foreign in ((), (OTHER,)):
        with signed_with(NEW, *foreign):
            assert (rest(access), refreshed(refresh).status_code) == (401, 401)
    with signed_with(NEW, OLD, jwt_key=OTHER):  # SECRET_KEY's fallbacks are not its own
        assert (rest(access), refreshed(refresh).status_code) == (401, 401)


def test_an_expired_token_of_the_old_key_is_told_apart(user, rotated):
    with signed_with(OLD):
        token = ObtainSerializer.get_token(user).access_token
        token.set_exp(lifetime=-timedelta(seconds=1))
        expired = str(token)
    with rotated():
        answer = APIClient(headers=bearer(expired)).get("/api/me/")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


def test_a_changed_password_and_a_logout_still_end_tokens_of_the_old_key(make_user, rotated):
    first, second = make_user(), make_user()
    with signed_with(OLD):
        (_, access), (refresh, other) = tokens_of(first), tokens_of(second)
    first.set_password("another-one")
    first.save()
    with rotated():
        assert rest(access) == 401
        assert rest(other) == 200
        body = {"refresh": refresh}
        assert APIClient().post("/api/token/logout/", body, format="json").status_code == 204
        assert rest(other) == 401


async def test_sockets_take_tokens_of_the_old_key_and_no_other(user, rotated, connect):
    with signed_with(OLD):
        refresh, access = await sync_to_async(tokens_of)(user)
    with rotated():
        socket = await connect(f"/ws/notifications/?token={access}")
        assert (await socket.frame())["type"] == "connection_established"
        socket = await connect(f"/ws/notifications/?token={refresh}")
        assert await socket.closed() == 4401
    with signed_with(NEW, OTHER):
        socket = await connect(f"/ws/notifications/?token={access}")
        assert await socket.closed() == 4401


# Pairs of keys


def pem(private):
    """(what signs, what verifies)"""
    plain = serialization.NoEncryption()
    return (
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
        ).decode(),
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    )


def pair(algorithm):
    if algorithm.startswith("ES"):
        return pem(ec.generate_private_key(ec.SECP256R1()))
    return pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


@contextmanager
def signed_by(algorithm, keys, *fallbacks):
    signing, verifying = keys
    with (
        patch.multiple(
            api_settings, ALGORITHM=algorithm, SIGNING_KEY=signing, VERIFYING_KEY=verifying
        ),
        override_settings(JWT_SIGNING_KEY_FALLBACKS=[*fallbacks]),
    ):
        yield


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256"])
@pytest.mark.parametrize("half", ["the private key", "the public key"])
def test_a_token_of_the_old_pair_is_accepted_and_the_new_pair_signs(user, algorithm, half):
    old, new, other = (pair(algorithm) for _ in range(3))
    kept = old[half == "the public key"]
    with signed_by(algorithm, old):
        refresh, access = tokens_of(user)
        assert rest(access) == 200
    with signed_by(algorithm, new, other[1], kept):
        assert rest(access) == 200
        answer = refreshed(refresh)
        assert answer.status_code == 200
        assert refreshed(refresh).status_code == 401
        assert rest(answer.json()["access"]) == 200
    with signed_by(algorithm, new):  # signed with the new pair, and no more with the old
        assert rest(answer.json()["access"]) == 200
        assert rest(access) == 401
    with signed_by(algorithm, new, other[1]):
        assert (rest(access), refreshed(refresh).status_code) == (401, 401)


def test_a_public_key_signs_nothing_as_a_secret(user):
    """Whoever knows it, and everybody may, could else forge a token of HS256."""
    old, new = pair("RS256"), pair("RS256")
    with signed_by("RS256", new, old[1]):
        _, access = tokens_of(user)
        claims = jwt.decode(access, new[1], algorithms=["RS256"])
        for public in (old[1], new[1]):
            key = hmac.new(public.encode(), digestmod="sha256")
            head = api_jws.base64url_encode(b'{"alg":"HS256","typ":"JWT"}')
            body = head + b"." + api_jws.base64url_encode(json.dumps(claims).encode())
            key.update(body)
            forged = body + b"." + api_jws.base64url_encode(key.digest())
            assert rest(forged.decode()) == 401


@pytest.mark.parametrize("wrong", ["a-secret", "", "-----BEGIN PUBLIC KEY-----\nx", "of EC"])
def test_a_fallback_that_is_no_key_is_refused_at_the_start(user, wrong):
    wrong = pair("ES256")[1] if wrong == "of EC" else wrong
    good = pair("RS256")
    for fallbacks in ([wrong], [good[1], wrong]):
        with signed_by("RS256", good, *fallbacks):
            (found,) = run_checks(tags=["realtime"])
            assert (found.id, "\n" in found.msg) == ("realtime.E014", False)
            assert "RS256" in found.msg
            assert wrong == "" or wrong not in str(found)
            with pytest.raises(ImproperlyConfigured, match="RS256"):
                tokens_of(user)
    with signed_by("RS256", good, good[1]):
        assert run_checks(tags=["realtime"]) == []
    for wrong in ("", good[1]):
        with signed_with(NEW, wrong):
            assert [one.id for one in run_checks(tags=["realtime"])] == ["realtime.E014"]


# Sessions


def logged_in(admin):
    browser = Client()
    browser.force_login(admin)
    return browser, browser.cookies["sessionid"].value


def cookie(key):
    return {"Cookie": f"sessionid={key}", "Origin": "http://testserver"}


async def test_a_session_of_the_old_key_opens_sockets_and_is_not_rewritten(make_user, connect):
    with signed_with(OLD):
        browser, key = await sync_to_async(lambda: logged_in(make_user("admin")))()
    before = await Session.objects.aget(pk=key)
    with signed_with(NEW, OLD):
        for _ in range(2):
            socket = await connect("/ws/notifications/", headers=cookie(key))
            assert (await socket.frame())["type"] == "connection_established"
        after = await Session.objects.aget(pk=key)
        assert after.session_data == before.session_data
        page = await sync_to_async(browser.get)("/admin/")
        assert page.status_code == 200
        renewed = browser.cookies["sessionid"].value  # Django's own renewal, with a new cookie
        socket = await connect("/ws/notifications/", headers=cookie(renewed))
        assert (await socket.frame())["type"] == "connection_established"
    with signed_with(NEW):  # the fallback is gone: the renewed session needs it no more
        assert (await sync_to_async(browser.get)("/admin/")).status_code == 200


async def test_a_session_of_an_unknown_key_is_refused_and_left_alone(make_user, connect):
    with signed_with(OLD):
        _, key = await sync_to_async(lambda: logged_in(make_user("admin")))()
    with signed_with(NEW, OTHER):
        socket = await connect("/ws/notifications/", headers=cookie(key))
        assert await socket.closed() == 4401
    assert await Session.objects.filter(pk=key).aexists()


def test_a_server_reads_the_fallbacks_from_its_environment(start_server, make_user):
    admin = make_user("admin")
    with signed_with(OLD):
        _, access = tokens_of(admin)
        _, session = logged_in(admin)
    server = start_server(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=f"{OTHER}, {OLD}")
    for options in (
        {"headers": bearer(access)},
        {"headers": {"Cookie": f"sessionid={session}"}, "origin": f"http://{server.address}"},
    ):
        socket = RemoteSocket(server.address, "/ws/notifications/", **options)
        assert socket.frame()["type"] == "connection_established"
        socket.close()
    own = start_server(SECRET_KEY=NEW, JWT_SIGNING_KEY="$" + NEW, JWT_SIGNING_KEY_FALLBACKS=OLD)
    headers = bearer(access)
    assert own.request("GET", "/api/me/", headers=headers)[0] == 200
    forged = jwt.encode(jwt.decode(access, OLD, algorithms=["HS256"]), NEW, "HS256")
    headers = bearer(forged)  # SECRET_KEY signs no tokens there
    assert own.request("GET", "/api/me/", headers=headers)[0] == 401


# A refresh token is used once


def test_of_two_refreshes_with_one_token_at_once_exactly_one_wins(user, monkeypatch):
    refresh, _ = tokens_of(user)
    both_have_checked = threading.Barrier(2, timeout=patience(10))
    use_up = RefreshToken.blacklist

    def meet(token):
        if connection.vendor == "postgresql":  # SQLite's second transaction waits at its beginning
            both_have_checked.wait()
        return use_up(token)

    monkeypatch.setattr(RefreshToken, "blacklist", meet)
    answers = []

    def attempt():
        try:
            answers.append(refreshed(refresh))
        finally:
            connection.close()

    threads = [threading.Thread(target=attempt) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    refused = next(answer for answer in answers if answer.status_code == 401)
    assert refused.json()["code"] == "unauthenticated"
    won = next(answer for answer in answers if answer.status_code == 200)
    monkeypatch.undo()
    assert refreshed(won.json()["refresh"]).status_code == 200


def test_a_logout_ends_the_login_though_a_refresh_came_before_it_by_a_moment(user, monkeypatch):
    refresh, access = tokens_of(user)
    use_up = RefreshToken.blacklist

    def late(token):
        monkeypatch.undo()
        won.append(refreshed(refresh).json())
        return use_up(token)

    won = []
    monkeypatch.setattr(RefreshToken, "blacklist", late)
    answer = APIClient().post("/api/token/logout/", {"refresh": refresh}, format="json")
    assert answer.status_code == 204
    assert [rest(access), rest(won[0]["access"])] == [401, 401]


def test_a_refresh_token_of_a_deleted_user_is_refused(user):
    refresh, _ = tokens_of(user)
    user.delete()
    answer = refreshed(refresh)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
