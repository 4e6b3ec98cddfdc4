"""Who still gets in from an address with too many failed connects."""

import asyncio
import json
import threading
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from rest_framework_simplejwt.backends import TokenBackend

from holodrive.realtime import auth, tickets
from holodrive.realtime.database import in_database
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.tokens import AccessToken, ObtainSerializer
from testing.browser import session_of
from testing.client import bearer, wait_until
from testing.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/ws/notifications/"
ORIGIN = {"Origin": "https://holodrive.example"}
MOST = 2


@pytest.fixture(autouse=True)
def limit(settings):
    settings.REALTIME_FAILED_CONNECTS_PER_ADDRESS = MOST


def token(user):
    return ObtainSerializer.get_token(user).access_token


def expired(user):
    access = AccessToken.for_user(user)
    access.set_exp(lifetime=timedelta(seconds=-1))
    return str(access)


def ended(user):
    access = token(user)
    RevokedSession.objects.create(sid=access["sid"], expires_at=access.current_time)
    return str(access)


def forged(user):
    return TokenBackend("HS256", "somebody-elses-key-0123456789abcdef").encode(token(user).payload)


def ticket(user):
    return tickets.issue(user=user, claims=token(user).payload)


def by_header(value):
    return PATH, bearer(value), []


def by_cookie(key):
    return PATH, {"Cookie": f"sessionid={key}", **ORIGIN}, []


GOOD = {
    "a token in the header": lambda user: by_header(token(user)),
    "a token as a subprotocol": lambda user: (PATH, {}, ["jwt", str(token(user))]),
    "a token in the query": lambda user: (f"{PATH}?token={token(user)}", {}, []),
    "a token in the path": lambda user: (f"{PATH}{token(user)}", {}, []),
    "a ticket": lambda user: (f"{PATH}?ticket={ticket(user)}", {}, []),
    "a session": lambda user: by_cookie(session_of(user)),
}  # fmt: skip
BAD = {
    "nothing": (lambda user: (PATH, {}, []), "rate_limited"),
    "a cookie of another site": (
        lambda user: (PATH, {"Cookie": "theirs=1", **ORIGIN}, []),
        "rate_limited",
    ),
    "no token": (lambda user: by_header("x.y.z"), "rate_limited"),
    "an empty token": (lambda user: by_header(""), "rate_limited"),
    "a token signed by another": (lambda user: by_header(forged(user)), "rate_limited"),
    "a refresh token": (
        lambda user: by_header(str(ObtainSerializer.get_token(user))),
        "rate_limited",
    ),
    "an unknown ticket": (lambda user: (f"{PATH}?ticket=x", {}, []), "rate_limited"),
    "an unknown session": (lambda user: by_cookie("x" * 32), "rate_limited"),
    # Ours once: these are told what is so
    "an expired token": (lambda user: by_header(expired(user)), "token_expired"),
    "a token of an ended login": (lambda user: by_header(ended(user)), "unauthenticated"),
}


@pytest.fixture
def come(connect, make_user):
    """`await come(make)`: the first frame for the credential that `make(user)` gives."""
    user = make_user()

    async def first_frame(make):
        path, headers, subprotocols = await sync_to_async(make)(user)
        socket = await connect(path, headers=headers, subprotocols=subprotocols)
        return await socket.frame()

    return first_frame


async def fail(come):
    for _ in range(MOST):
        assert (await come(lambda _: by_header("x.y.z")))["code"] == "unauthenticated"


@pytest.mark.parametrize("kind", GOOD)
async def test_a_good_credential_gets_in_from_an_address_over_its_limit(come, kind):
    await fail(come)
    assert (await come(GOOD[kind]))["type"] == "connection_established"
    assert (await come(BAD["nothing"][0]))["code"] == "rate_limited"  # and opens it to no one else


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_credential_does_not(come, kind):
    make, code = BAD[kind]
    await fail(come)
    for _ in range(MOST + 1):
        assert (await come(make))["code"] == code


@pytest.mark.parametrize("kind", ["nothing", "no token", "a token signed by another"])
async def test_what_cannot_be_good_costs_no_query(come, kind, monkeypatch):
    await fail(come)
    monkeypatch.setattr(auth.TokenAuthentication, "get_user", None)
    monkeypatch.setattr(auth, "JointAuthentication", None)
    monkeypatch.setattr(auth, "_user_of_session", None)
    assert (await come(BAD[kind][0]))["code"] == "rate_limited"


async def test_a_flood_of_unknown_tickets_takes_two_threads(connect, come, monkeypatch):
    """The lookups are held back here; without a bound they would take every database thread."""
    await fail(come)
    redeem, begun, let_go = tickets.redeem, [], threading.Event()

    def held_back(ticket):
        begun.append(ticket)
        assert let_go.wait(PATIENCE)
        return redeem(ticket)

    monkeypatch.setattr(tickets, "redeem", held_back)
    try:
        sockets = [await connect(f"{PATH}?ticket={number}") for number in range(30)]
        await asyncio.to_thread(wait_until, lambda: len(begun) >= 2)
        async with asyncio.timeout(PATIENCE):
            await in_database(len, begun)  # there are threads left, and they had their turn
        assert len(begun) == 2
    finally:
        let_go.set()
    for socket in sockets:
        assert (await socket.frame())["code"] == "rate_limited"
    assert (await come(GOOD["a token in the header"]))["type"] == "connection_established"


def test_one_clients_bad_tokens_lock_nobody_out_behind_a_balancer(start_server, dial, make_user):
    """It sends X-Forwarded-For alone, to which each client may have written something itself."""
    server = start_server(
        REALTIME_FAILED_CONNECTS_PER_ADDRESS="3",
        CLIENT_ADDRESS_HEADER="X-Forwarded-For",
        TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8",
    )

    def guess(client, *, written):
        headers = {"X-Forwarded-For": f"{written}, {client}, 10.0.0.7"}
        socket = dial(server, f"{PATH}?token=wrong", headers=headers)
        return json.loads(socket.connection.recv(timeout=PATIENCE))["code"]

    got = [guess("203.0.113.1", written=f"198.51.100.{number}") for number in range(5)]
    assert got == ["unauthenticated"] * 3 + ["rate_limited"] * 2
    assert guess("203.0.113.2", written="203.0.113.1") == "unauthenticated"
