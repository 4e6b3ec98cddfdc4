"""Clients for tests: one socket inside this process (through `holodrive.asgi.application`), as an
app would use it.
"""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from testing.patience import ANSWER, PATIENCE


def wait_until(
    condition: Callable[[], object],
    seconds: float = PATIENCE,
    *,
    explain: Callable[[], str] = lambda: "it never came true",
) -> None:
    """Return once the condition holds; fail with the explanation (a log) if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


class Socket:
    """One WebSocket through the ASGI application, in this event loop."""

    def __init__(self, path: str, headers: dict[str, str], subprotocols: list[str]) -> None:
        path, _, query = path.partition("?")
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ["127.0.0.1", 50000],
            "server": ["127.0.0.1", 9000],
            "subprotocols": subprotocols,
        }
        self.to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.accepted: dict[str, Any] | None = None
        self.close_code: int | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> "Socket":
        from holodrive.asgi import application

        self.to_app.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(application(self.scope, self.to_app.get, self._from_app))
        answer = await self._next()
        if answer["type"] == "websocket.accept":
            self.accepted = answer
        else:
            self.close_code = answer.get("code")
        return self

    async def _from_app(self, message: dict[str, Any]) -> None:
        self.from_app.put_nowait(message)

    async def _next(self, seconds: float = PATIENCE) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            return await self.from_app.get()

    async def frame(self, kind: str | None = None) -> dict[str, Any]:
        """The next frame; with a type, the next of that type."""
        while True:
            message = await self._next()
            assert message["type"] == "websocket.send", f"not a frame: {message}"
            frame: dict[str, Any] = json.loads(message["text"])
            if kind is None or frame["type"] == kind:
                return frame

    async def raw(self) -> str:
        message = await self._next()
        assert message["type"] == "websocket.send", f"not a frame: {message}"
        text: str = message["text"]
        return text

    async def closed(self) -> int:
        """The code with which the server closes this socket, past any frames before it."""
        while (message := await self._next())["type"] != "websocket.close":
            pass
        self.close_code = message["code"]
        await self.leave()
        return int(message["code"])

    async def quiet(self) -> None:
        """Nothing is on its way: what a ping is answered behind."""
        self.send({"type": "ping"})
        assert (await self.frame())["type"] == "pong"

    def send(self, frame: dict[str, Any] | list[Any] | str) -> None:
        self.send_text(json.dumps(frame))

    def send_text(self, text: str) -> None:
        self.to_app.put_nowait({"type": "websocket.receive", "text": text})

    def send_bytes(self, content: bytes) -> None:
        self.to_app.put_nowait({"type": "websocket.receive", "bytes": content})

    async def leave(self, code: int = 1000) -> None:
        if self._task is not None and not self._task.done():
            self.to_app.put_nowait({"type": "websocket.disconnect", "code": code})
            async with asyncio.timeout(PATIENCE):
                await self._task
        self._task = None


Connect = Callable[..., Any]


class RemoteSocket:
    """One WebSocket to a server process, spoken by the `websockets` library."""

    def __init__(self, address: str, path: str, user: Any = None, **options: Any) -> None:
        from websockets.sync.client import connect

        headers = dict(options.pop("headers", {}))
        options = {"open_timeout": ANSWER, "ping_timeout": ANSWER, **options}
        if user is not None:
            headers |= bearer(access_token(user))
        self._stack = ExitStack()
        self.connection = self._stack.enter_context(
            connect(
                f"ws://{address}{path}", additional_headers=headers, compression=None, **options
            )
        )
        self.welcome = self.frame("connection_established") if user is not None else None

    def frame(self, kind: str | None = None, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next frame; with a type, the next of that type."""
        while True:
            frame: dict[str, Any] = json.loads(self.connection.recv(timeout=seconds))
            if kind is None or frame["type"] == kind:
                return frame

    def send(self, frame: dict[str, Any]) -> None:
        self.connection.send(json.dumps(frame))

    def close(self) -> None:
        self._stack.close()


def access_token(user: Any) -> str:
    """The access token of a new login of that user."""
    from holodrive.realtime.tokens import ObtainSerializer

    return str(ObtainSerializer.get_token(user).access_token)  # type: ignore[attr-defined]


def bearer(token: object) -> dict[str, str]:
    """The header that carries it."""
    return {"Authorization": f"Bearer {token}"}
