"""Starts the servers that are compared, each with a Valkey of its own, and reads what CPU they use.

Everything listens on 127.0.0.1 on free ports, and is stopped by process id. A server is only looked
at from outside.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from testing.services import ROOT, Valkey, free_port

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_START_SECONDS = 30.0
_TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds; the unit of /proc/<pid>/stat
_PASSWORD = "for-the-benchmark-only"
_ENVIRONMENT = {
    "SECRET_KEY": "for-the-benchmark-only-0123456789abcdef0123456789",
    "DEBUG": "off",
    "ALLOWED_HOSTS": "127.0.0.1",
    "LOG_LEVEL": "WARNING",
}
# The tutorial has no limits, so ours are off, unless the environment says otherwise: so what they
# cost can be measured.
LIMITS = {
    name: os.environ.get(name, "0")
    for name in (
        "REALTIME_OUTBOX_BYTES",
        "REALTIME_MAX_FRAME_BYTES",
        "REALTIME_FRAMES_PER_SECOND",
        "REALTIME_SOCKETS_PER_USER",
        "REALTIME_CONNECTS_PER_USER",
        "REALTIME_FAILED_CONNECTS_PER_ADDRESS",
    )
}
_SEED = f"""
import json
from django.contrib.auth import get_user_model
from chat.services import open_trip
users = [
    get_user_model().objects.create_user(username=role, password={_PASSWORD!r}, role=role)
    for role in ("rider", "driver")
]
print(json.dumps({{"conversation": open_trip(rider=users[0], driver=users[1]).pk}}))
"""


class ServerError(RuntimeError):
    """A server or a step before it failed; the message has the end of its output."""


@dataclass(frozen=True)
class Server:
    """Where a server is reached, and which processes it consists of. `tokens`: one for each user
    that the sockets belong to, none where anybody may come in. `greets`: whether a socket's first
    frame says that it has joined."""

    name: str
    port: int
    path: str
    tokens: tuple[str, ...]
    greets: bool
    pid: int
    valkey_pid: int

    def cpu(self) -> float:
        return cpu_seconds(self.pid)

    def valkey_cpu(self) -> float:
        return cpu_seconds(self.valkey_pid)


def cpu_seconds(pid: int) -> float:
    """User and system CPU, in seconds, of a process and all below it, also of those that have ended
    (proc_pid_stat(5))."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # it has ended meanwhile
            continue
        # The name in parentheses may hold spaces: counted from behind it, ppid is field 1, and
        # utime, stime, cutime, cstime are 11 to 14.
        fields = text.rpartition(")")[2].split()
        parents[int(stat.parent.name)] = int(fields[1])
        ticks[int(stat.parent.name)] = sum(map(int, fields[11:15]))
    return _TICK * sum(used for process, used in ticks.items() if _is_below(process, pid, parents))


def _is_below(process: int, top: int, parents: dict[int, int]) -> bool:
    while process and process != top:
        process = parents.get(process, 0)
    return process == top


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


class Servers:
    """The servers of one benchmark. `stop` leaves none of their processes behind."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stack = ExitStack()
        self._seeded: tuple[Path, int] | None = None

    def stop(self) -> None:
        with uninterrupted():
            self._stack.close()

    def holodrive(self, name: str, command: list[str]) -> Server:
        """Our application, with a conversation of a rider and a driver. In the command, HOST and
        PORT stand for where it shall listen."""
        home, valkey = self._parts(name)
        if self._seeded is None:
            self._seeded = _seed(self._home / "seeded.sqlite3")
        file, conversation = self._seeded
        shutil.copy(file, home / "db.sqlite3")
        environment = _holodrive_environment(home / "db.sqlite3", valkey.url)
        port, pid = self._start(name, command, environment, home)
        return Server(
            name=name,
            port=port,
            path=f"/ws/chat/{conversation}/",
            tokens=(_token(port, "rider"), _token(port, "driver")),
            greets=True,
            pid=pid,
            valkey_pid=_pid(valkey),
        )

    def tutorial(self, name: str) -> Server:
        """The tutorial's application on plain Daphne."""
        home, valkey = self._parts(name)
        environment = {
            **_ENVIRONMENT,
            "DJANGO_SETTINGS_MODULE": "benchmarks.peers.tutorial.settings",
            "DATABASE": str(home / "db.sqlite3"),
            "REDIS_URL": valkey.url,
        }
        _run(["-m", "django", "migrate", "-v", "0"], environment)
        # -v 0: the log level is WARNING, and there is no access log.
        command = ["-m", "daphne", "-v", "0", "-b", "HOST", "-p", "PORT"]
        command += ["benchmarks.peers.tutorial.asgi:application"]
        port, pid = self._start(name, command, environment, home)
        return Server(
            name=name,
            port=port,
            path="/ws/chat/lobby/",
            tokens=(),
            greets=False,
            pid=pid,
            valkey_pid=_pid(valkey),
        )

    def _parts(self, name: str) -> tuple[Path, Valkey]:
        home = self._home / name.replace(" ", "-")
        home.mkdir()
        with uninterrupted():
            valkey = Valkey()
            self._stack.callback(valkey.kill)
        return home, valkey

    def _start(
        self, name: str, command: list[str], environment: dict[str, str], home: Path
    ) -> tuple[int, int]:
        """Start it and wait until it listens: (port, process id)."""
        port = free_port()
        places = {"HOST": "127.0.0.1", "PORT": str(port), "HOST:PORT": f"127.0.0.1:{port}"}
        output = home / "output"
        with uninterrupted(), output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *(places.get(part, part) for part in command)],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the benchmark, which then stops it
            )
            self._stack.callback(_kill, process)
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{name} does not start:\n{output.read_text()[-2000:]}")
            time.sleep(0.05)
        return port, process.pid


def _holodrive_environment(file: Path, redis_url: str) -> dict[str, str]:
    return {
        **LIMITS,
        **_ENVIRONMENT,
        "DATABASE_URL": f"sqlite:///{file}",
        "REDIS_URL": redis_url,
    }


def _seed(file: Path) -> tuple[Path, int]:
    """A database with a rider, a driver and their conversation: (the file, the latter's id)."""
    environment = _holodrive_environment(file, "redis://127.0.0.1:1/0")  # nothing is published
    _run(["manage.py", "migrate", "-v", "0"], environment)
    seeded = json.loads(_run(["manage.py", "shell", "-v", "0", "-c", _SEED], environment))
    return file, int(seeded["conversation"])


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Nothing that it holds is worth a clean end; the group, so that its children go as well."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _run(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise ServerError(f"{' '.join(arguments[:3])} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _token(port: int, username: str) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/token/",
        json.dumps({"username": username, "password": _PASSWORD}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(json.load(answer)["access"])


def _pid(valkey: Valkey) -> int:
    assert valkey.process is not None
    return valkey.process.pid
