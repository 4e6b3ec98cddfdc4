"""No credential reaches a log: canaries in every form, by socket and by HTTP, to every server.

A canary is a credential that is sent once and then looked for in all that its server has written.
"""

import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import unquote

from django.db import connection
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from holodrive.realtime import tickets
from testing.client import access_token
from testing.patience import PATIENCE
from testing.server import ServerProcess
from testing.soak import NO_LIMITS, Progress, Verdict
from testing.soak.people import conversation_of, person

SERVERS = ("serve", "daphne", "uvicorn")
# Where any text is a credential
_PATHS = (
    "/ws/notifications/{token}", "/ws/notifications/{token}/", "/ws/notifications/token={token}",
    "/ws/notifications/token%3D{token}", "/ws/notifications/{user}/{token}",
    "/ws/notifications/{user}/{token}/", "/ws/notifications/1/2/{token}",
    "/ws/notifications?token={token}", "/ws/notifications/?token={token}",
    "/ws/notifications/?x=1&token={token}&last_seq=0", "/ws/notifications/?ticket={token}",
    "/ws/notifications/?token=x&token={token}", "/ws/notifications/{token}?token={token}",
    "/ws/chat/{chat}/{token}", "/ws/chat/{chat}/{token}/", "/ws/chat/{chat}/token={token}",
    "/ws/chat/{chat}/?token={token}", "/ws/chat/{chat}?ticket={token}", "/ws/chat/x/{token}",
    "/ws/chat/{chat}/1/{token}", "/ws/nothing/?token={token}",
)  # fmt: skip
# Where it is known by its looks
_STRANGE_PATHS = (
    "/{token}", "/ws/{token}", "/ws/nothing/{token}", "/ws/notification/{token}",
    "/ws/chat/{token}", "/ws/chat/{token}/", "//ws/chat/{chat}/{token}",
    "/WS/notifications/{token}",
    "/ws/notifications{token}", "/ws//notifications/{token}", "/x/../ws/notifications/{token}",
    "/api/notifications/{token}", "/api/notifications/?access_token={token}",
    "/admin/?next={token}",
    "/ws/notifications/?access_token={token}", "/ws/notifications/?jwt={token}", "/wsx/{token}",
)  # fmt: skip
_HEADERS = (
    "Authorization: Bearer {token}", "Authorization: bearer  {token}", "Authorization: {token}",
    "Sec-WebSocket-Protocol: jwt, {token}", "Sec-WebSocket-Protocol: {token}, jwt",
    "Cookie: sessionid={token}", "Referer: http://127.0.0.1/ws/notifications/{token}",
)  # fmt: skip
_UPGRADE = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Origin: http://{host}",
)  # fmt: skip
_SILENCE = 0.5  # seconds


class Canary(NamedTuple):
    """One request, and what must not be seen of it."""

    name: str
    target: str
    header: str | None
    secrets: tuple[str, ...]


class Scale(NamedTuple):
    servers: tuple[str, ...] = SERVERS


FULL, SHORT = Scale(), Scale(servers=("serve",))


def prove(scale: Scale, seed: int, progress: Progress) -> Verdict:
    user = person()
    chat = conversation_of(user).pk
    checked = wanted = 0
    found: list[str] = []
    for kind in scale.servers:
        server = ServerProcess(kind, LOG_LEVEL="DEBUG", **NO_LIMITS)
        try:
            canaries = list(_canaries(user, chat))
            wanted += 2 * len(canaries)
            for upgrade in (True, False):
                for canary in canaries:
                    checked += _send(server, canary, upgrade=upgrade)
            server.stop()  # what it had not written yet is written now
            found += [f"{kind}: {name}" for name in leaked(canaries, server.log())]
            progress(f"{kind}: {len(canaries)} canaries, {len(found)} found")
        finally:
            server.discard()
    return Verdict(
        checked=checked,
        wanted=wanted,
        faults={"found": len(found)},
        where=f"{connection.vendor}, {', '.join(scale.servers)}",
        details=found,
    )


def _canaries(user: Any, chat: int) -> Iterator[Canary]:
    """Each with a credential of its own: what is found says how it came there."""
    for state, make in _CREDENTIALS.items():
        for target in (*_PATHS, *(_STRANGE_PATHS if state in _KNOWN_BY_LOOKS else ())):
            token = make(user)
            path = target.format(token=token, user=user.pk, chat=chat)
            yield Canary(f"{target} with {state}", path, None, _secrets(token))
        for header in _HEADERS:
            token = make(user)
            value = header.format(token=token)
            yield Canary(f"{header} with {state}", "/ws/notifications/", value, _secrets(token))


def _expired(user: Any) -> str:
    token = AccessToken(access_token(user))  # type: ignore[arg-type]
    token.set_exp(from_time=timezone.now(), lifetime=-timedelta(seconds=1))
    return str(token)


def _quoted(user: Any) -> str:
    """As an app sends it that is too careful."""
    return access_token(user).replace(".", "%2E").replace("eyJ", "%65yJ")


_CREDENTIALS: dict[str, Callable[[Any], str]] = {
    "a good token": access_token,
    "an expired token": _expired,
    "a quoted token": _quoted,
    "garbage": lambda user: f"canary{uuid.uuid4().hex}",
    "a ticket": lambda user: tickets.issue(user=user, claims={}),
    "a long text": lambda user: f"canary{uuid.uuid4().hex}" * 100,
    "a text that is too long": lambda user: f"canary{uuid.uuid4().hex}" * 500,
}
_KNOWN_BY_LOOKS = ("a good token", "an expired token")


def _secrets(token: str) -> tuple[str, ...]:
    """Of a JWT its content and its signature, each alone; in any way of writing it."""
    parts = [unquote(part) for part in token.split(".")]
    return tuple(parts[1:] or parts)


def leaked(canaries: list[Canary], log: str) -> list[str]:
    texts = (log, unquote(log))
    return [
        canary.name
        for canary in canaries
        if any(secret in text for secret in canary.secrets for text in texts)
    ]


def _send(server: ServerProcess, canary: Canary, *, upgrade: bool) -> bool:
    """Whether the server has taken it."""
    lines = [f"GET {canary.target} HTTP/1.1", "Host: {host}", *(_UPGRADE if upgrade else ())]
    lines += [canary.header] if canary.header else []
    request = "\r\n".join([line.replace("{host}", server.address) for line in lines] + ["", ""])
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as line:
        line.sendall(request.encode())
        if "too long" in canary.name:
            line.settimeout(_SILENCE)  # uvicorn keeps silent about such a handshake
            with suppress(TimeoutError):
                line.recv(1)
            return True
        return bool(line.recv(1))
