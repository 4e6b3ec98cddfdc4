"""Starts processes and ends them, and reads from outside what CPU and memory they use.

Everything listens on 127.0.0.1 on free ports, and is stopped by process id.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from testing.services import ROOT, PostgreSQL, Valkey

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_START_SECONDS = 30.0
_TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds; the unit of /proc/<pid>/stat


class ServerError(RuntimeError):
    """A server or a step before it failed; the message has the end of its output."""


def cpu_seconds(*pids: int) -> float:
    """User and system CPU, in seconds, of processes and all below them: to the nanosecond of those
    that run, in ticks of 10 ms of those that have ended (proc_pid_stat(5)).
    """
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        process = int(stat.parent.name)
        try:
            text = stat.read_text()
            own = time.clock_gettime(_clock_of(process))
        except OSError:  # it has ended meanwhile
            continue
        # The name in parentheses may hold spaces: counted from behind it, ppid is field 1, and
        # cutime and cstime are 13 and 14.
        fields = text.rpartition(")")[2].split()
        parents[process] = int(fields[1])
        used[process] = own + _TICK * sum(map(int, fields[13:15]))
    return sum(cpu for one, cpu in used.items() if _is_below(one, pids, parents))


def _clock_of(process: int) -> int:
    """What clock_getcpuclockid(3) returns on Linux."""
    return (~process << 3) | 2


def _is_below(process: int, tops: tuple[int, ...], parents: dict[int, int]) -> bool:
    while process and process not in tops:
        process = parents.get(process, 0)
    return process in tops


def memory_bytes(*pids: int) -> int:
    """The proportional set size: pages of its own, and its part of those it shares (proc(5))."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += 1024 * int(line.split()[1])
    return total


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and its like back until what is started here is known to whoever stops it."""
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt


class Processes:
    """What one measurement has started. Leaving the context ends all of it."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *problem: object) -> None:
        with uninterrupted():
            self._stack.close()

    def ends(self, end: Any) -> None:
        """Call this at the end too."""
        self._stack.callback(end)

    def valkey(self) -> Valkey:
        with uninterrupted():
            valkey = Valkey()
            self._stack.callback(valkey.kill)
        return valkey

    def postgresql(self) -> PostgreSQL:
        with uninterrupted():
            postgresql = PostgreSQL()
            self._stack.callback(postgresql.stop)
        return postgresql

    def start(self, command: list[str], environment: dict[str, str], output: Path) -> int:
        """Start it; the process id."""
        with uninterrupted(), output.open("ab") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the benchmark, which then stops it
            )
            self._stack.callback(_kill, process)
        return process.pid


def wait_for(port: int, pids: list[int], output: Path) -> None:
    """Until each of them listens there. Raises ServerError if one ends before."""
    deadline = time.monotonic() + _START_SECONDS
    while _listeners(port) < len(pids):
        dead = any(os.waitid(os.P_PID, pid, _ENDED) for pid in pids)
        if dead or time.monotonic() > deadline:
            raise ServerError(f"it does not start:\n{output.read_text()[-2000:]}")
        time.sleep(0.05)


_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


def run(arguments: list[str], environment: dict[str, str]) -> str:
    """What a Python program of the project prints. Raises ServerError."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    if done.returncode:
        raise ServerError(f"{' '.join(arguments[:3])} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Nothing that it holds is worth a clean end; the group, so that its children go as well."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listeners(port: int) -> int:
    """How many sockets listen on a port: several processes may share it (proc_net(5))."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(one[1].endswith(f":{port:04X}") and one[3] == "0A" for one in fields)
