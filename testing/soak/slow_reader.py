"""A client that does not read costs the server no memory: neither 300 MB that are meant for it, nor
300 MB that it sends.
"""

import base64
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from django.db import connection

from notifications.models import Notification
from testing.client import RemoteSocket, access_token
from testing.patience import PATIENCE
from testing.server import ServerProcess
from testing.soak import NO_LIMITS, Progress, Verdict
from testing.soak.people import person

_BOUND = 20.0  # MB
_SENT_AT_ONCE = 100_000  # bytes of one event, and of one frame of the flood
_SOCKETS = 5
_STUCK = 2.0  # seconds without a byte taken: the server has stopped to read
_MB = 1_000_000


class Scale(NamedTuple):
    megabytes: int = 300
    servers: tuple[str, ...] = ("serve", "uvicorn")


FULL, SHORT = Scale(), Scale(megabytes=12, servers=("serve",))


def prove(scale: Scale, seed: int, progress: Progress) -> Verdict:
    growth: dict[str, tuple[float, float]] = {}
    checked = 0
    for kind in scale.servers:
        for way in (_not_reading, _flooding):
            server = ServerProcess(kind, **NO_LIMITS)
            try:
                with _Memory(server) as memory:
                    produced = way(server, scale.megabytes, memory)
                name = way.__name__.strip("_")
                growth[f"rss_growth_mb {kind} {name}"] = (memory.growth, _BOUND)
                checked += produced
                progress(f"{kind} {name}: {produced} MB, {memory.growth:.1f} MB more")
            finally:
                server.discard()
    return Verdict(
        checked=checked,
        wanted=2 * len(scale.servers) * scale.megabytes,
        faults={},
        measured=growth,
        where=f"{connection.vendor}, MB",
    )


class _Memory:
    """Watches a process's resident memory; `growth` in MB over what it was at `settle`."""

    def __init__(self, server: ServerProcess) -> None:
        assert server.process is not None
        self._status = Path(f"/proc/{server.process.pid}/status")
        self._peak = self._before = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Memory":
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def settle(self) -> None:
        self._before = self._peak = self._resident()
        self._thread.start()

    @property
    def growth(self) -> float:
        return self._peak - self._before

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self._peak = max(self._peak, self._resident())

    def _resident(self) -> float:
        (line,) = (text for text in self._status.read_text().splitlines() if "VmRSS" in text)
        return int(line.split()[1]) * 1024 / _MB


def _not_reading(server: ServerProcess, megabytes: int, memory: _Memory) -> int:
    """Events for a user whose sockets are open and read nothing."""
    user = person()
    _warm_up(server, user)
    memory.settle()
    text = "x" * _SENT_AT_ONCE
    with contextlib.ExitStack() as lines:
        for _ in range(_SOCKETS):
            lines.enter_context(_raw(server, user))
        for _ in range(megabytes * _MB // _SENT_AT_ONCE):
            Notification.objects.create(recipient=user, title="Not read", message=text)
    return megabytes


def _flooding(server: ServerProcess, megabytes: int, memory: _Memory) -> int:
    """A client that sends, and reads no answer. Its frames are small: each is answered."""
    user = person()
    _warm_up(server, user)
    memory.settle()
    sent = 0
    frame = _masked(b'{"type":"ping"}') * (_SENT_AT_ONCE // 21)
    while sent < megabytes * _MB:
        with _raw(server, user) as line:
            line.settimeout(_STUCK)
            try:
                while sent < megabytes * _MB:
                    sent += line.send(frame)
            except TimeoutError:
                return megabytes  # the server reads no more: the flood stays where it comes from
            except OSError:
                continue  # it has closed the socket
    return sent // _MB


def _warm_up(server: ServerProcess, user: Any) -> None:
    """A reader gets what the process allocates once: buffers, caches, threads."""
    reader = RemoteSocket(server.address, "/ws/notifications/", user, max_size=None)
    for _ in range(50):
        Notification.objects.create(recipient=user, title="Read", message="x" * _SENT_AT_ONCE)
        reader.frame("notification")
    reader.close()


@contextlib.contextmanager
def _raw(server: ServerProcess, user: Any) -> Iterator[socket.socket]:
    """A socket that has shaken hands and reads nothing more."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        "GET /ws/notifications/ HTTP/1.1", f"Host: {server.address}", "Connection: Upgrade",
        "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
        f"Authorization: Bearer {access_token(user)}", "", "",
    )  # fmt: skip
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.settimeout(PATIENCE)
    try:
        line.connect(("127.0.0.1", server.port))
        line.sendall("\r\n".join(lines).encode())
        answer = line.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        yield line
    finally:
        line.close()


def _masked(text: bytes) -> bytes:
    """A client's text frame of less than 126 bytes, under the mask 0."""
    return bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text
