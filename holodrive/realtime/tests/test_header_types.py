"""The header that REST takes a token from is the sockets' as well, in every spelling."""

from unittest.mock import patch

import pytest
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings

from holodrive.realtime.credentials import lift
from holodrive.realtime.redaction import redact
from testing.client import access_token

pytestmark = pytest.mark.django_db(transaction=True)

BEARER, BOTH, TEXT = ("Bearer",), ["JWT", "Bearer"], "Token"
PLAIN, OWN = "HTTP_AUTHORIZATION", "HTTP_X_ACCESS_TOKEN"


@pytest.fixture
def token(make_user):
    return access_token(make_user())


def settings_of(types, name=PLAIN):
    return patch.multiple(api_settings, AUTH_HEADER_TYPES=types, AUTH_HEADER_NAME=name)


def over_rest(header, value):
    """None: no credential, which is a 401 of its own kind."""
    answer = APIClient(headers={header: value}).get("/api/me/")
    if answer.status_code == 200:
        return True
    return None if "not provided" in answer.json()["message"] else False


async def over_a_socket(connect, header, value):
    socket = await connect("/ws/notifications/", headers={header: value})
    frame = await socket.frame()
    if frame["type"] == "connection_established":
        return True
    return None if frame["message"].startswith("Authentication is required") else False


CASES = [
    (BEARER, PLAIN, "Authorization", "Bearer {}", True),
    (BEARER, PLAIN, "Authorization", "bearer {}", True),
    (BEARER, PLAIN, "Authorization", "BEARER   {} ", True),
    (BEARER, PLAIN, "Authorization", "Bearer\t{}", True),
    (BEARER, PLAIN, "Authorization", "JWT {}", None),
    (BEARER, PLAIN, "Authorization", "Basic {}", None),
    (BEARER, PLAIN, "Authorization", "{}", None),
    (BEARER, PLAIN, "Authorization", "", None),
    (BEARER, PLAIN, "Authorization", "Bearer", False),
    (BEARER, PLAIN, "Authorization", "Bearer {} {}", False),
    (BEARER, PLAIN, "Authorization", "Bearer wrong", False),
    (BEARER, PLAIN, "X-Access-Token", "Bearer {}", None),
    (BOTH, PLAIN, "Authorization", "JWT {}", True),
    (BOTH, PLAIN, "Authorization", "jwt {}", True),
    (BOTH, PLAIN, "Authorization", "Bearer {}", True),
    (BOTH, PLAIN, "Authorization", "JWT", False),
    (BOTH, PLAIN, "Authorization", "Token {}", None),
    (TEXT, PLAIN, "Authorization", "Token {}", True),
    (TEXT, PLAIN, "Authorization", "T {}", None),
    (TEXT, PLAIN, "Authorization", "Bearer {}", None),
    (BOTH, OWN, "X-Access-Token", "JWT {}", True),
    (BOTH, OWN, "Authorization", "JWT {}", None),
]


@pytest.mark.parametrize(("types", "name", "header", "value", "expected"), CASES)
def test_over_rest(token, types, name, header, value, expected):
    with settings_of(types, name):
        assert over_rest(header, value.format(token, token)) is expected


@pytest.mark.parametrize(("types", "name", "header", "value", "expected"), CASES)
async def test_over_a_socket(connect, token, types, name, header, value, expected):
    with settings_of(types, name):
        assert await over_a_socket(connect, header, value.format(token, token)) is expected


@pytest.mark.parametrize("value", sorted({value for *_, value, _ in CASES if "{}" in value}))
def test_no_token_stays_in_what_is_logged_of_a_header(token, value):
    line = f"header Authorization: {value.format(token, token)}"
    assert "eyJ" in line
    assert "eyJ" not in redact(line)
    scope = {"path": "/ws/notifications/", "headers": [(b"authorization", line.encode())]}
    assert token not in repr(lift(scope)["credential"])
