"""How `manage.py serve` stops: nobody new comes in, every client is told when to come back, what
runs is finished, each socket ends with 1012. No event depends on it: a client that resumes gets the
rest, however its socket ended.
"""

import asyncio
import logging
import math
import random
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from holodrive.realtime.operations import Operations
from holodrive.realtime.wire import CloseCode

if TYPE_CHECKING:
    from holodrive.realtime import server

Socket = TypeVar("Socket")

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3.0  # behind the window, for a client to answer its close

_TURN_SECONDS = 0.1  # between two batches of closes
_ACCEPT_ROUNDS = 50  # of a hundred connections and more; then even a storm is refused
_AT_LEAST = 20  # sockets in a batch: a handful need no window
_POLL_SECONDS = 0.02


class Draining(Protocol):
    """What a drain needs of a server."""

    ports: list[Any]
    outlived_by_port: bool  # a supervisor keeps the listening socket, and what waits there

    def sockets(self) -> "list[server.Protocol]": ...

    def is_busy(self) -> bool: ...


class Drain:
    """Ends a server's sockets in about `seconds`; `GRACE_SECONDS` later everything is over."""

    def __init__(self, server: Draining, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._hurry = asyncio.Event()
        self._signals = 1

    async def run(self) -> None:
        end = self._loop.time() + self._seconds + GRACE_SECONDS
        Operations.draining = True  # /readyz says so, and new sockets are refused
        await close_ports(self._server.ports, self._server.outlived_by_port)
        await self._pause(_TURN_SECONDS)  # handshakes on their way get their refusal
        sockets = self._server.sockets()
        logger.info("stopping: %s sockets, in at most %g s", len(sockets), self._seconds)
        for socket, delay_ms in zip(sockets, delays(len(sockets), self._seconds), strict=True):
            socket.announce_restart(delay_ms)
        for batch in batches(sockets, self._seconds):
            for socket in batch:
                socket.closeHandshakeTimeout = GRACE_SECONDS
                socket.restart()
            await self._pause(_TURN_SECONDS)
        while self._server.is_busy() and self._loop.time() < end and not self._hurry.is_set():
            await self._pause(_POLL_SECONDS)
        await self._cut()

    def take_signals(self) -> None:
        """The signal that began this was the first. A second one changes nothing: people press
        Ctrl-C twice, and supervisors repeat themselves. The third ends the waiting.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._loop.call_soon_threadsafe(self.signalled))

    def signalled(self) -> None:
        self._signals += 1
        if self._signals == 2:
            logger.info("still stopping: once more to stop without waiting")
        else:
            self._hurry.set()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _cut(self) -> None:
        """What is still there has had its time: a command that does not end, a client that answers
        nothing or reads nothing.
        """
        left = [socket for socket in self._server.sockets() if socket.state != socket.STATE_CLOSED]
        if not left:
            return
        logger.info("stopping: cutting %s sockets off", len(left))
        for socket in left:
            if socket.state != socket.STATE_CONNECTING:
                socket.end(CloseCode.RESTART, CloseCode.RESTART.reason)
        await asyncio.sleep(_POLL_SECONDS)  # Twisted writes at its next turn
        for socket in left:
            if socket.transport is not None:
                socket.transport.abortConnection()
        await asyncio.sleep(_POLL_SECONDS)  # their consumers learn of it, and clean up


async def close_ports(ports: Sequence[Any], outlived: bool) -> None:
    """Stop listening. Connections that the kernel has accepted are taken first: closing the port
    would reset them, where a refused one is simply tried elsewhere. If the port outlives this
    process they are left to whoever listens there next.
    """
    for port in ports:
        poll = select.poll()
        poll.register(port.fileno(), select.POLLIN)
        for _ in range(0 if outlived else _ACCEPT_ROUNDS):
            if not poll.poll(0):
                break
            port.doRead()
        if (stopped := port.stopListening()) is not None:
            await stopped.asFuture(asyncio.get_running_loop())


def delays(sockets: int, seconds: float) -> list[int]:
    """One delay in milliseconds for each socket: evenly over the window, in random order."""
    slot = 1000 * seconds / max(1, sockets)
    spread = [int((index + random.random()) * slot) for index in range(sockets)]  # noqa: S311
    random.shuffle(spread)
    return spread


def batches(sockets: Sequence[Socket], seconds: float) -> Iterator[Sequence[Socket]]:
    """As many at a time as end them all within the window."""
    turns = max(1, math.floor(seconds / _TURN_SECONDS))
    size = max(_AT_LEAST, math.ceil(len(sockets) / turns))
    for start in range(0, len(sockets), size):
        yield sockets[start : start + size]
