"""Claims that are malformed but signed with our key: refused at every door, and never more than
that one token.
"""

import json
import uuid
from itertools import product

import jwt
import pytest
from asgiref.sync import sync_to_async
from jwt import api_jws
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings

from holodrive.realtime import auth, tickets
from holodrive.realtime.auth import Identity
from holodrive.realtime.credentials import Credential
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.tokens import ObtainSerializer
from holodrive.realtime.wire import Unauthenticated
from testing.client import bearer

pytestmark = pytest.mark.django_db(transaction=True)

_NESTED = {"a": [{"b": None}]}
_NO_TEXT = ["", "\x00", "a\x00b", "\ud800", "x" * 300, "9" * 5000]
_NO_NUMBER = [None, True, False, {}, [], _NESTED, [1], ["x"]]
_NOT_FINITE = [float("nan"), float("inf"), float("-inf")]
_NUMBERS = [0, -1, 1.5, -0.0, 1e300, -1e300, 10**30, -(10**30), 10**400, *_NOT_FINITE]
_TEXTS = ["0", "-1", "1.5", "NaN", "None", "true", "٣", "1_0", " 1", "1 ", "+1", "01", "é", "';"]
_TIMES = [2**62, 2**63, 2**64, 253402214399, 253402300800, 1e18, "1893456000", "1893456000.5"]
_ODD = [*_NO_NUMBER, *_NUMBERS, *_NO_TEXT]
# `iat` and `nbf` may be any number (of the past): what is not, is malformed.
_NO_TIME = [*_NO_NUMBER, *_NOT_FINITE, *_NO_TEXT, *_TEXTS]
VALUES = {
    "user_id": [*_ODD, *_TEXTS, 2**31, 2**63, 2**64],
    "sid": _ODD,
    "jti": _ODD,
    "token_type": [*_ODD, *_TEXTS, "Access", "sliding", ["access"], {"access": 1}],
    "exp": [*_ODD, *_TEXTS, *_TIMES],
    "iat": _NO_TIME,
    "nbf": _NO_TIME,
    "iss": [*_NO_NUMBER, *_NUMBERS],
    "hash_password": [*_ODD, *_TEXTS],
}
MISSING = ("user_id", "exp", "token_type", "jti")


# A deleted user's login can be ended as well.
_OF_NOBODY = (0, -1, "0", "-1", 2**31)


def signed(token, **claims):
    """With our key, whatever JSON the claims make; none was used before."""
    given = {**token.payload, "jti": uuid.uuid4().hex, **claims}
    payload = {name: value for name, value in given.items() if value != ...}
    content = json.dumps(payload).encode()
    return api_jws.encode(content, api_settings.SIGNING_KEY, api_settings.ALGORITHM)


@pytest.fixture
def refresh(make_user):
    """A token of somebody whose id is none of the odd values."""
    for _ in range(12):
        user = make_user()
    return ObtainSerializer.get_token(user)


def post(path, **body):
    return APIClient().post(path, body, format="json").status_code


def as_identity(token, **options):
    try:
        return auth.identify(Credential(token, **options), None)
    except Unauthenticated:
        return 401


def among_others(token, good):
    others = [Credential(good), Credential(token), Credential(good)]
    first, one, last = auth.identify_together(others)
    assert isinstance(first, Identity)
    assert isinstance(last, Identity)
    return one if isinstance(one, Identity) else 401


def of_ticket(user, claims):
    return as_identity(tickets.issue(user=user, claims=claims), kind="ticket")


def access_doors(token, good):
    yield "REST", lambda: APIClient(headers=bearer(token)).get("/api/me/").status_code
    yield "alone", lambda: as_identity(token)
    yield "together", lambda: among_others(token, good)


def refresh_doors(token):
    yield "refresh", lambda: post("/api/token/refresh/", refresh=token)
    yield "logout", lambda: post("/api/token/logout/", refresh=token)


def answers(doors):
    found = {}
    for name, door in doors:
        try:
            found[name] = door()
        except Exception as problem:  # noqa: BLE001 - a test client raises what would be a 500
            found[name] = repr(problem)[:200]
    return {name: answer for name, answer in found.items() if answer != 401}


@pytest.mark.parametrize("claim", VALUES)
def test_an_odd_claim_of_an_access_token_is_a_401_at_every_door(refresh, claim):
    good = refresh.access_token
    cases = [*VALUES[claim], *([...] if claim in MISSING else [])]
    wrong = [
        (value, open_or_broken)
        for value in cases
        if (open_or_broken := answers(access_doors(signed(good, **{claim: value}), str(good))))
    ]
    assert not wrong


@pytest.mark.parametrize("claim", VALUES)
def test_an_odd_claim_of_a_refresh_token_is_a_401_at_every_door(refresh, claim):
    cases = [*VALUES[claim], *([...] if claim in (*MISSING, "sid") else [])]
    wrong = []
    for value in cases:
        doors = dict(refresh_doors(signed(refresh, **{claim: value})))
        if claim == "hash_password" or (claim == "user_id" and value in _OF_NOBODY):
            del doors["logout"]  # it only ends what it is given
        if found := answers(doors.items()):
            wrong.append((value, found))
    assert not wrong
    assert not RevokedSession.objects.exists()
    assert post("/api/token/refresh/", refresh=str(refresh)) == 200


@pytest.mark.parametrize("claim", ["user_id", "sid", "exp", "hash_password"])
def test_an_odd_claim_behind_a_ticket_is_refused(refresh, claim):
    token = refresh.access_token
    storable = [value for value in VALUES[claim] if _is_json(value)]
    user = auth.identify(Credential(str(token)), None).user
    wrong = {
        repr(value)[:40]: answer
        for value in storable
        if (answer := of_ticket(user, {**token.payload, claim: value})) != 401
    }
    assert not wrong
    assert isinstance(of_ticket(user, token.payload), Identity)


def _is_json(value):
    """What PostgreSQL takes into a column."""
    text = json.dumps(value)
    return not any(part in text for part in ("NaN", "Infinity", "\\u0000", "\\ud800"))


@pytest.mark.parametrize("value", [float("nan"), "\x00", "\ud800", _NESTED])
def test_another_claim_of_any_kind_keeps_nobody_from_a_ticket(refresh, value):
    token = signed(refresh.access_token, extra=value)
    answer = APIClient(headers=bearer(token)).post("/api/realtime/ticket/")
    assert answer.status_code == 201
    assert isinstance(as_identity(answer.json()["ticket"], kind="ticket"), Identity)


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        *product(["user_id", "sid", "exp", "iat"], [_NESTED, float("inf"), "\x00"]),
        *product(["user_id", "sid", "exp"], [10**30]),
    ],
)
async def test_a_socket_with_an_odd_claim_is_closed_and_told_why(connect, refresh, claim, value):
    token = signed(await sync_to_async(lambda: refresh.access_token)(), **{claim: value})
    socket = await connect("/ws/notifications/", headers=bearer(token))
    assert (await socket.frame())["code"] in ("unauthenticated", "token_expired")
    assert await socket.closed() == 4401
    good = await connect("/ws/notifications/", headers=bearer(str(refresh.access_token)))
    await good.frame("connection_established")
    good.send({"type": "token_refresh", "token": token})
    answer = await good.frame("error")
    assert (answer["code"], answer["ref"]) == ("unauthenticated", "token_refresh")
    await good.quiet()


async def test_a_token_for_seven_thousand_years_is_a_token(connect, refresh):
    far = 221_845_391_999
    access = signed(await sync_to_async(lambda: refresh.access_token)(), exp=far)
    socket = await connect("/ws/notifications/", headers=bearer(access))
    assert (await socket.frame())["expires_at"].startswith("8999-12-31")
    await socket.quiet()
    out = await sync_to_async(post)("/api/token/logout/", refresh=signed(refresh, exp=far))
    assert out == 204
    assert await socket.closed() == 4401


_HEADERS = [
    "[" * 3000,
    '{"alg":' + "[" * 2000,
    *(f'{{"alg": {value}}}' for value in ('["HS256"]', '{"HS256": 1}', "null", "1e400", "NaN")),
    *(f'{{"alg": "HS256", {more}}}' for more in ('"kid": 5', '"crit": 7', '"typ": []')),
    '{"alg": "HS256", "b64": false, "crit": ["b64"]}',
    '{"alg": "none"}',
    *("{}", "[]", "1", "", "\x00"),
]


@pytest.mark.parametrize("header", _HEADERS)
def test_an_odd_header_of_an_unsigned_token_is_a_401_at_every_door(refresh, header):
    good = str(refresh.access_token)
    token = f"{api_jws.base64url_encode(header.encode()).decode()}.{good.split('.', 1)[1]}"
    assert answers([*access_doors(token, good), *refresh_doors(token)]) == {}


@pytest.mark.parametrize("problem", [ValueError, TypeError, OverflowError, RecursionError])
def test_a_claim_that_the_library_fails_on_is_a_401_at_every_door(refresh, problem, monkeypatch):
    """Releases of PyJWT differ in what they expect of `exp`: none is pinned by simplejwt."""
    good, real = refresh.access_token, jwt.decode
    token = signed(good)
    monkeypatch.setattr(
        "rest_framework_simplejwt.backends.jwt.decode",
        lambda given, *args, **options: (
            _fails(problem) if given in (token, token.encode()) else real(given, *args, **options)
        ),
    )
    assert answers([*access_doors(token, str(good)), *refresh_doors(token)]) == {}


def _fails(problem):
    raise problem("int too large")
