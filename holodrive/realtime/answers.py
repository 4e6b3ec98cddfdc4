"""HTTP refusals made before Django sees the request, and the error codes of all HTTP statuses.

Under /api/ they have the shape of every other REST error.
"""

import json
from typing import Any

from holodrive.realtime import cors, metrics
from holodrive.realtime.credentials import Scope, header
from holodrive.realtime.wire import ErrorCode

RETRY_SECONDS = 2
CODES = {
    400: ErrorCode.INVALID_MESSAGE,
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    406: ErrorCode.INVALID_MESSAGE,
    408: ErrorCode.INVALID_MESSAGE,
    413: ErrorCode.TOO_LARGE,
    415: ErrorCode.INVALID_MESSAGE,
    429: ErrorCode.RATE_LIMITED,
    431: ErrorCode.TOO_LARGE,
    503: ErrorCode.UNAVAILABLE,
}
TEXTS = {
    408: "The request took too long to arrive.",
    413: "The body is too large.",
    429: "Too many requests: try again in a moment.",
    431: "The headers are too large.",
    503: "The server is busy: try again in a moment.",
}
_RETRYABLE = (429, 503)


def headers_and_body(
    path: str, status: int, retry_after: int = RETRY_SECONDS, *, origin: str | None = None
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the headers and body of a refusal. It ends the connection, so the rest of the request
    is not read. `retry_after` is in seconds; `origin` is the request's, whose page may see the
    answer if it is listed.
    """
    metrics.requests_refused.labels(status).inc()
    if path.startswith("/api/"):
        shown: dict[str, Any] = {"code": CODES[status], "message": TEXTS[status]}
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
        *cors.headers(path, origin),
    ]
    if status in _RETRYABLE:
        headers.append((b"retry-after", str(retry_after).encode()))
    return headers, body


async def refuse(scope: Scope, send: Any, status: int, retry_after: int = RETRY_SECONDS) -> None:
    origin = header(scope, b"origin")
    headers, body = headers_and_body(scope["path"], status, retry_after, origin=origin)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
