"""Where a token may stand among the subprotocols that a client offers, and what is answered."""

import socket

import pytest

from holodrive.realtime.credentials import answered_subprotocol, lift
from testing.client import access_token
from testing.patience import ANSWER

HANDSHAKE = (
    "GET /ws/notifications/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{}\r\n\r\n"
)


@pytest.mark.parametrize(
    ("offers", "token", "answer"),
    [
        ([], None, None),
        (["chat"], None, None),
        (["jwt", "T"], "T", "jwt"),
        (["jwt", "T", "chat"], "T", "jwt"),
        (["chat", "jwt", "T"], "T", "jwt"),
        (["v12.stomp", "chat", "jwt", "T"], "T", "jwt"),
        (["jwt"], "", "jwt"),
        (["chat", "jwt"], "", "jwt"),
        (["T", "jwt"], "", "jwt"),
        (["JWT", "T"], None, None),
    ],
)
def test_the_token_follows_jwt_and_jwt_is_answered(offers, token, answer):
    scope = {
        "path": "/ws/notifications/",
        "query_string": b"",
        "headers": [],
        "subprotocols": offers,
    }
    credential = lift(scope)["credential"]
    assert (credential and credential.token) == token
    assert answered_subprotocol(scope) == answer


@pytest.mark.parametrize("path", ["/ws/notifications/", "/ws/chat/1/", "/ws/support/notes/1/"])
@pytest.mark.parametrize(
    "lines",
    [
        ["jwt", "T"],
        ["chat", "jwt, T"],
        ["jwt, T", "chat"],
        ["chat,jwt", "T"],
        ["jwt", "T", "chat"],
        ["", "jwt, T"],
        ["jwt", "", "T"],
        ["jwt, , T"],
        [",,jwt,\t,T,,"],
    ],
)
def test_offers_in_several_lines_are_one_list(path, lines):
    scope = {
        "path": path,
        "headers": [(b"sec-websocket-protocol", line.encode()) for line in lines],
        "subprotocols": lines[-1].split(", "),
    }
    credential = lift(scope)["credential"]
    assert credential is not None
    assert credential.token == "T"
    assert answered_subprotocol(scope) == "jwt"


def test_what_is_percent_encoded_is_another_offer():
    scope = {
        "path": "/ws/notifications/",
        "headers": [(b"sec-websocket-protocol", b"jwt%2CT")],
        "subprotocols": ["jwt", "T"],  # as Daphne gives them
    }
    assert (lift(scope)["credential"], answered_subprotocol(scope)) == (None, None)


@pytest.mark.parametrize(
    ("line", "is_known"),
    [
        ("Sec-WebSocket-Protocol: chat, jwt, {}", True),
        ("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: jwt,{}", True),
        ("Sec-WebSocket-Protocol: jwt%2C{}", False),
        ("Sec-WebSocket-Protocol: j\xe9wt, {}", False),
    ],
)
def test_no_line_of_a_handshake_is_an_error_of_the_server(server, make_user, line, is_known):
    token = access_token(make_user())
    with socket.create_connection(("127.0.0.1", server.port), ANSWER) as client:
        client.sendall(HANDSHAKE.format(line.format(token)).encode("latin1"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert (b"\r\nSec-WebSocket-Protocol: jwt\r\n" in head) == is_known
        frames = client.recv(1024)
        assert (b'"connection_established"' in frames) == is_known
