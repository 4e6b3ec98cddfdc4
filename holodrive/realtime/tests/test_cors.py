"""CORS: pages of other sites, and apps in a WebView, may log in if they may open a socket."""

from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from holodrive.realtime import answers
from holodrive.realtime.credentials import OriginRule, judge_origin
from testing.browser import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.django_db

LISTED = ["https://app.example.com:443", "http://localhost", "capacitor://localhost", "null"]
# An Origin as it is sent, and whether a page of it is let in.
ORIGINS = {
    "https://app.example.com": True,
    "https://app.example.com:443": True,
    "HTTPS://APP.EXAMPLE.COM": True,
    "http://localhost": True,
    "http://localhost:80": True,
    "capacitor://localhost": True,
    "null": True,
    "http://app.example.com": False,
    "https://app.example.com:8443": False,
    "https://app.example.com.evil.example": False,
    "https://app.example.com/": False,
    "https://evil.example": False,
    "http://localhost:3000": False,
    "https://localhost": False,
    "ionic://localhost": False,
    "capacitor://localhost:1": False,
    "NULL": False,
    "*": False,
    "": False,
}
PATHS = {
    "/api/token/": "POST",
    "/api/token/refresh/": "POST",
    "/api/token/logout/": "POST",
    "/api/me/": "GET",
    "/api/conversations/": "GET",
    "/api/conversations/1/messages/": "POST",
    "/api/conversations/1/messages/1/": "PATCH",
    "/api/realtime/ticket/": "POST",
    "/api/notifications/read-all/": "POST",
    "/api/devices/1/": "DELETE",
    "/api/nowhere": "GET",
}
SEEN = "Access-Control-Allow-Origin"


@pytest.fixture
def listed(settings: Any) -> Any:
    settings.WEBSOCKET_ALLOWED_ORIGINS = LISTED
    return settings


def asks(origin: str, method: str) -> dict[str, str]:
    """The headers of a browser's preflight."""
    wanted = "authorization, content-type, x-holodrive-user"
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": wanted}
    return {"Origin": origin, **asked}


@pytest.mark.parametrize(("origin", "is_allowed"), ORIGINS.items())
def test_a_page_may_call_rest_if_it_may_open_a_socket(
    listed: Any, client: Client, origin: str, is_allowed: bool
) -> None:
    answer = client.get("/api/me/", headers={"Origin": origin})
    assert answer.headers.get(SEEN) == (origin if is_allowed else None)
    assert "origin" in answer.headers["Vary"].lower()
    headers = [(b"host", b"rides.example.com"), (b"origin", origin.encode())]
    scope = {"type": "websocket", "path": "/ws/notifications/", "headers": headers}
    rule = judge_origin(scope, has_token=True)
    assert (rule is OriginRule.ALLOWED) == is_allowed


@pytest.mark.parametrize("debug", [True, False])
def test_pages_of_this_machine_are_let_in_with_debug_by_both(
    settings: Any, client: Client, debug: bool
) -> None:
    settings.DEBUG = debug
    answer = client.get("/api/me/", headers={"Origin": "http://localhost:5173"})
    assert answer.headers.get(SEEN) == ("http://localhost:5173" if debug else None)


@pytest.mark.parametrize(("path", "method"), PATHS.items())
def test_a_preflight_is_answered_ahead_of_everything(
    listed: Any, client: Client, path: str, method: str
) -> None:
    listed.SECURE_SSL_REDIRECT = True
    listed.REALTIME_REQUESTS_PER_SECOND = 1
    for _ in range(20):
        answer = client.options(path, headers=asks("capacitor://localhost", method))
        assert answer.status_code == 200
    assert answer.headers[SEEN] == "capacitor://localhost"
    assert method in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"authorization", "content-type", "x-holodrive-user"} <= {*allowed}
    assert int(answer.headers["Access-Control-Max-Age"]) >= 600
    foreign = client.options(path, headers=asks("https://evil.example", method))
    assert SEEN not in foreign.headers


def test_no_cookie_of_this_site_counts_across_sites(listed: Any, client: Client) -> None:
    for origin in ORIGINS:
        answer = client.options("/api/me/", headers=asks(origin, "GET"))
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/admin/login/", "/", "/healthz", "/static/none.js", "/apis/"])
def test_nothing_but_rest_is_for_other_sites(listed: Any, client: Client, path: str) -> None:
    answer = client.get(path, headers={"Origin": "https://app.example.com"})
    assert SEEN not in answer.headers


def test_every_refusal_can_be_read(listed: Any, make_user: Any, client: Client) -> None:
    """By its status, its code and when to try again; without the header it is a network error."""
    listed.REALTIME_REQUESTS_PER_SECOND = 1
    make_user("rider", username="malika", password="a good password 1")
    client.raise_request_exception = False
    wrong = {"username": "malika", "password": "no"}
    found = {}
    for path, body, headers in (
        ("/api/token/", wrong, {}),
        ("/api/token/", {"username": "malika", "password": "a good password 1"}, {}),
        ("/api/realtime/ticket/", {}, {}),
        ("/api/realtime/ticket/", {}, {"Authorization": "Bearer x"}),
        ("/api/nowhere/", {}, {}),
        ("/api/me/", {}, {}),
        ("/api/me/", {}, {"Host": "evil.example"}),
        *[("/api/token/", wrong, {})] * 4,
    ):
        headers = {"Origin": "null", **headers}
        answer = client.post(
            path, body, "application/json", headers=headers, REMOTE_ADDR="203.0.113.99"
        )
        assert answer.headers[SEEN] == "null"
        assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
        found[answer.status_code] = answer
    assert {200, 400, 401, 404, 429} <= {*found}
    assert int(found[429].headers["Retry-After"]) > 0


@pytest.mark.parametrize("status", answers.TEXTS)
def test_what_is_refused_ahead_of_django_can_be_read_too(listed: Any, status: int) -> None:
    for path, origin, is_seen in (
        ("/api/token/", "capacitor://localhost", True),
        ("/api/token/", "https://evil.example", False),
        ("/api/token/", None, False),
        ("/admin/login/", "capacitor://localhost", False),
    ):
        headers = dict(answers.headers_and_body(path, status, origin=origin)[0])
        assert (b"access-control-allow-origin" in headers) == is_seen
        assert headers[b"content-length"] != b"0"
    app = "capacitor://localhost"
    known, _ = answers.headers_and_body("/api/token/", status, origin=app)
    assert (b"access-control-allow-origin", app.encode()) in known
    assert (b"access-control-expose-headers", b"Retry-After") in known
    listed.MIDDLEWARE = []  # of a project that wants none of it
    plain, _ = answers.headers_and_body("/api/token/", status, origin=app)
    assert [name for name, _ in plain if name.startswith(b"access-control")] == []


# A page of another site, in a browser. Both kinds of tests name the origin that the servers of
# tests list (testing/services.py).

SITE = "https://holodrive.example"
TALK = """async ([host, username, password]) => {
    const seen = {};
    async function ask(method, path, body, token) {
        const headers = {"Content-Type": "application/json"};
        if (token) headers.Authorization = `Bearer ${token}`;
        const url = `http://${host}/api/${path}`;
        const sent = {method, headers, body: body && JSON.stringify(body)};
        const response = await fetch(url, sent);
        seen[`${method} ${path}`] = response.status;
        return response.json();
    }
    try {
        await ask("POST", "token/", {username, password: "wrong"});
        const first = await ask("POST", "token/", {username, password});
        const {access} = await ask("POST", "token/refresh/", {refresh: first.refresh});
        await ask("GET", "me/", undefined, access);
        await ask("GET", "conversations/", undefined, access);
        const {ticket} = await ask("POST", "realtime/ticket/", {}, access);
        const ways = [["jwt", "", ["jwt", access]], ["ticket", `?ticket=${ticket}`, []]];
        for (const [name, query, protocols] of ways) {
            const socket = new WebSocket(`ws://${host}/ws/notifications/${query}`, protocols);
            seen[name] = await new Promise((tell) => {
                socket.onmessage = ({data}) => tell(JSON.parse(data).type);
                socket.onclose = ({code}) => tell(code);
            });
            socket.close();
        }
    } catch (problem) {
        seen.problem = problem.name;
    }
    return seen;
}"""


def page_of(chromium: "Browser", origin: str) -> "Page":
    context = chromium.new_context()
    # A page that a route answers comes from nowhere, and so may not dial 127.0.0.1.
    context.grant_permissions(["local-network-access"], origin=origin)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    empty = {"content_type": "text/html", "body": "<title>Another site</title>"}
    page.route(f"{origin}/**", lambda route: route.fulfill(**empty))
    page.goto(f"{origin}/")
    return page


@pytest.mark.django_db(transaction=True)
def test_a_page_of_another_site_logs_in_and_opens_a_socket(
    server: Any, chromium: "Browser", make_user: Any
) -> None:
    make_user("rider", username="malika", password="a good password 1")
    account = [server.address, "malika", "a good password 1"]
    assert page_of(chromium, SITE).evaluate(TALK, account) == {
        "POST token/": 200,
        "POST token/refresh/": 200,
        "GET me/": 200,
        "GET conversations/": 200,
        "POST realtime/ticket/": 201,
        "jwt": "connection_established",
        "ticket": "connection_established",
    }
    foreign = page_of(chromium, "https://evil.example").evaluate(TALK, account)
    assert foreign == {"problem": "TypeError"}
