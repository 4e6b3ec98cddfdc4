"""What is on its way to one socket: bounded in bytes, and never awaited by the hub.

A frame is encoded once and shared by all sockets. Where finished WebSocket frames can be written
(writers.py), it goes straight to the transport; elsewhere a task feeds it to ASGI `send`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from weakref import WeakSet

from holodrive.realtime import metrics
from holodrive.realtime.wire import CloseCode
from holodrive.realtime.writers import FrameWriter, writer

logger = logging.getLogger(__name__)

# What the server puts between a client's frames when it is about to stop (drain.py): to announce
# it, with `delay_ms`, and then to close, behind the command that runs and those that came before.
ANNOUNCE_RESTART = "holodrive.announce_restart"
RESTART = "holodrive.restart"
OVER_BUDGET = "holodrive.over_budget"  # ten seconds of more than inflow.py allows

_FLUSH_SECONDS = 5.0  # how long a close waits for what is queued before it
_LITTLE = 65_536  # bytes that may wait before more of many frames is handed over (Twisted's too)
_STALLED_SECONDS = 20.0  # that a client may need for these, until it is too slow

Send = Callable[[dict[str, Any]], Awaitable[None]]


class SharedFrame:
    """One text frame for any number of sockets, and its WebSocket bytes.

    Server frames are unmasked, so the bytes are the same for every client (RFC 6455, 5.2).
    """

    __slots__ = ("bytes", "own", "owner", "removes", "text")

    def __init__(self, text: str, removes: int = 0) -> None:
        self.text = text
        self.owner = 0  # the id of a user who gets `own` in its place
        self.own: SharedFrame | None = None  # never itself: a circle lives until a collection
        self.bytes = text_frame(text)
        self.removes = removes  # the id of the user whose right to be in the stream ends here


def text_frame(text: str) -> bytes:
    """One final, unmasked text frame (RFC 6455, 5.2)."""
    body = text.encode()
    size = len(body)
    if size < 126:
        return bytes((0x81, size)) + body
    if size < 65_536:
        return bytes((0x81, 126)) + size.to_bytes(2, "big") + body
    return bytes((0x81, 127)) + size.to_bytes(8, "big") + body


_open: "WeakSet[Outbox]" = WeakSet()
metrics.outbox_bytes.set_function(lambda: sum(outbox.waiting() for outbox in list(_open)))


class Outbox:
    """The bounded way out of one socket. Not thread-safe: use it on the event loop."""

    def __init__(self, send: Send, limit: int) -> None:
        self._send = send
        self._limit = limit
        _open.add(self)
        self._owner = asyncio.current_task()
        self._closing: asyncio.Task[None] | None = None
        self.frames = 0
        self.closed: CloseCode | None = None
        self.is_abandoned = False  # its client does not even take the close

    def send(self, frame: SharedFrame, *, ephemeral: bool = False) -> None:
        """Queue a frame. Over half of the limit ephemeral frames are dropped, over all of it the
        socket closes with 4408: the client resumes, and the log has what it missed.
        """
        if self.closed is not None:
            return
        if self._limit and (waiting := self.waiting()):
            after = waiting + len(frame.bytes)
            if after > self._limit:
                self.close(CloseCode.TOO_SLOW)
                return
            if ephemeral and 2 * after > self._limit:
                metrics.outbox_dropped.inc()
                return
        self.frames += 1
        self._write(frame)

    def close(self, code: CloseCode) -> None:
        """Close the socket behind what is queued; later frames are dropped."""
        if self.closed is None:
            self.closed = code
            self._closing = asyncio.get_running_loop().create_task(self._close(code))

    async def ready(self) -> bool:
        """Wait before each of many frames (a resume) until the client has taken most of what went
        before: so a healthy one gets any amount. One that needs 20 s for 64 KiB is closed with
        4408. False if the socket is closed.
        """
        try:
            async with asyncio.timeout(_STALLED_SECONDS):
                await self._drained()
        except TimeoutError:
            self.close(CloseCode.TOO_SLOW)
        return self.closed is None

    def waiting(self) -> int:
        """Bytes that the client has not taken yet, as far as this process can tell."""
        raise NotImplementedError

    def _write(self, frame: SharedFrame) -> None:
        raise NotImplementedError

    async def _drained(self) -> None:
        raise NotImplementedError

    async def _close(self, code: CloseCode) -> None:
        close = {"type": "websocket.close", "code": int(code), "reason": code.reason}
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._send(close)
        except TimeoutError:
            # A server that awaits its client (uvicorn) would hold this socket for ever.
            self.is_abandoned = True
            if self._owner is not None:
                self._owner.cancel()
        except Exception as problem:  # noqa: BLE001 - as in _drain; asyncio would log a traceback
            logger.debug("A close could not be sent (%s): the socket is gone", problem)

    def forget_handshake(self) -> None:
        """See `writers.FrameWriter`."""

    async def flush(self) -> None:
        """Wait, but not for long, until the server has taken what is queued."""

    async def stop(self) -> None:
        """The socket is gone: drop what is queued."""


class DirectOutbox(Outbox):
    """Writes shared frames straight to the transport."""

    def __init__(self, send: Send, limit: int, write: FrameWriter) -> None:
        super().__init__(send, limit)
        self.waiting = write.waiting  # type: ignore[method-assign]
        self._drained = write.drained  # type: ignore[method-assign]
        self._at_once = write.at_once
        self._write_bytes = write
        self.forget_handshake = write.forget_handshake  # type: ignore[method-assign]
        write.restart_in_band()

    def send(self, frame: SharedFrame, *, ephemeral: bool = False) -> None:
        if self.closed is None and self._at_once(frame.bytes):
            self.frames += 1
        else:
            super().send(frame, ephemeral=ephemeral)

    def _write(self, frame: SharedFrame) -> None:
        self._write_bytes(frame.bytes)


class QueuedOutbox(Outbox):
    """Feeds ASGI `send`, one frame after another, from a task of its own."""

    def __init__(self, send: Send, limit: int) -> None:
        super().__init__(send, limit)
        self._queue: deque[SharedFrame] = deque()
        self._queued = 0
        self._task: asyncio.Task[None] | None = None

    def waiting(self) -> int:
        return self._queued

    async def _drained(self) -> None:
        while self._task is not None and self._queued > _LITTLE:
            await asyncio.wait([self._task])

    def _write(self, frame: SharedFrame) -> None:
        self._queue.append(frame)
        self._queued += len(frame.bytes)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._queue:
                frame = self._queue[0]
                await self._send({"type": "websocket.send", "text": frame.text})
                self._queue.popleft()
                self._queued -= len(frame.bytes)
        except Exception as problem:  # noqa: BLE001 - servers differ in what they raise for a socket that is gone
            logger.debug("A frame could not be sent (%s): the socket is gone", problem)
            self._queue.clear()
            self._queued = 0
        finally:
            self._task = None

    async def _close(self, code: CloseCode) -> None:
        if code != CloseCode.TOO_SLOW:
            await self.flush()
        await super()._close(code)

    async def flush(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_FLUSH_SECONDS)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


def outbox(scope: Mapping[str, Any], send: Send, limit: int) -> Outbox:
    """The fastest outbox that this server allows."""
    write = writer(scope, send)
    return DirectOutbox(send, limit, write) if write else QueuedOutbox(send, limit)
