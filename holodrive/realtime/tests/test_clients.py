"""Clients that are not ours, Python's `websockets` and Node's `ws`, against real server processes:
every form of a URL, every way to be refused, one conversation, and no token in any log.
"""

import json
import os
import queue
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import combinations, count
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

import pytest
from django.test import Client as Browser
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from chat.services import open_trip
from conftest import token_for
from holodrive.realtime.tokens import ObtainSerializer
from notifications.models import Notification
from testing.client import PATIENCE
from testing.server import ServerProcess
from testing.services import ROOT

# One address connects here more often than any client may.
_NO_LIMITS = {"REALTIME_FAILED_CONNECTS_PER_ADDRESS": "0", "REALTIME_CONNECTS_PER_USER": "0"}
_NODE = ROOT / "testing" / "node"

both_clients = pytest.mark.parametrize("client", ["websockets", "ws"])


# The two clients


class Foreign:
    """A socket of a client that is not ours: what both have in common."""

    protocol: str | None

    def __init__(self) -> None:
        self._waiting: list[str] = []

    def read(self) -> str | int:
        """The text of the next frame, or the code that the server closed with."""
        raise NotImplementedError

    def write(self, text: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def text(self, kind: str) -> str:
        """The next frame of that type, as it was sent; others stay for later."""
        for text in self._waiting:
            if json.loads(text)["type"] == kind:
                self._waiting.remove(text)
                return text
        while isinstance(text := self.read(), str):
            if json.loads(text)["type"] == kind:
                return text
            self._waiting.append(text)
        raise AssertionError(f"closed with {text} before a frame {kind}: {self._waiting}")

    def frame(self, kind: str) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self.text(kind))
        return frame

    def send(self, kind: str, **fields: Any) -> None:
        self.write(json.dumps({"type": kind, **fields}))


class RefusedError(Exception):
    """The server answered the handshake with this HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class PythonSocket(Foreign):
    def __init__(
        self, address: str, path: str, headers: dict[str, str], protocols: list[str]
    ) -> None:
        super().__init__()
        host, _, port = address.partition(":")
        try:
            self._socket = connect(
                f"ws://{headers.get('Host', address)}{path}",
                legacy=True,
                address=(host, int(port)),
                additional_headers={k: v for k, v in headers.items() if k != "Host"},
                subprotocols=protocols or None,  # type: ignore[arg-type]
                open_timeout=PATIENCE,
                close_timeout=PATIENCE,
                proxy=None,
            )
        except InvalidStatus as refusal:
            raise RefusedError(refusal.response.status_code) from None
        self.protocol = self._socket.subprotocol

    def read(self) -> str | int:
        try:
            return str(self._socket.recv(PATIENCE))
        except ConnectionClosed:
            return int(self._socket.close_code or 0)

    def write(self, text: str) -> None:
        self._socket.send(text)

    def close(self) -> None:
        self._socket.close()


class Node:
    """One process of testing/node/client.mjs, for any number of sockets."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "client.mjs"],  # noqa: S607
            cwd=_NODE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._happened: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._ids = count(1)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            self._happened[event.pop("id")].put(event)

    def open(self, **how: Any) -> int:
        id = next(self._ids)
        self._happened[id] = queue.Queue()
        self.order("open", id, **how)
        return id

    def order(self, what: str, id: int, **how: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "id": id, **how}) + "\n")
        self._process.stdin.flush()

    def next(self, id: int) -> dict[str, Any]:
        return self._happened[id].get(timeout=PATIENCE)

    def stop(self) -> None:
        with self._process:  # closes stdin, at which it ends, and waits
            pass
        self._thread.join()


class NodeSocket(Foreign):
    def __init__(
        self, node: Node, address: str, path: str, headers: dict[str, str], protocols: list[str]
    ) -> None:
        super().__init__()
        self._node = node
        url = f"ws://{address}{path}"
        self._id = node.open(url=url, headers=headers, protocols=protocols)
        self._code: int | None = None
        event = node.next(self._id)
        if "status" in event:
            raise RefusedError(event["status"])
        self.protocol = event["protocol"] or None

    def read(self) -> str | int:
        event = self._node.next(self._id)
        if "code" in event:
            self._code = event["code"]
            return self._code
        text: str = event["text"]
        return text

    def write(self, text: str) -> None:
        self._node.order("send", self._id, text=text)

    def close(self) -> None:
        if self._code is None:
            self._node.order("close", self._id)
            while not isinstance(self.read(), int):
                pass


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if not missing and not _is_installed():
        install = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"],  # noqa: S607
            cwd=_NODE,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if install.returncode:
            missing = [f"ws (npm ci in testing/node: {install.stderr.strip()[-300:]})"]
    if missing:
        reason = f"the Node client: no {', '.join(missing)}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    process = Node()
    yield process
    process.stop()


def _is_installed() -> bool:
    wanted = json.loads((_NODE / "package.json").read_text())["dependencies"]["ws"]
    package = Path(_NODE, "node_modules", "ws", "package.json")
    return package.exists() and json.loads(package.read_text())["version"] == wanted


@pytest.fixture(scope="module")
def shared_server(django_db_setup: None, django_db_blocker: Any) -> Iterator[ServerProcess]:
    """In place of the suite's: without limits on connecting."""
    with django_db_blocker.unblock():
        process = ServerProcess(**_NO_LIMITS)
    yield process
    process.discard()


Dial = Callable[..., Foreign]


@pytest.fixture
def dial(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[Dial]:
    """Opens a socket with the client of that name: `dial("ws", "/ws/notifications/", headers=...)`.
    A handshake that the server refuses raises RefusedError.
    """
    sockets: list[Foreign] = []

    def open_socket(
        client: str,
        path: str,
        headers: dict[str, str] | None = None,
        protocols: list[str] | None = None,
        to: ServerProcess = server,
    ) -> Foreign:
        given = (to.address, path, headers or {}, protocols or [])
        if client == "ws":
            socket: Foreign = NodeSocket(request.getfixturevalue("node"), *given)
        else:
            socket = PythonSocket(*given)
        sockets.append(socket)
        # The token is never the answer, and without one Chrome and `ws` would fail.
        assert socket.protocol == ("jwt" if protocols else None)
        return socket

    yield open_socket
    for socket in sockets:
        socket.close()


Verdict = str | int | tuple[str, int]


def verdict(dial: Dial, *args: Any, **kwargs: Any) -> Verdict:
    """What becomes of a socket: "connected"; the code of its one error frame and the close code; or
    the HTTP status.
    """
    try:
        socket = dial(*args, **kwargs)
    except RefusedError as refusal:
        return refusal.status
    first = socket.read()
    assert isinstance(first, str), f"closed with {first} and no word"
    frame = json.loads(first)
    if frame["type"] == "connection_established":
        socket.close()
        return "connected"
    assert frame.keys() == {"type", "code", "message", "ref"}
    assert frame["type"] == "error"
    code = socket.read()
    assert isinstance(code, int), f"a frame behind the error: {code}"
    return str(frame["code"]), code


# What is dialled


class Form(NamedTuple):
    """One way to give a token. `{token}`, `{user}` and `{chat}` are filled in."""

    path: str
    headers: dict[str, str]
    protocols: list[str]

    def of(self, token: str, user: Any = None, chat: object = "") -> dict[str, Any]:
        """Path, headers and protocols to dial with."""
        pk = user.pk if user is not None else ""
        return {
            "path": self.path.format(token=token, user=pk, chat=chat),
            "headers": {name: text.format(token=token) for name, text in self.headers.items()},
            "protocols": [protocol.format(token=token) for protocol in self.protocols if token]
            or self.protocols[:1],
        }


def _forms(endpoint: str, *paths: str) -> Iterator[tuple[str, Form]]:
    for slash in ("", "/"):
        path = f"{endpoint}{slash}"
        yield f"{path} with Authorization", Form(path, {"Authorization": "Bearer {token}"}, [])
        yield f"{path} with a subprotocol", Form(path, {}, ["jwt", "{token}"])
        for known in (f"{path}?token={{token}}", *(f"{endpoint}{end}{slash}" for end in paths)):
            yield known, Form(known, {}, [])


NOTIFICATIONS = dict(
    _forms("/ws/notifications", "/{token}", "/token={token}", "/token%3D{token}", "/{user}/{token}")
)
CHAT = dict(_forms("/ws/chat/{chat}", "/{token}", "/token={token}"))
FORMS = NOTIFICATIONS | CHAT


@pytest.fixture
def rider(make_user: Callable[..., Any]) -> Any:
    return make_user("rider")


@pytest.fixture
def driver(make_user: Callable[..., Any]) -> Any:
    return make_user("driver")


@pytest.fixture
def chat(rider: Any, driver: Any) -> int:
    """The id of a conversation of rider and driver."""
    return open_trip(rider=rider, driver=driver).pk


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# A good credential


@both_clients
@pytest.mark.parametrize("form", FORMS)
def test_a_token_is_accepted_in_every_form(
    form: str, client: str, dial: Dial, rider: Any, chat: int
) -> None:
    socket = dial(client, **FORMS[form].of(token_for(rider), rider, chat))
    welcome = socket.frame("connection_established")
    if form in NOTIFICATIONS:
        documented = {"message": "Connected to notifications", "user_id": str(rider.pk)}
    else:
        documented = {"message": "Connected to chat", "conversation_id": chat}
    assert welcome.items() >= documented.items()
    assert welcome["expires_at"] is not None


@both_clients
def test_a_session_made_by_the_login_page_is_accepted_with_its_origin(
    client: str, dial: Dial, server: ServerProcess, make_user: Callable[..., Any], chat: int
) -> None:
    admin = make_user("admin", password="correct horse")
    origin = f"http://{server.address}"
    headers = {"Cookie": _log_in(origin, admin.username, "correct horse"), "Origin": origin}
    welcome = dial(client, "/ws/notifications/", headers).frame("connection_established")
    assert (welcome["user_id"], welcome["expires_at"]) == (str(admin.pk), None)
    welcome = dial(client, f"/ws/chat/{chat}/", headers).frame("connection_established")
    assert welcome["conversation_id"] == chat


def _log_in(origin: str, username: str, password: str) -> str:
    """Log in as a browser does, by form and CSRF token; the Cookie header to go on with."""

    class Stay(HTTPRedirectHandler):
        def redirect_request(self, *args: Any) -> None:
            return None

    cookies = HTTPCookieProcessor()
    opener = build_opener(cookies, Stay)
    page = f"{origin}/admin/login/"
    opener.open(page, timeout=PATIENCE).close()
    csrf = next(cookie.value for cookie in cookies.cookiejar if cookie.name == "csrftoken")
    form = {"username": username, "password": password, "csrfmiddlewaretoken": csrf}
    login = Request(page, urlencode(form).encode(), {"Origin": origin})  # noqa: S310 - our own
    response = opener.error  # a redirect that is not followed is an HTTPError
    del response
    try:
        opener.open(login, timeout=PATIENCE).close()
    except OSError as redirect:
        assert getattr(redirect, "code", None) == 302, redirect
        redirect.close()  # type: ignore[attr-defined]
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies.cookiejar)


# One conversation
