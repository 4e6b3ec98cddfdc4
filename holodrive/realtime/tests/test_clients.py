"""Clients that are not ours, Python's `websockets` and Node's `ws`, against real server processes:
every form of a URL, every way to be refused, one conversation, and no token in any log.
"""

import json
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import combinations
from socket import create_connection
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest
from django.contrib.auth import get_user_model
from django.test import Client as Browser

from chat.services import open_trip
from holodrive.realtime.tokens import ObtainSerializer
from notifications.models import Notification
from testing.client import access_token, bearer
from testing.foreign import Foreign, Node, NodeSocket, PythonSocket, RefusedError, missing_for_node
from testing.parts import missing
from testing.patience import PATIENCE
from testing.server import ServerProcess

both_clients = pytest.mark.parametrize("client", ["websockets", "ws"])


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    if lacking := missing_for_node():
        missing("The Node client", *lacking)
    process = Node()
    yield process
    process.stop()


OpenWith = Callable[..., Foreign]


@pytest.fixture
def open_with(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[OpenWith]:
    """Opens a socket with the client of that name: `open_with("ws", path, headers, protocols)`. A
    handshake that the server refuses raises RefusedError.
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


def verdict(open_with: OpenWith, *args: Any, **kwargs: Any) -> Verdict:
    """What becomes of a socket: "connected"; the code of its one error frame and the close code; or
    the HTTP status.
    """
    try:
        socket = open_with(*args, **kwargs)
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
        """Path, headers and protocols to open_with with."""
        pk = user.pk if user is not None else ""
        return {
            "path": self.path.format(token=token, user=pk, chat=chat),
            "headers": {name: text.format(token=token) for name, text in self.headers.items()},
            "protocols": [
                text.format(token=token) for text in self.protocols if token or text == "jwt"
            ],
        }


def _forms(endpoint: str, *paths: str) -> Iterator[tuple[str, Form]]:
    after_another = Form(f"{endpoint}/", {}, ["chat", "jwt", "{token}"])
    yield f"{endpoint}/ with a subprotocol after another", after_another
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


# A good credential


@both_clients
@pytest.mark.parametrize("form", FORMS)
def test_a_token_is_accepted_in_every_form(
    form: str, client: str, open_with: OpenWith, rider: Any, chat: int
) -> None:
    socket = open_with(client, **FORMS[form].of(access_token(rider), rider, chat))
    welcome = socket.frame("connection_established")
    if form in NOTIFICATIONS:
        documented: Any = {"message": "Connected to notifications", "user_id": str(rider.pk)}
    else:
        documented = {"message": "Connected to chat", "conversation_id": chat}
    assert welcome.items() >= documented.items()
    assert welcome["expires_at"] is not None


@both_clients
def test_a_session_made_by_the_login_page_is_accepted_with_its_origin(
    client: str,
    open_with: OpenWith,
    server: ServerProcess,
    make_user: Callable[..., Any],
    chat: int,
) -> None:
    admin = make_user("admin", password="correct horse")
    origin = f"http://{server.address}"
    headers = {"Cookie": _log_in(origin, admin.username, "correct horse"), "Origin": origin}
    welcome = open_with(client, "/ws/notifications/", headers).frame("connection_established")
    assert (welcome["user_id"], welcome["expires_at"]) == (str(admin.pk), None)
    welcome = open_with(client, f"/ws/chat/{chat}/", headers).frame("connection_established")
    assert welcome["conversation_id"] == chat


def _log_in(origin: str, username: str, password: str) -> str:
    """Log in as a browser does, by form and CSRF token; the Cookie header to go on with."""
    cookies = HTTPCookieProcessor()
    browser = build_opener(cookies)
    browser.open(f"{origin}/admin/login/", timeout=PATIENCE).close()
    csrf = next(cookie.value for cookie in cookies.cookiejar if cookie.name == "csrftoken")
    fields = {"username": username, "password": password, "next": "/admin/"}
    form = urlencode(fields | {"csrfmiddlewaretoken": csrf}).encode()
    login = Request(f"{origin}/admin/login/", form, {"Origin": origin})  # noqa: S310 - our server
    with browser.open(login, timeout=PATIENCE) as page:
        assert page.url == f"{origin}/admin/"
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies.cookiejar)


# One conversation


@pytest.mark.parametrize(
    ("one", "other"), [("websockets", "ws"), ("ws", "websockets"), ("websockets", "websockets")]
)
def test_two_clients_hold_one_conversation_over_a_reconnect_of_one(
    one: str, other: str, open_with: OpenWith, rider: Any, driver: Any, chat: int
) -> None:
    token = access_token(rider)
    riders = open_with(one, f"/ws/chat/{chat}/?token={token}")
    drivers = open_with(other, f"/ws/chat/{chat}/", bearer(access_token(driver)))
    for socket in (riders, drivers):
        assert socket.frame("connection_established")["last_seq"] == 0

    riders.send("chat_message", message="Where are you?", client_message_id="a1")
    ack, own = riders.frame("message_ack"), riders.text("chat_message")
    assert (ack["client_message_id"], ack["duplicate"]) == ("a1", False)
    heard = drivers.text("chat_message")
    assert heard == own
    assert json.loads(heard) == {
        "type": "chat_message",
        "message": "Where are you?",
        "sender_id": rider.pk,
        "sender_name": rider.get_full_name(),
        "is_from_support": False,
        "created_at": ack["created_at"],
        "message_id": ack["message_id"],
        "client_message_id": "a1",
        "seq": 1,
    }

    riders.close()
    for answer in ("At the gate.", "The blue one."):
        drivers.send("chat_message", message=answer)
    missed = [drivers.text("chat_message") for _ in range(2)]

    riders = open_with(one, f"/ws/chat/{chat}?last_seq=1&token={token}")
    assert riders.frame("connection_established")["last_seq"] == 3
    assert [riders.read(), riders.read()] == missed
    assert riders.frame("resumed") == {
        "type": "resumed", "recovered": True, "from_seq": 1, "to_seq": 3, "count": 2,
    }  # fmt: skip
    riders.send("chat_message", message="I see you.")
    assert riders.text("chat_message") == drivers.text("chat_message")


@both_clients
def test_notifications_are_read_and_resumed_over_a_reconnect(
    client: str, open_with: OpenWith, rider: Any
) -> None:
    token = access_token(rider)
    first, second = (
        open_with(client, f"/ws/notifications/{token}"),
        open_with(client, "/ws/notifications", bearer(token)),
    )
    assert first.frame("connection_established")["unread_count"] == 0
    second.frame("connection_established")
    row = Notification.objects.create(recipient=rider, title="Your driver is here")
    rung = first.frame("notification")
    assert (rung["notification"]["id"], rung["notification"]["title"]) == (row.pk, row.title)
    assert (rung["unread_count"], rung["seq"]) == (1, 1)

    first.close()
    Notification.objects.create(recipient=rider, title="Your driver waits")
    second.send("mark_as_read", notification_id=row.pk)
    second.text("notification")
    missed = [second.text("notification"), second.text("notification_read")]

    first = open_with(client, f"/ws/notifications/token={token}?last_seq=1")
    assert first.frame("connection_established")["unread_count"] == 1
    assert [first.read(), first.read()] == missed
    assert first.frame("resumed")["recovered"] is True


# A bad credential


def _login(user: Any) -> Any:
    """The refresh token of a new login."""
    return ObtainSerializer.get_token(user)


def _expired(user: Any, *_: Any) -> str:
    access = _login(user).access_token
    access.set_exp(lifetime=-timedelta(seconds=1))
    return str(access)


def _wrongly_signed(user: Any, *_: Any) -> str:
    content, other = access_token(user), access_token(user)
    return f"{content.rpartition('.')[0]}.{other.rpartition('.')[2]}"


def _unsigned(user: Any, *_: Any) -> str:
    header = urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    return f"{header}.{access_token(user).split('.')[1]}."


def _of_the_inactive(user: Any, *_: Any) -> str:
    token = access_token(user)
    user.is_active = False
    user.save()
    return token


def _of_the_deleted(user: Any, *_: Any) -> str:
    token = access_token(user)
    get_user_model().objects.filter(pk=user.pk).delete()
    return token


def _of_an_old_password(user: Any, *_: Any) -> str:
    token = access_token(user)
    user.set_unusable_password()
    user.save()
    return token


def _logged_out(user: Any, server: ServerProcess) -> str:
    refresh = _login(user)
    access = str(refresh.access_token)
    status, _ = server.request("POST", "/api/token/logout/", {"refresh": str(refresh)})
    assert status == 204
    return access


BAD: dict[str, Callable[[Any, ServerProcess], str]] = {
    "garbage": lambda user, server: "garbage",
    "an empty token": lambda user, server: "",
    "three parts that are no JWT": lambda user, server: "eyJhYmM.eyJhYmM.YWJj",
    "a refresh token": lambda user, server: str(_login(user)),
    "an expired token": _expired,
    "a wrong signature": _wrongly_signed,
    "no signature": _unsigned,
    "an inactive user's token": _of_the_inactive,
    "a deleted user's token": _of_the_deleted,
    "the token of an old password": _of_an_old_password,
    "a token after logout": _logged_out,
}
REFUSED = ("unauthenticated", 4401)


@both_clients
@pytest.mark.parametrize("credential", BAD)
def test_a_bad_token_is_refused_in_every_form(
    credential: str, client: str, open_with: OpenWith, server: ServerProcess, rider: Any, chat: int
) -> None:
    token = BAD[credential](rider, server)
    verdicts = {
        name: verdict(open_with, client, **form.of(token, rider, chat))
        for name, form in FORMS.items()
    }
    expected = ("token_expired", 4401) if credential == "an expired token" else REFUSED
    assert verdicts == dict.fromkeys(FORMS, expected)


@both_clients
def test_without_any_credential_a_socket_is_refused(
    client: str, open_with: OpenWith, chat: int
) -> None:
    for path in ("/ws/notifications", "/ws/notifications/", f"/ws/chat/{chat}", "/ws/chat/0/"):
        assert verdict(open_with, client, path) == REFUSED


@both_clients
def test_the_user_id_in_the_path_must_be_the_tokens_own(
    client: str, open_with: OpenWith, rider: Any, driver: Any
) -> None:
    token = access_token(rider)
    own = verdict(open_with, client, f"/ws/notifications/{rider.pk}/{token}")
    assert own == "connected"
    for other in (driver.pk, 0, f"0{rider.pk}", f"-{rider.pk}", "me", "token="):
        assert verdict(open_with, client, f"/ws/notifications/{other}/{token}") == REFUSED


@both_clients
def test_a_logout_ends_that_login_and_no_other(
    client: str, open_with: OpenWith, server: ServerProcess, rider: Any
) -> None:
    other_device = access_token(rider)
    ended = _logged_out(rider, server)
    assert verdict(open_with, client, "/ws/notifications/", bearer(ended)) == REFUSED
    assert verdict(open_with, client, "/ws/notifications/", bearer(other_device)) == "connected"


def test_a_client_on_a_slow_line_has_time_to_answer_the_close(server: ServerProcess) -> None:
    # A server that hangs up before the answer resets the connection, and with it goes what the
    # client has not read: why, and the close code.
    handshake = (
        "GET /ws/notifications/ HTTP/1.1", f"Host: {server.address}", "Connection: Upgrade",
        "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "A" * 22 + "==",
    )  # fmt: skip
    with create_connection(("127.0.0.1", server.port), PATIENCE) as line:
        line.sendall("\r\n".join((*handshake, "", "")).encode())
        said = b""
        close = (4401).to_bytes(2) + b"unauthenticated"
        while not said.endswith(bytes((0x88, len(close))) + close):
            said += (part := line.recv(4096))
            assert part, said
        line.settimeout(1.5)
        with pytest.raises(TimeoutError):
            line.recv(4096)


# Two credentials at once

_RANKS = ("Authorization", "subprotocol", "query", "path", "session")


def _with(origin: str, **credentials: str) -> dict[str, Any]:
    """What to open_with with for these credentials, each in its place."""
    headers, path = {"Origin": origin}, "/ws/notifications/"
    protocols: list[str] = []
    if "path" in credentials:
        path += credentials["path"]
    if "query" in credentials:
        path += f"?token={credentials['query']}"
    if "subprotocol" in credentials:
        protocols = ["jwt", credentials["subprotocol"]]
    if "Authorization" in credentials:
        headers["Authorization"] = f"Bearer {credentials['Authorization']}"
    if "session" in credentials:
        headers["Cookie"] = f"sessionid={credentials['session']}"
    return {"path": path, "headers": headers, "protocols": protocols}


def _session(user: Any) -> str:
    browser = Browser()
    browser.force_login(user)
    return str(browser.cookies["sessionid"].value)


@both_clients
@pytest.mark.parametrize(("higher", "lower"), [*combinations(_RANKS, 2)])
def test_of_two_credentials_the_higher_one_decides_alone(
    higher: str, lower: str, client: str, open_with: OpenWith, server: ServerProcess, rider: Any
) -> None:
    good = {rank: access_token(rider) for rank in _RANKS} | {"session": _session(rider)}
    origin = f"http://{server.address}"
    refused = _with(origin, **{higher: "wrong", lower: good[lower]})
    assert verdict(open_with, client, **refused) == REFUSED
    accepted = _with(origin, **{higher: good[higher], lower: "wrong"})
    assert verdict(open_with, client, **accepted) == "connected"


@both_clients
@pytest.mark.parametrize("rank", _RANKS[1:])
def test_another_authorization_scheme_is_no_credential_of_ours(
    rank: str, client: str, open_with: OpenWith, server: ServerProcess, rider: Any
) -> None:
    good = _session(rider) if rank == "session" else access_token(rider)
    for credential, expected, scheme in (
        (good, "connected", "Basic dXNlcjpwYXNz"),
        (good, "connected", "Bearing"),
        (good, "connected", ""),
        ("wrong", REFUSED, "Basic dXNlcjpwYXNz"),
    ):
        how = _with(f"http://{server.address}", **{rank: credential})
        how["headers"]["Authorization"] = scheme
        assert verdict(open_with, client, **how) == expected


# Where a page may come from

_NO_ORIGIN = ("forbidden", 4403)
ORIGINS: dict[str, tuple[str | None, Verdict, Verdict]] = {
    # name: (Origin, with a session, with a token)
    "none": (None, _NO_ORIGIN, "connected"),
    "own host by http": ("http://{host}", "connected", "connected"),
    "own host by https": ("https://{host}", 403, "connected"),  # the request came by http
    "own host by ws": ("ws://{host}", 403, "connected"),
    "own host by wss": ("wss://{host}", 403, "connected"),
    "own host, another scheme": ("ftp://{host}", 403, 403),
    "own address, another port": ("http://127.0.0.1:1", 403, 403),
    "own host as a prefix": ("http://127.0.0.1.evil.example", 403, 403),
    "own host as a user": ("http://{host}@evil.example", 403, 403),
    "listed": ("https://holodrive.example", "connected", "connected"),
    "listed, in capitals": ("HTTPS://HoloDrive.example", "connected", "connected"),
    "listed, default port": ("https://holodrive.example:443", "connected", "connected"),
    "listed, another scheme": ("http://holodrive.example", 403, 403),
    "listed, another port": ("https://holodrive.example:8443", 403, 403),
    "listed as a prefix": ("https://holodrive.example.evil.example", 403, 403),
    "listed with a path": ("https://holodrive.example/page", 403, 403),
    "foreign": ("https://evil.example", 403, 403),
    "a scheme of its own": ("capacitor://localhost", 403, 403),
    "null": ("null", 403, 403),
}


@both_clients
@pytest.mark.parametrize("origin", ORIGINS)
def test_origin_rule(
    origin: str, client: str, open_with: OpenWith, server: ServerProcess, rider: Any, chat: int
) -> None:
    value, with_session, with_token = ORIGINS[origin]
    headers = {} if value is None else {"Origin": value.format(host=server.address)}
    session = {"Cookie": f"sessionid={_session(rider)}"}
    token = access_token(rider)
    for path in ("/ws/notifications/", f"/ws/chat/{chat}/"):
        assert verdict(open_with, client, path, headers | session) == with_session
        assert verdict(open_with, client, path, headers | bearer(token)) == with_token
        assert verdict(open_with, client, f"{path}{token}", headers | session) == with_token
    if with_token == 403:  # and whoever comes with nothing learns no more
        assert verdict(open_with, client, "/ws/notifications/", headers) == 403


@both_clients
def test_what_is_no_origin_is_refused_before_the_accept(
    client: str, open_with: OpenWith, server: ServerProcess, rider: Any
) -> None:
    for origin in ("holodrive.example", "https://holodrive.example:99999", "http://"):
        status = verdict(open_with, client, **_with(origin, Authorization=access_token(rider)))
        assert status in (400, 403)  # Autobahn sees to some of them, before any application


def test_null_and_schemes_of_their_own_can_be_listed(
    open_with: OpenWith, start_server: Callable[..., ServerProcess], rider: Any
) -> None:
    server = start_server(WEBSOCKET_ALLOWED_ORIGINS="null,capacitor://localhost")
    origins = ("null", "capacitor://localhost", "capacitor://elsewhere")
    verdicts = [
        verdict(open_with, "websockets", to=server, **_with(origin, session=_session(rider)))
        for origin in origins
    ]
    assert verdicts == ["connected", "connected", 403]


@both_clients
def test_a_host_that_is_not_ours_makes_no_origin_its_own(
    client: str, open_with: OpenWith, server: ServerProcess, rider: Any
) -> None:
    # DNS rebinding: a name of the attacker's that points to this address.
    for host, expected in ((server.address, "connected"), ("evil.example", 403)):
        headers = {
            "Host": host,
            "Origin": f"http://{host}",
            "Cookie": f"sessionid={_session(rider)}",
        }
        assert verdict(open_with, client, "/ws/notifications/", headers) == expected


@both_clients
def test_a_session_that_has_ended_is_refused(
    client: str, open_with: OpenWith, server: ServerProcess, rider: Any
) -> None:
    ended, other = Browser(), _session(rider)
    ended.force_login(rider)
    cookie = ended.cookies["sessionid"].value
    ended.logout()
    verdicts = [
        verdict(open_with, client, **_with(f"http://{server.address}", session=session))
        for session in (cookie, "nonsense", other)
    ]
    assert verdicts == [REFUSED, REFUSED, "connected"]


# What is not there


@both_clients
def test_conversations_that_are_not_the_users_are_indistinguishable(
    client: str,
    open_with: OpenWith,
    make_user: Callable[..., Any],
    rider: Any,
    driver: Any,
    chat: int,
) -> None:
    token = access_token(rider)
    foreign = open_trip(rider=driver, driver=make_user()).pk
    headers = bearer(token)
    assert verdict(open_with, client, f"/ws/chat/{chat}/", headers) == "connected"
    ids = (foreign, foreign + 1000, 0, -1, 2**63 - 1, 2**63, 10**30)
    texts = ("abc", "1.0", "+1", "%20", "%00", "%EF%BC%91", "%0A", "1%0A", "'--", "a" * 1000)
    seen = {}
    for id in (*map(str, ids), *texts):
        for path, given in ((f"/ws/chat/{id}/", headers), (f"/ws/chat/{id}/{token}", {})):
            socket = open_with(client, path, given)
            seen[path] = (socket.read(), socket.read())
    text = '{"type":"error","code":"not_found","message":"%s","ref":null}'
    assert set(seen.values()) == {(text % "There is no such conversation.", 4404)}, seen


@both_clients
def test_without_credentials_no_conversation_can_be_told_from_another(
    client: str, open_with: OpenWith, chat: int
) -> None:
    ids = (chat, chat + 1000, "abc", 10**30)
    sockets = [open_with(client, f"/ws/chat/{id}/{token}") for id in ids for token in ("", "wrong")]
    seen = [(socket.read(), socket.read()) for socket in sockets]
    assert {code for _, code in seen} == {4401}
    assert len(set(seen[::2])) == len(set(seen[1::2])) == 1


UNKNOWN = (
    "/ws", "/ws/", "/ws/nothing/", "/ws/nothing/eyJhYmM.eyJhYmM.YWJj", "/ws/notification/",
    "/ws/notificationsx/", "/ws/notifications/1/2/3", "/ws//notifications/", "/ws/chat",
    "/ws/chat/", "/ws/chat/1/2/3", "/ws/%0A", "/wsx",
)  # fmt: skip
OUTSIDE = (
    "/",
    "/elsewhere",
    "/elsewhere/eyJhYmM.eyJhYmM.YWJj",
    "//ws/notifications/",
    "/WS/chat/1/",
)


@both_clients
@pytest.mark.parametrize("paths", [UNKNOWN, OUTSIDE], ids=["under /ws", "outside /ws"])
def test_an_unknown_path_is_said_in_a_frame_and_leaves_no_traceback(
    paths: tuple[str, ...], client: str, open_with: OpenWith, server: ServerProcess, rider: Any
) -> None:
    before = server.log()
    ended = "endpoint=unknown"
    token = bearer(access_token(rider))
    verdicts = {path: verdict(open_with, client, path) for path in paths}
    with_token = {path: verdict(open_with, client, path, token) for path in paths}
    assert verdicts == with_token == dict.fromkeys(paths, ("not_found", 4404))
    expected = before.count(ended) + 2 * len(paths)
    _eventually(lambda: server.log().count(ended) == expected)
    assert "Traceback" not in server.log().removeprefix(before)


def _eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


# What is written


@pytest.mark.parametrize("kind", ["serve", "daphne", "uvicorn"])
def test_no_token_is_in_any_line_of_the_log(
    kind: str,
    start_server: Callable[..., ServerProcess],
    open_with: OpenWith,
    rider: Any,
    chat: int,
) -> None:
    server = start_server(kind)
    forms = FORMS | {
        name: Form(name, {}, [])
        for name in ("/ws/nothing/{token}", "//ws/chat/{chat}/{token}", "/ws/chat/{token}/")
    }
    canaries: dict[str, str] = {}
    for form in forms:
        for state, make in _CANARIES.items():
            if form not in FORMS and state == "garbage":
                continue  # without a form that we know there is nothing to know it by
            canaries[f"WebSocket {form} {state}"] = by_socket = make(rider)
            with suppress(RefusedError):
                how = forms[form].of(by_socket, rider, chat)
                open_with("websockets", to=server, **how).read()
            canaries[f"GET {form} {state}"] = by_http = make(rider)
            how = forms[form].of(by_http, rider, chat)
            server.request("GET", how["path"], headers=how["headers"])
    server.stop()  # what it had not written yet is written now
    log = server.log()
    assert "[redacted]" in log or "/ws/" in log  # it writes about these requests at all
    leaked = [
        name for name, token in canaries.items() if any(part in log for part in _secrets(token))
    ]
    assert leaked == []


_CANARIES: dict[str, Callable[[Any], str]] = {
    "valid": access_token,
    "expired": _expired,
    "garbage": lambda user: f"canary{uuid.uuid4().hex}",
}


def _secrets(token: str) -> list[str]:
    """What must not be seen of it: of a JWT its content and its signature, each alone."""
    return token.split(".")[1:] or [token]
