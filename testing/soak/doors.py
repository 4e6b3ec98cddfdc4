"""Who is let in: every Origin with every cookie and every token, in every form, as designed.

The tables are written from the design's words, and share no line with the code that they judge.
"""

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client as Browser
from django.test import override_settings
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from holodrive.realtime import hub, tickets
from holodrive.realtime.models import Ticket
from holodrive.realtime.tokens import ObtainSerializer
from testing.client import Socket, access_token
from testing.foreign import PythonSocket, RefusedError
from testing.patience import PATIENCE
from testing.server import ServerProcess
from testing.soak import NO_LIMITS, Progress, Verdict
from testing.soak.people import conversation_of, person

LISTED = "https://holodrive.example"

Outcome = str | int | tuple[str, int]  # "connected", an HTTP status, or an error's code and a close
CONNECTED: Outcome = "connected"
FOREIGN: Outcome = 403
REFUSED: Outcome = ("unauthenticated", 4401)
EXPIRED: Outcome = ("token_expired", 4401)
NO_ORIGIN: Outcome = ("forbidden", 4403)


class Origin(NamedTuple):
    """A header's value; whether it may come with a token, and whether without one."""

    value: str | None
    with_token: bool
    without: bool


# "With a token, Origin may be absent, allowed, or the request's own Host under http, https, ws or
# wss. A session needs an Origin that matches scheme, host and port of an allowed one
# (WEBSOCKET_ALLOWED_ORIGINS, and the request's own scheme and Host; with DEBUG also localhost,
# 127.0.0.1 and [::1] on any port). Any other Origin: 403." The requests here come by http.
_ORIGINS = {
    "own host, http": Origin("http://{host}", True, True),
    "own host, https": Origin("https://{host}", True, False),
    "own host, ws": Origin("ws://{host}", True, False),
    "own host, wss": Origin("wss://{host}", True, False),
    "own host, capitals": Origin("HTTP://{HOST}", True, True),
    "own host, another scheme": Origin("ftp://{host}", False, False),
    "own host, another port": Origin("http://{name}:4444", False, False),
    "own host as a prefix": Origin("http://{name}.evil.example", False, False),
    "own host as a suffix": Origin("http://evil{name}", False, False),
    "own host as a user": Origin("http://{host}@evil.example", False, False),
    "own host with a dot": Origin("http://{name}./", False, False),
    "own host with a path": Origin("http://{host}/", False, False),
    "own host with a query": Origin("http://{host}?x", False, False),
    "listed": Origin(LISTED, True, True),
    "listed, capitals": Origin("HTTPS://HoloDrive.Example", True, True),
    "listed, its default port": Origin("https://holodrive.example:443", True, True),
    "listed, another scheme": Origin("http://holodrive.example", False, False),
    "listed, wss": Origin("wss://holodrive.example", False, False),
    "listed, another port": Origin("https://holodrive.example:8443", False, False),
    "listed as a prefix": Origin("https://holodrive.example.evil.example", False, False),
    "listed as a suffix": Origin("https://evilholodrive.example", False, False),
    "listed, a subdomain": Origin("https://evil.holodrive.example", False, False),
    "listed with a path": Origin("https://holodrive.example/page", False, False),
    "listed twice": Origin(f"{LISTED} {LISTED}", False, False),
    "foreign": Origin("https://evil.example", False, False),
    "null": Origin("null", False, False),
    "empty": Origin("", False, False),
    "a file": Origin("file://", False, False),
    "an extension": Origin("chrome-extension://abcdefghijklmnop", False, False),
    "no origin at all": Origin("holodrive.example", False, False),
    "a port that is none": Origin("http://{name}:99999", False, False),
}
_LOOPBACK = (
    "http://localhost:4444",
    "https://localhost",
    "http://127.0.0.1:1",
    "http://[::1]:8000",
)
_LIKE_LOOPBACK = (
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.2",
)


def origins(*, debug: bool) -> dict[str, Origin]:
    with_debug = {value: Origin(value, debug, debug) for value in _LOOPBACK}
    never = {value: Origin(value, False, False) for value in _LIKE_LOOPBACK}
    return {"absent": Origin(None, True, True), **_ORIGINS, **with_debug, **never}


# A session that is good, or is not: which of those it is nobody is told.
COOKIES: dict[str, Outcome] = {
    "good": CONNECTED,
    "garbage": REFUSED,
    "logged out": REFUSED,
    "expired": REFUSED,
    "of a deactivated user": REFUSED,
    "of a changed password": REFUSED,
}
TOKENS: dict[str, Outcome] = {
    "good": CONNECTED,
    "empty": REFUSED,
    "garbage": REFUSED,
    "signed by another": REFUSED,
    "unsigned": REFUSED,
    "expired": EXPIRED,
    "a refresh token": REFUSED,
    "of a deactivated user": REFUSED,
    "of a deleted user": REFUSED,
    "of a login that was ended": REFUSED,
}
TICKETS: dict[str, Outcome] = {
    "good": CONNECTED,
    "empty": REFUSED,
    "garbage": REFUSED,
    "used": REFUSED,
    "too old": REFUSED,
    "an access token": REFUSED,
    "of a deactivated user": REFUSED,
    "of a login that was ended": REFUSED,
}
# Where a token can stand: the path behind the endpoint, headers, subprotocols.
FORMS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "header": ("/", {"Authorization": "Bearer {token}"}, []),
    "subprotocol": ("/", {}, ["jwt", "{token}"]),
    "query": ("/?token={token}", {}, []),
    "path": ("/{token}", {}, []),
    "path with token=": ("/token={token}", {}, []),
    "path with user id": ("/{user}/{token}", {}, []),
    "path with another's id": ("/{other}/{token}", {}, []),
    "path with an id that is none": ("/x/{token}", {}, []),
}
_ONLY_NOTIFICATIONS = (
    "path with user id",
    "path with another's id",
    "path with an id that is none",
)


def expected(origin: Origin, cookie: str | None, token: Outcome | None) -> Outcome:
    """The rule. `token` is what becomes of the token alone; None: there is none."""
    allowed = origin.with_token if token is not None else origin.without
    if not allowed:
        return FOREIGN
    if token is not None:
        return token  # good or not: it never falls through to the cookie
    if cookie is None:
        return REFUSED
    return COOKIES[cookie] if origin.value is not None else NO_ORIGIN


class Case(NamedTuple):
    """One handshake. `form` is one of FORMS, or "ticket", or None without any token."""

    endpoint: str
    origin: str
    cookie: str | None
    form: str | None
    state: str
    debug: bool

    def expected(self) -> Outcome:
        origin = origins(debug=self.debug)[self.origin]
        if self.form is None:
            return expected(origin, self.cookie, None)
        token = (TICKETS if self.form == "ticket" else TOKENS)[self.state]
        if self.form in ("path with another's id", "path with an id that is none"):
            token = token if token == EXPIRED else REFUSED
        return expected(origin, self.cookie, token)


def cases() -> Iterator[Case]:
    """Every combination."""
    for debug in (False, True):
        for origin, cookie in itertools.product(origins(debug=debug), (None, *COOKIES)):
            for endpoint in ("chat", "notifications"):
                yield Case(endpoint, origin, cookie, None, "", debug)
                for state in TICKETS:
                    yield Case(endpoint, origin, cookie, "ticket", state, debug)
                for form, state in itertools.product(FORMS, TOKENS):
                    if endpoint == "chat" and form in _ONLY_NOTIFICATIONS:
                        continue
                    if state == "empty" and form.startswith("path"):
                        continue  # an empty path is no form of a token
                    yield Case(endpoint, origin, cookie, form, state, debug)


class Scale(NamedTuple):
    cases: int | None = None  # of all; the rest is left out by chance
    through_a_server: int = 1_000  # again


FULL, SHORT = Scale(), Scale(cases=600, through_a_server=60)


def prove(scale: Scale, seed: int, progress: Progress) -> Verdict:
    chance = random.Random(seed)  # noqa: S311
    every = list(cases())
    chosen = every if scale.cases is None else chance.sample(every, scale.cases)
    world = _World()
    found: list[str] = []
    checked = 0
    with asyncio.Runner() as runner:
        for debug in (False, True):
            part = [case for case in chosen if case.debug is debug]
            with override_settings(DEBUG=debug, **dict.fromkeys(NO_LIMITS, 0)):
                for case in part:
                    outcome = runner.run(_in_process(world, case))
                    checked += 1
                    found += wrong(case, outcome)
                    if checked % 500 == 0:
                        progress(f"{checked} of {len(chosen)} handshakes, {len(found)} wrong")
        runner.run(_close())
    again = chance.sample([case for case in every if not case.debug], scale.through_a_server)
    server = ServerProcess(**NO_LIMITS)
    try:
        for case in again:
            found += wrong(case, _through(server, world, case))
    finally:
        server.discard()
    return Verdict(
        checked=checked + len(again),
        wanted=len(chosen) + scale.through_a_server,
        faults={"wrong": len(found)},
        where=f"{connection.vendor}, {len(again)} through a server process",
        details=found,
    )


def wrong(case: Case, outcome: Outcome) -> list[str]:
    """What to say when it is not the one expected."""
    right = case.expected()
    # A server may refuse what is no origin at all before any application sees it.
    if right == FOREIGN and outcome == 400:
        return []
    return [] if outcome == right else [f"{case}: {outcome}, not {right}"]


class _World:
    """The users, sessions and tokens that handshakes are made of."""

    def __init__(self) -> None:
        self.user, self.other, self.off = person(), person(), person()
        self.chat = conversation_of(self.user, self.other, self.off).pk
        self.cookies = {"garbage": "garbage", "good": _session(self.user)}
        self.cookies["expired"] = _session(self.user)
        # A fixed length would be renewed; what Django keeps is the row's date.
        Session.objects.filter(pk=self.cookies["expired"]).update(
            expire_date=timezone.now() - timedelta(seconds=1)
        )
        self.cookies["of a deactivated user"] = _session(self.off)
        changed = person()
        conversation_of(changed)
        self.cookies["of a changed password"] = _session(changed)
        changed.set_password("another")
        changed.save()
        left = Browser()
        left.force_login(self.user)
        self.cookies["logged out"] = left.cookies["sessionid"].value
        left.logout()
        self.tokens = self._tokens()
        self._off_ticket = self._off_claims()
        self.off.is_active = False
        self.off.save()

    def _tokens(self) -> dict[str, str]:
        good = AccessToken(access_token(self.user))  # type: ignore[arg-type]
        expired = AccessToken(access_token(self.user))  # type: ignore[arg-type]
        expired.set_exp(from_time=timezone.now(), lifetime=-timedelta(seconds=1))
        head, body, signature = str(good).split(".")
        gone = person()
        of_gone = access_token(gone)
        gone.delete()
        ended = ObtainSerializer.get_token(self.user)
        _log_out(ended)
        return {
            "good": str(good),
            "empty": "",
            "garbage": "garbage",
            "signed by another": f"{head}.{body}.{signature[::-1]}",
            # {"alg":"none","typ":"JWT"}
            "unsigned": f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.",
            "expired": str(expired),
            "a refresh token": str(ObtainSerializer.get_token(self.user)),
            "of a deactivated user": access_token(self.off),
            "of a deleted user": of_gone,
            "of a login that was ended": str(ended.access_token),  # type: ignore[attr-defined]
        }

    def _off_claims(self) -> dict[str, Any]:
        return dict(AccessToken(access_token(self.off)).payload)  # type: ignore[arg-type]

    def ticket(self, state: str) -> str:
        """A ticket is used once: each handshake has its own."""
        by_state: dict[str, Callable[[], str]] = {
            "empty": str,
            "garbage": lambda: "garbage",
            "an access token": lambda: self.tokens["good"],
            "of a deactivated user": lambda: tickets.issue(user=self.off, claims=self._off_ticket),
            "of a login that was ended": lambda: self._issue("of a login that was ended"),
        }
        if state in by_state:
            return by_state[state]()
        ticket = self._issue("good")
        if state == "used":
            tickets.redeem(ticket)
        if state == "too old":
            Ticket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        return ticket

    def _issue(self, token: str) -> str:
        claims = AccessToken(self.tokens[token]).payload  # type: ignore[arg-type]
        return tickets.issue(user=self.user, claims=dict(claims))

    def handshake(self, case: Case, host: str) -> tuple[str, dict[str, str], list[str]]:
        """Path, headers, subprotocols."""
        endpoint = f"/ws/chat/{self.chat}" if case.endpoint == "chat" else "/ws/notifications"
        path, headers, protocols = "/", {"Host": host}, list[str]()
        if case.form == "ticket":
            path = f"/?ticket={self.ticket(case.state)}"
        elif case.form is not None:
            path, more, protocols = FORMS[case.form]
            token = self.tokens[case.state]
            path = path.format(token=token, user=self.user.pk, other=self.other.pk)
            headers |= {name: value.format(token=token) for name, value in more.items()}
            protocols = [text.format(token=token) for text in protocols if token or text == "jwt"]
        origin = origins(debug=case.debug)[case.origin].value
        if origin is not None:
            name = host.partition(":")[0]
            headers["Origin"] = origin.format(host=host, HOST=host.upper(), name=name)
        if case.cookie is not None:
            headers["Cookie"] = f"theme=dark; sessionid={self.cookies[case.cookie]}; x={{}}"
        return endpoint + path, headers, protocols


def _session(user: Any) -> str:
    browser = Browser()
    browser.force_login(user)
    return str(browser.cookies["sessionid"].value)


def _log_out(refresh: Any) -> None:
    answer = Browser().post(
        "/api/token/logout/", {"refresh": str(refresh)}, content_type="application/json"
    )
    assert answer.status_code < 300, answer.content


async def _in_process(world: _World, case: Case) -> Outcome:
    path, headers, protocols = await sync_to_async(world.handshake)(case, "testserver")
    socket = await Socket(path, headers, protocols).open()
    if socket.accepted is None:
        await socket.leave()
        return int(socket.close_code or 0)
    said: str = ""
    async with asyncio.timeout(PATIENCE):
        while (message := await socket.from_app.get())["type"] != "websocket.close":
            frame = json.loads(message["text"])
            if frame["type"] == "connection_established":
                await socket.leave()
                return CONNECTED
            said = frame["code"]
    await socket.leave()
    return said, int(message["code"])


async def _close() -> None:
    await hub.here().close()


def _through(server: ServerProcess, world: _World, case: Case) -> Outcome:
    try:
        socket = PythonSocket(server.address, *world.handshake(case, server.address))
    except RefusedError as refusal:
        return int(refusal.status)
    try:
        first = socket.read()
        assert isinstance(first, str), f"closed with {first} and no word"
        frame = json.loads(first)
        if frame["type"] == "connection_established":
            return CONNECTED
        code = socket.read()
        assert isinstance(code, int), f"a frame behind the error: {code}"
        return str(frame["code"]), code
    finally:
        socket.close()
