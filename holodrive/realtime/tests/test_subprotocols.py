"""Where a token may stand among the subprotocols that a client offers, and what is answered."""

import pytest

from holodrive.realtime.credentials import answered_subprotocol, lift


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
