"""Lifts the credential out of an ASGI scope before anything that might log the path or query sees
it.

Also the rule of which Origin may come with which credential. Pure functions of the scope; no I/O.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from rest_framework_simplejwt.settings import api_settings

Scope = MutableMapping[str, Any]
ASGIApp = Callable[..., Awaitable[None]]
Kind = Literal["token", "ticket"]

_ENDPOINT = re.compile(r"/ws/(?:notifications|chat/[^/]+)(?=/|$)")
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_SECRET_PARAMETERS: tuple[Kind, ...] = ("ticket", "token")  # the first that is there counts
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# As browsers write it (RFC 6454, 6.2), for urlsplit takes the host of https://evil[::1] for ::1.
_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[^\x00-\x20/?#@:\\\[\]\x7f-\xff]+)(?::[0-9]*)?",
    re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


@dataclass(frozen=True, slots=True)
class Credential:
    """A token, or a ticket, as the client gave it. `user_id` is what it claims in
    `/ws/notifications/<user_id>/<token>`.
    """

    token: str
    user_id: str | None = None
    kind: Kind = "token"

    def __repr__(self) -> str:
        return "<Credential>"  # never its token


class LiftCredentials:
    """The outermost ASGI wrapper: puts a `Credential` (or None) in `scope["credential"]`, and takes
    it out of the path and query, of WebSocket and of plain HTTP requests alike.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        # Only under our own prefix: elsewhere a `token` is somebody else's.
        if scope["type"] in ("websocket", "http") and scope["path"].startswith("/ws/"):
            scope = lift(scope)
        await self._app(scope, receive, send)


def lift(scope: Scope) -> Scope:
    """A scope without credentials in its path and query; the first that was given is in
    `credential`.

    Order: Authorization: Bearer (SIMPLE_JWT may say otherwise), Sec-WebSocket-Protocol: jwt,
    ?ticket=, ?token=, the path.
    """
    path, in_path = _split_path(scope["path"])
    query, in_query = _split_query(scope.get("query_string", b""))
    candidates = (_authorization(scope), _subprotocol(scope), in_query, in_path)
    credential = next((found for found in candidates if found is not None), None)
    # The headers in a list of our own: the consumer empties it (consumer.py).
    headers = [*scope.get("headers", ())]
    lifted = {**scope, "credential": credential, "headers": headers}
    if path != scope["path"]:
        lifted |= {"path": path, "raw_path": path.encode()}
    return lifted | {"query_string": query}


def _split_path(path: str) -> tuple[str, Credential | None]:
    endpoint = _ENDPOINT.match(path)
    if endpoint is None:
        return _JWT.sub("[redacted]", path), None
    *before, token = path[endpoint.end() :].strip("/").split("/")
    clean = f"{endpoint[0]}/"
    if not token and not before:
        return clean, None
    is_notifications = endpoint[0] == "/ws/notifications"
    if len(before) > is_notifications:
        return f"{clean}[redacted]/", None  # no form that we know
    user_id = before[0] if before else None
    return clean, Credential(token.removeprefix("token="), user_id)


def _split_query(query: bytes) -> tuple[bytes, Credential | None]:
    pairs = parse_qsl(query.decode("latin1"), keep_blank_values=True)
    given = dict(reversed(pairs))  # of a parameter that is there twice the first
    kind = next((name for name in _SECRET_PARAMETERS if name in given), None)
    if kind is None:
        return query, None
    kept = [(name, value) for name, value in pairs if name not in _SECRET_PARAMETERS]
    return urlencode(kept).encode(), Credential(given[kind], kind=kind)


def header(scope: Scope, name: bytes) -> str | None:
    value = next((value for key, value in scope.get("headers", ()) if key.lower() == name), None)
    return value.decode("latin1") if value is not None else None


def token_in(value: bytes) -> str | None:
    """The token that a header's value brings, by the types that REST takes. None if it is no
    credential of ours: a staging proxy's `Basic` is not. Types are compared without regard to case
    (RFC 9110, 11.1).
    """
    scheme, _, token = b" ".join(value.split(maxsplit=1)).decode("latin1").partition(" ")
    types = api_settings.AUTH_HEADER_TYPES
    known = [types] if isinstance(types, str) else types
    return token.strip() if scheme.lower() in (one.lower() for one in known) else None


def _authorization(scope: Scope) -> Credential | None:
    """REST's own header: `Authorization`, unless SIMPLE_JWT names another."""
    name = api_settings.AUTH_HEADER_NAME.removeprefix("HTTP_").replace("_", "-").lower()
    value = header(scope, name.encode())
    token = token_in(value.encode("latin1")) if value is not None else None
    return Credential(token) if token is not None else None


def _subprotocol(scope: Scope) -> Credential | None:
    """The offer after `jwt`, wherever that stands: a library may put offers of its own first."""
    offers = _offers(scope)
    if "jwt" not in offers:
        return None
    return Credential(next(iter(offers[offers.index("jwt") + 1 :]), ""))


def answered_subprotocol(scope: Scope) -> str | None:
    """`jwt` alone, on refusals too: Chrome fails a handshake that does not answer one of its
    offers.
    """
    return "jwt" if "jwt" in _offers(scope) else None


def _offers(scope: Scope) -> list[str]:
    """Return the subprotocols that a client offers, in one line of the header or several (RFC 6455,
    11.3.4). Daphne's list is percent-decoded: autobahn gives no answer at all to a handshake for
    which one of those is chosen.
    """
    name = b"sec-websocket-protocol"
    lines = [value for key, value in scope.get("headers", ()) if key.lower() == name]
    if not lines:
        return [*scope.get("subprotocols", ())]
    offers = [offer.strip() for offer in b",".join(lines).decode("latin1").split(",")]
    return [offer for offer in offers if offer]  # an empty one is none (RFC 9110, 5.6.1)


class OriginRule(Enum):
    """What the Origin header means for a handshake."""

    ALLOWED = "allowed"
    MISSING = "missing"
    FOREIGN = "foreign"


def judge_origin(scope: Scope, *, has_token: bool) -> OriginRule:
    """A browser always sends Origin, so with a session cookie it must be there and be ours: else
    any page could open a socket as its visitor. Apps with a token may leave it out; a foreign one
    is refused in any case.
    """
    origin = header(scope, b"origin")
    if origin is None:
        return OriginRule.ALLOWED if has_token else OriginRule.MISSING
    if is_listed(origin) or _is_own_host(scope, origin, has_token=has_token):
        return OriginRule.ALLOWED
    return OriginRule.FOREIGN


def is_listed(origin: str) -> bool:
    """Return whether WEBSOCKET_ALLOWED_ORIGINS has it, for sockets and for REST (cors.py)."""
    allowed = settings.WEBSOCKET_ALLOWED_ORIGINS
    if origin in allowed:  # also `null` and schemes of their own: capacitor://localhost
        return True
    parts = _origin_parts(origin)
    if parts is None:
        return False
    if settings.DEBUG and parts[0] in ("http", "https") and parts[1] in _LOOPBACK:
        return True
    return any(parts == _origin_parts(known) for known in allowed)


def _is_own_host(scope: Scope, origin: str, *, has_token: bool) -> bool:
    """The page came from this very host and port, and by the same scheme: who can answer for it
    under http in somebody's network is not the site that speaks https. React Native and Starscream
    make an Origin of the host, too, under any scheme; but they have no session.
    """
    host = header(scope, b"host") or ""
    domain, _ = split_domain_port(host)
    allowed_hosts = settings.ALLOWED_HOSTS or (
        [".localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else []
    )
    if not domain or not validate_host(domain, allowed_hosts):
        return False
    schemes = ("http", "https", "ws", "wss") if has_token else (_scheme(scope),)
    parts = _origin_parts(origin)
    return parts is not None and any(
        parts == _origin_parts(f"{scheme}://{host}") for scheme in schemes
    )


def _scheme(scope: Scope) -> str:
    """Of the request, as Django has it (`HttpRequest.scheme`): a proxy's header counts only where
    SECURE_PROXY_SSL_HEADER names it.
    """
    if settings.SECURE_PROXY_SSL_HEADER:
        name, secure = settings.SECURE_PROXY_SSL_HEADER
        said = header(scope, name.removeprefix("HTTP_").replace("_", "-").lower().encode())
        if said is not None:
            return "https" if said.partition(",")[0].strip() == secure else "http"
    return "https" if scope.get("scheme") in ("wss", "https") else "http"


def _origin_parts(origin: str) -> tuple[str, str, int | None] | None:
    """Scheme, host, port of an origin; None if it is not one."""
    if not _ORIGIN.fullmatch(origin):
        return None
    try:
        parts = urlsplit(origin)
        port = _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port
