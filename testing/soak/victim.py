"""How much of an attack others feel: a rider who writes messages beside it and times each ack, and
the server's CPU and memory as the kernel counts them. The attack is a process of its own, so that
it shares no interpreter with what measures it.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from testing.client import access_token, bearer
from testing.raw import resident_bytes
from testing.server import ServerProcess
from testing.services import ROOT
from testing.soak.people import conversation_of, person

_PAUSE = 0.12  # seconds between a rider's messages: within REALTIME_FRAMES_PER_SECOND
_PATIENCE = 30.0  # seconds for an ack: the longest that was seen were six
_MB = 1_000_000

Dial = Callable[..., Any]


class Sample(NamedTuple):
    """Some seconds of a victim: its acks in seconds, the share of a core that the server used, and
    the most that it held in memory, in MB.
    """

    acks: list[float]
    cpu: float
    resident: float

    def beside(self, calm: "Sample") -> dict[str, float]:
        """What an attack has added to seconds that were `calm`."""
        return {
            "ack_ratio": statistics.median(self.acks) / statistics.median(calm.acks),
            "cpu_share": self.cpu - calm.cpu,
            "rss_growth_mb": self.resident - calm.resident,
        }


class Victim:
    """A rider in a trip of their own. `dial` opens a socket by another way than straight to the
    server (`Nginx.connect`); it takes a path and the options of `websockets`.
    """

    def __init__(self, server: ServerProcess, dial: Dial | None = None) -> None:
        self._server = server
        rider = person("rider")
        trip = conversation_of(rider, person("driver"))
        headers = bearer(access_token(rider))
        opening = (dial or self._directly)(
            f"/ws/chat/{trip.pk}/", additional_headers=headers, open_timeout=_PATIENCE
        )
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(opening)
        self._await("connection_established")

    def __enter__(self) -> "Victim":
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def write(self, seconds: float) -> Sample:
        """Write one message after another for so long."""
        acks: list[float] = []
        most = resident_bytes(self._server)
        used, began = cpu_seconds(self._server), time.monotonic()
        while time.monotonic() - began < seconds:
            acks.append(self._write_one())
            most = max(most, resident_bytes(self._server))
            time.sleep(_PAUSE)
        cpu = (cpu_seconds(self._server) - used) / (time.monotonic() - began)
        return Sample(acks, cpu, most / _MB)

    def _write_one(self) -> float:
        began = time.monotonic()
        self._socket.send(json.dumps({"type": "chat_message", "message": "Where are you?"}))
        self._await("message_ack")
        return time.monotonic() - began

    def _await(self, kind: str) -> None:
        while json.loads(self._socket.recv(timeout=_PATIENCE))["type"] != kind:
            pass

    def _directly(self, path: str, **options: Any) -> Any:
        from websockets.sync.client import connect

        return connect(f"ws://{self._server.address}{path}", compression=None, **options)


@contextmanager
def attacked(module: str, *arguments: str) -> Iterator[None]:
    """Run `python -m module ...` for as long as the block lasts. It prints a line when the attack
    is under way, and goes on until it is killed. It is nicer than the server: whoever attacks
    brings a machine of their own.
    """
    command = ["nice", "-n", "5", sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), f"{module} {arguments} did not begin"
        yield
        assert process.poll() is None, f"{module} {arguments} ended by itself"
    finally:
        process.kill()
        process.communicate()


def cpu_seconds(server: ServerProcess) -> float:
    """What the server's process has used, all its threads, to the nanosecond: the clock that
    clock_getcpuclockid(3) returns on Linux.
    """
    assert server.process is not None
    return time.clock_gettime(~server.process.pid << 3 | 2)
