"""No token is in the log of a server that is not ours, in a project without our LOGGING: real
processes, with their access logs on.
"""

import socket
import uuid
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from typing import Any

import pytest

from testing.client import access_token, wait_until
from testing.parts import missing
from testing.patience import PATIENCE
from testing.server import ServerProcess

PROGRAMS = {
    "uvicorn": ("uvicorn",),
    "gunicorn": ("gunicorn", "uvicorn_worker"),
    "hypercorn": ("hypercorn",),
    "granian": ("granian",),
}
PATHS = (
    "/ws/notifications/{token}", "/ws/notifications/token={token}",
    "/ws/notifications/{user}/{token}/",
    "/ws/chat/7/{token}?last_seq=3", "/ws/chat/7/?token={token}&last_seq=3",
    "/ws/chat/7/?ticket={token}",
    "/ws/chat/7/?%74oken={token}", "/ws/chat/{token}/", "/ws/nothing/{token}", "/ws/{token}",
    "/ws/support/{token}",
    "/WS/Notifications/{token}", "//ws//chat/7/{token}", "/./ws/chat/7/{token}",
    "/x/../ws/chat/7/{token}",
    "/ws/..;/chat/7/{token}", "/%77s/chat/7/{token}", "/ws%2Fchat%2F7%2F{token}",
    "/ws/chat/7/%20{token}",
    "/elsewhere/?token={token}", "/admin/login/?next=%2Fws%2Fchat%2F7%2F{token}",
    "http://{host}/ws/notifications/{token}",
)  # fmt: skip
_UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def _opaque(user: Any) -> str:
    return f"canary{uuid.uuid4().hex}"


def _encoded(user: Any) -> str:
    return access_token(user).replace("eyJ", "%65yJ").replace(".", "%2E")


def _ask(server: ServerProcess, path: str, upgrade: str) -> None:
    """A request that no client of ours would send as it stands."""
    head = f"GET {path} HTTP/1.1\r\nHost: {server.address}\r\nReferer: http://a{path}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as line:
        line.sendall(f"{head}{upgrade or 'Connection: close'}\r\n\r\n".encode())
        line.settimeout(PATIENCE)
        line.recv(1)


def _secrets(token: str) -> list[str]:
    """Of a JWT its content and signature; however its dots are written."""
    return token.replace("%2E", ".").split(".")[1:] or [token]


@pytest.mark.parametrize("kind", PROGRAMS)
def test_no_token_is_in_the_log_of_another_server(
    kind: str, start_server: Callable[..., ServerProcess], make_user: Callable[..., Any]
) -> None:
    if lacking := [name for name in PROGRAMS[kind] if find_spec(name) is None]:
        missing(f"The access log of {kind}", *lacking)
    rider = make_user()
    server = start_server(kind, DJANGO_SETTINGS_MODULE="testing.bare_logging", DEBUG="on")
    sent: dict[str, str] = {}
    forms = [*product(PATHS, [_opaque]), *product(PATHS[:3], [access_token, _encoded])]
    for (form, make), upgrade in product(forms, ("", _UPGRADE)):
        token = make(rider)
        path = form.format(token=token, user=rider.pk, host=server.address)
        sent[path + upgrade[:7]] = token
        _ask(server, path, upgrade)
    _ask(server, "/ws/the-last-one/", "")
    wait_until(lambda: "/ws/[redacted]" in server.log(), explain=server.log)
    server.stop()  # what it had not written yet is written now
    log = server.log()
    assert log.count("[redacted]") > len(PATHS)  # it writes about these requests at all
    leaked = [path for path, token in sent.items() if any(part in log for part in _secrets(token))]
    assert leaked == []
