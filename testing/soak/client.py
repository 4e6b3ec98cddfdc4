"""The smallest client that loses nothing: the frames of the contract, `?last_seq=`, and a queue of
what is not acknowledged. What docs/how-to/clients tells every app to do, in one page.
"""

import asyncio
import json
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from testing.patience import patience

_BACKOFF = (0.05, 0.5)  # seconds
_PATIENCE = patience(10.0)  # seconds without a frame, after which a socket is given up


class Arrival(NamedTuple):
    """A message as it came in."""

    seq: int
    message_id: int
    text: str


class Client:
    """One app in one conversation. It sends `texts`, at most `window` of them unacknowledged, and
    keeps every message that comes in, in the order of arrival.
    """

    def __init__(
        self,
        conversation_id: int,
        token: str,
        addresses: Sequence[str],
        texts: Iterator[str],
        chance: random.Random,
        window: int = 4,
    ) -> None:
        self.path = f"/ws/chat/{conversation_id}/"
        self.history = f"/api/conversations/{conversation_id}/messages/"
        self.token = token
        self.addresses = addresses
        self.texts = texts
        self.chance = chance
        self.window = window
        self.cursor = 0  # the seq of the last event that was processed
        self.reloaded_to = 0  # the last seq that REST brought
        self.arrivals: list[Arrival] = []
        self.unacknowledged: dict[str, str] = {}
        self.sent = 0
        self.connects = self.reloads = self.retries = 0
        self.dials: list[float] = []  # when it began to connect, by time.monotonic
        self._told_to_wait: float | None = None  # seconds, by a server that is about to stop
        self._socket: ClientConnection | None = None
        self._later: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        while True:
            try:
                self.dials.append(time.monotonic())
                await self._live(self.chance.choice(self.addresses))
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                wait, self._told_to_wait = self._told_to_wait, None
                await asyncio.sleep(self.chance.uniform(*_BACKOFF) if wait is None else wait)

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    def drop(self) -> None:
        """The network goes away, without a word to either side."""
        if self._socket is not None:
            self._socket.transport.abort()

    def _dial(self, address: str) -> connect:
        return connect(f"ws://{address}{self._asked()}", **self._options())

    def _asked(self) -> str:
        return f"{self.path}?last_seq={self.cursor}"

    def _options(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        return {
            "additional_headers": headers,
            "compression": None,
            "proxy": None,
            "open_timeout": _PATIENCE,
            "ping_timeout": _PATIENCE,
        }

    async def _live(self, address: str) -> None:
        async with self._dial(address) as socket:
            self.connects += 1
            try:
                while True:
                    async with asyncio.timeout(_PATIENCE):
                        frame = json.loads(await socket.recv())
                    await self._take(frame, socket, address)
            finally:
                self._socket = None

    async def _take(self, frame: dict[str, Any], socket: ClientConnection, address: str) -> None:
        match frame["type"]:
            case "connection_established":
                self._socket = socket
                for client_message_id, text in list(self.unacknowledged.items()):
                    await self._send(client_message_id, text)
                await self._send_new()
            case "chat_message":
                self._arrived(frame)
            case "message_ack":
                self.unacknowledged.pop(frame["client_message_id"], None)
                await self._send_new()
            case "resumed" if not frame["recovered"]:
                await self._reload(address)
            case "reconnect":
                self._told_to_wait = frame["delay_ms"] / 1000
            case "error" if frame["ref"] in self.unacknowledged:
                task = asyncio.create_task(self._retry(frame["ref"]))
                self._later.add(task)
                task.add_done_callback(self._later.discard)
        if frame["type"] != "message_ack":  # whose seq is that of the chat_message
            self.cursor = max(self.cursor, frame.get("seq", 0))

    def _arrived(self, frame: dict[str, Any]) -> None:
        if frame["seq"] <= self.reloaded_to:
            return  # REST had it
        self.arrivals.append(Arrival(frame["seq"], frame["message_id"], frame["message"]))
        self.cursor = max(self.cursor, frame["seq"])

    async def _send_new(self) -> None:
        while len(self.unacknowledged) < self.window:
            text = next(self.texts, None)
            if text is None:
                return
            self.sent += 1
            self.unacknowledged[text] = text  # the texts are different, so each is its own id
            await self._send(text, text)

    async def _send(self, client_message_id: str, text: str) -> None:
        if self._socket is not None:
            frame = {
                "type": "chat_message",
                "message": text,
                "client_message_id": client_message_id,
            }
            await self._socket.send(json.dumps(frame))

    async def _retry(self, client_message_id: str) -> None:
        self.retries += 1
        await asyncio.sleep(self.chance.uniform(*_BACKOFF))
        if client_message_id in self.unacknowledged:
            try:
                await self._send(client_message_id, self.unacknowledged[client_message_id])
            except ConnectionClosed:
                return  # the next connect sends it again

    async def _reload(self, address: str) -> None:
        """What no resume brings is read over REST."""
        self.reloads += 1
        has_more = True
        while has_more:
            after = self.arrivals[-1].message_id if self.arrivals else 0
            page = await asyncio.to_thread(self._page, address, after)
            has_more = page["has_more"]
            for item in page["results"]:
                self._arrived(item)
        self.reloaded_to = self.cursor

    def _page(self, address: str, after: int) -> dict[str, Any]:
        request = Request(f"http://{address}{self.history}?after_id={after}&limit=100")
        request.add_header("Authorization", f"Bearer {self.token}")
        with urlopen(request, timeout=_PATIENCE) as response:  # noqa: S310
            page: dict[str, Any] = json.load(response)
        return page
