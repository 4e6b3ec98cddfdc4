"""How much of a request's body is taken, and how slowly it may come: judged while it arrives, on
every server. `manage.py serve` does the same ahead of the application (http_channel.py), since
Daphne collects a whole body before it calls one.
"""

import asyncio
from collections import Counter
from time import monotonic
from typing import Any

from django.conf import settings

from holodrive.realtime import answers
from holodrive.realtime.credentials import ASGIApp, Scope, header

SLOWEST = 500  # bytes a second, beyond the first REALTIME_REQUEST_SECONDS: GPRS has four times that
_TOTAL = 64 * 1024 * 1024  # that waits in one process
_SHARE = 4  # of which one address may have that part


class Refused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(answers.TEXTS[status])
        self.status = status


def limit_of(path: str) -> int:
    """Bytes that a body sent there may have; 0: any number."""
    for prefix, most in settings.REALTIME_UPLOADS.items():
        if path.startswith(prefix):
            return int(most)
    most = settings.REALTIME_MAX_BODY_BYTES
    return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0) if most is None else int(most)


def is_too_large(path: str, length: int) -> bool:
    limit = limit_of(path)
    return bool(limit) and length > limit


def due(began: float, received: int) -> float:
    """When so many bytes should have been more, or all; on the clock of `began`."""
    seconds = settings.REALTIME_REQUEST_SECONDS
    return began + seconds + received / SLOWEST if seconds else float("inf")


class Waiting:
    """Bytes of bodies that wait in this process, by address."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    def take(self, address: str, count: int) -> None:
        """Raise Refused, with 429 or 503, if that were too many."""
        most = max(_TOTAL, _SHARE * _largest())
        if self._of[address] + count > most // _SHARE:
            raise Refused(429)
        if self._of.total() + count > most:
            raise Refused(503)
        self._of[address] += count

    def give_back(self, address: str, count: int) -> None:
        self._of[address] -= count
        if self._of[address] <= 0:
            del self._of[address]


def _largest() -> int:
    return max([limit_of(""), *settings.REALTIME_UPLOADS.values()])


class BoundedBodies:
    """An ASGI wrapper: 413, 408, 429 or 503 instead of a body that is too much."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._waiting = Waiting()

    async def __call__(self, scope: Scope, receive: Any, send: Any, address: str) -> None:
        length = header(scope, b"content-length") or "0"
        if length.isdecimal() and is_too_large(scope["path"], int(length[:20])):
            await answers.refuse(scope, send, 413)
            return
        body = _Body(scope["path"], address, receive, send, self._waiting)
        try:
            await self._app(scope, body.receive, body.send)
        except Refused as refusal:
            if body.is_answered:
                raise
            await answers.refuse(scope, send, refusal.status)
        finally:
            body.discard()


class _Body:
    def __init__(self, path: str, address: str, receive: Any, send: Any, waiting: Waiting) -> None:
        self._path, self._address = path, address
        self._receive, self._send, self._waiting = receive, send, waiting
        self._began = monotonic()
        self._received = self._counted = 0
        self._is_complete = self.is_answered = False

    async def receive(self) -> Any:
        if self._is_complete:
            return await self._receive()  # of the client's leaving
        loop = asyncio.get_running_loop()
        left = due(self._began, self._received) - monotonic()
        try:
            async with asyncio.timeout_at(None if left == float("inf") else loop.time() + left):
                message = await self._receive()
        except TimeoutError:
            raise Refused(408) from None
        self._is_complete = not message.get("more_body", False)
        self._count(len(message.get("body", b"")))
        return message

    def _count(self, count: int) -> None:
        self._received += count
        if is_too_large(self._path, self._received):
            raise Refused(413)
        # Django has so much of it in memory, and the rest in a file.
        count = min(count, max(0, settings.FILE_UPLOAD_MAX_MEMORY_SIZE - self._counted))
        self._waiting.take(self._address, count)
        self._counted += count

    async def send(self, message: Any) -> None:
        self.is_answered = True
        await self._send(message)

    def discard(self) -> None:
        self._waiting.give_back(self._address, self._counted)
