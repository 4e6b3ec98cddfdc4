"""A pytest plugin: starts the tests' own Valkey and database before Django reads its settings.

TEST_DATABASE chooses sqlite (default) or postgresql. Everything listens on 127.0.0.1 on free ports,
and is stopped by process id when the run ends.
"""

import atexit
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import redis
from django.core.exceptions import ImproperlyConfigured
from redis.crc import key_slot

from holodrive.realtime import embedded
from testing.patience import ANSWER

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Valkey:
    """A Valkey on a port of its own, which a test may kill, freeze and start again."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None
        self.options = options
        self.start()

    def start(self) -> None:
        arguments = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            *self.options,
        ]
        self.process = subprocess.Popen(
            [embedded.program(), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + ANSWER
        while True:
            try:
                with redis.Redis(port=self.port, socket_timeout=1) as client:
                    client.ping()
                return
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def kill(self) -> None:
        if self.process is not None:
            self.thaw()
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)


class Cluster:
    """A Redis Cluster of two nodes, which share the slots half and half."""

    def __init__(self) -> None:
        self._home = tempfile.mkdtemp(prefix="holodrive-cluster-")
        self.nodes = [self._node(), self._node()]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        for number, node in enumerate(self.nodes):
            first = 8192 * number
            self.command(node, "ADDSLOTSRANGE", first, first + 8191)
            self.command(node, "SET-CONFIG-EPOCH", number + 1)
        other = self.nodes[1]
        self.command(self.nodes[0], "MEET", "127.0.0.1", other.port, self._bus[other.port])
        self.wait()

    def _node(self) -> Valkey:
        bus = free_port()
        return Valkey(
            *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
            *("--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", "1000"),
            *("--dir", self._home, "--cluster-config-file", f"nodes-{bus}.conf"),
        )

    @property
    def _bus(self) -> dict[int, int]:
        """Port -> port of the cluster's bus."""
        return {node.port: int(node.options[3]) for node in self.nodes}

    def command(self, node: Valkey, *words: object) -> Any:
        with redis.Redis(port=node.port, decode_responses=True) as client:
            return client.execute_command("CLUSTER", *map(str, words))

    def wait(self) -> None:
        """Until all that run have agreed that all slots are served."""
        deadline = time.monotonic() + ANSWER
        while any("cluster_state:ok" not in self._state(node) for node in self.nodes):
            assert time.monotonic() < deadline, [self._state(node) for node in self.nodes]
            time.sleep(0.02)

    def _state(self, node: Valkey) -> str:
        with redis.Redis(port=node.port, decode_responses=True) as client:
            info = client.execute_command("CLUSTER INFO")
        return " ".join(f"{key}:{it}" for key, it in info.items()) if type(info) is dict else info

    def with_key(self, key: str) -> Valkey:
        """The node that has this key."""
        return self.nodes[key_slot(key.encode()) // 8192]

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self._home, ignore_errors=True)


class PostgreSQL:
    """A throw-away cluster, made with these options of initdb, which refuses root: as root it runs
    as the user postgres.
    """

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix="holodrive-postgresql-"))
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        is_root = os.getuid() == 0
        self._as_user = ["runuser", "-u", "postgres", "--"] if is_root else []
        if is_root:
            shutil.chown(self.home, "postgres")
        self._run(
            program("initdb"),
            "-D",
            self.home / "data",
            "-A",
            "trust",
            "-U",
            "postgres",
            *(options or ("-E", "UTF8")),
        )
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.home,
            "fsync": "off",
            "max_connections": 300,
        }
        self._options = f"-p {self.port} " + " ".join(f"-c {k}={v}" for k, v in settings.items())
        self.resume()

    def resume(self) -> None:
        self._run(
            program("pg_ctl"),
            "-D",
            self.home / "data",
            "-l",
            self.home / "log",
            "-w",
            "-o",
            self._options,
            "start",
        )

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run it as the superuser, outside of a transaction; return its rows."""
        with psycopg.connect(self.url, autocommit=True, client_encoding="utf8") as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create(self, name: str, how: str = "", **settings: str) -> str:
        """Create a database, with defaults for its sessions; return its URL."""
        self.run(f"CREATE DATABASE {name} {how}")
        for setting, value in settings.items():
            self.run(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        return f"{self.url.rpartition('/')[0]}/{name}"

    def halt(self) -> None:
        """As if its machine had gone: no goodbye. `resume` starts it again."""
        self._run(program("pg_ctl"), "-D", self.home / "data", "-m", "immediate", "-w", "stop")

    def stop(self) -> None:
        self.halt()
        shutil.rmtree(self.home, ignore_errors=True)

    def _run(self, *command: object) -> None:
        subprocess.run(
            [*self._as_user, *map(str, command)],
            check=True,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def program(name: str) -> str:
    """A PostgreSQL program: Debian keeps the server's out of PATH. Raises FileNotFoundError."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = str(places[0]) if places else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} (Debian: postgresql)")
    return found


_running = ExitStack()
stop = _running.close
atexit.register(stop)


def let_interrupts_through() -> None:
    """Give the processes that this one starts the default handler of SIGINT.

    A shell ignores it for what it starts in the background, and so would every descendant: the
    tests of Ctrl-C would wait in vain. A handler of ours, unlike an ignored signal, is not
    inherited through exec.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)


def prepare() -> None:
    """Start a Valkey and a database, and say so in the environment; both end with this process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a terminated run cleans up as well
    let_interrupts_through()
    valkey = Valkey()
    _running.callback(valkey.kill)
    if _database() == "postgresql":
        postgresql = PostgreSQL()
        _running.callback(postgresql.stop)
        database = postgresql.url
    else:
        home = Path(tempfile.mkdtemp(prefix="holodrive-tests-"))
        _running.callback(shutil.rmtree, home, ignore_errors=True)
        os.environ["TEST_DATABASE_FILE"] = str(home / "test.sqlite3")
        database = f"sqlite:///{home / 'unused.sqlite3'}"
    os.environ |= {
        "ENV_FILE": "",  # a developer's .env is not the tests'
        "SECRET_KEY": "for-tests-only-0123456789abcdef0123456789abcdef",
        "DEBUG": "off",
        "SESSION_COOKIE_SECURE": "off",  # the servers of tests speak plain HTTP
        "CSRF_COOKIE_SECURE": "off",
        "ALLOWED_HOSTS": "127.0.0.1,localhost,testserver,example.com",
        "WEBSOCKET_ALLOWED_ORIGINS": "https://holodrive.example",
        "DATABASE_URL": database,
        "REDIS_URL": valkey.url,
        "LOG_LEVEL": "INFO",
        # All tests come from one address, and faster than people: those of the limits set them.
        "REALTIME_CONNECTS_PER_USER": "0",
        "REALTIME_FAILED_CONNECTS_PER_ADDRESS": "0",
        "REALTIME_FRAMES_PER_SECOND": "0",
        "REALTIME_REQUESTS_PER_SECOND": "0",
    }
    sys.path.insert(0, str(ROOT))


def _database() -> str:
    kind = os.environ.get("TEST_DATABASE") or "sqlite"
    if kind not in ("sqlite", "postgresql"):
        raise SystemExit(f"TEST_DATABASE must be sqlite or postgresql, not {kind!r}.")
    return kind


def _read_settings() -> None:
    """Here, and not when pytest-django asks for them: a wrong variable is one line."""
    try:
        importlib.import_module("holodrive.settings")
    except ImproperlyConfigured as wrong:
        raise SystemExit(f"error: {wrong}") from None


if "pytest" in sys.modules:
    prepare()
    _read_settings()
