"""The refusals that are said ahead of Django: under /api/ in the shape of all its errors."""

import json
from typing import Any

from holodrive.realtime import metrics
from holodrive.realtime.credentials import Scope
from holodrive.realtime.wire import ErrorCode

RETRY_SECONDS = 2
_CODES = {
    408: ErrorCode.INVALID_MESSAGE,
    413: ErrorCode.TOO_LARGE,
    429: ErrorCode.RATE_LIMITED,
    431: ErrorCode.TOO_LARGE,
    503: ErrorCode.UNAVAILABLE,
}
TEXTS = {
    408: "The request took too long to arrive.",
    413: "The body is too large.",
    429: "Too many requests of this address are open.",
    431: "The headers are too large.",
    503: "The server is busy: try again in a moment.",
}
_RETRYABLE = (429, 503)


def headers_and_body(path: str, status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The connection ends with it: what is left of the request is not read."""
    metrics.requests_refused.labels(status).inc()
    if path.startswith("/api/"):
        shown: dict[str, Any] = {"code": _CODES[status], "message": TEXTS[status]}
        if status in _RETRYABLE:
            shown["retryable"] = True
        kind, body = b"application/json", json.dumps(shown).encode()
    else:
        kind, body = b"text/plain; charset=utf-8", f"{TEXTS[status]}\n".encode()
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    if status in _RETRYABLE:
        headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
    return headers, body


async def refuse(scope: Scope, send: Any, status: int) -> None:
    headers, body = headers_and_body(scope["path"], status)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
