"""The servers that are compared: ours in its forms, and the peers, each as its own documentation
would have it. All get the same payloads, log nothing below WARNING, and keep no access log.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.processes import Processes, ServerError, cpu_seconds, memory_bytes, run, wait_for
from testing.services import Valkey, free_port

_PEERS = Path(__file__).resolve().parent / "peers"
_NODE = _PEERS / "node"
_NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
PAIRS = 50
USERS = 10_000  # beside the pairs
_ENVIRONMENT = {
    "SECRET_KEY": "for-the-benchmark-only-0123456789abcdef0123456789",
    "ENV_FILE": "",
    "DEBUG": "off",
    "ALLOWED_HOSTS": "127.0.0.1",
    "LOG_LEVEL": "WARNING",
    "JWT_ACCESS_MINUTES": "600",
}
# The peers have no limits, so ours are off, unless the environment says otherwise: so what they
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
        "REALTIME_REQUESTS_PER_SECOND",
    )
}
_PYTHON = sys.executable
_SERVE = [_PYTHON, "manage.py", "serve", "--bind", "HOST:PORT"]
_UVICORN = [
    _PYTHON, "-m", "uvicorn", "holodrive.asgi:application", "--host", "HOST", "--port", "PORT",
    "--loop", "asyncio", "--no-access-log", "--log-level", "warning",
    "--ws-per-message-deflate", "false", "--no-proxy-headers", "--backlog", "4096",
]  # fmt: skip
_SEED = f"""
import json, uuid
from django.contrib.auth import get_user_model
from chat.services import open_trip
from holodrive.realtime.tokens import AccessToken, SID

def people(count, role):
    return get_user_model().objects.bulk_create([
        get_user_model()(username=f"{{role}}{{place}}", first_name=role.title(),
            last_name=f"No{{place}}", role=role, password="!")
        for place in range(count)
    ])

def token(user):
    made = AccessToken.for_user(user)
    made[SID] = uuid.uuid4().hex
    return str(made)

drivers, riders = people({PAIRS}, "driver"), people({PAIRS + USERS}, "rider")
pairs = [
    [open_trip(rider=rider, driver=driver).pk, [rider.pk, token(rider)], [driver.pk, token(driver)]]
    for rider, driver in zip(riders, drivers)
]
users = [[user.pk, token(user)] for user in riders[{PAIRS}:]]
print(json.dumps({{"pairs": pairs, "users": users}}))
"""


@dataclass(frozen=True)
class Person:
    id: int
    token: str


@dataclass(frozen=True)
class Pair:
    conversation: int
    rider: Person
    driver: Person


@dataclass(frozen=True)
class Server:
    """Where a server is reached, and which processes it consists of. `greets`: a socket's first
    frame says that it has joined. `pids` are the server's own, `parts` those of its Redis and its
    database, whose CPU is told apart.
    """

    name: str
    port: int
    pids: tuple[int, ...]
    parts: dict[str, int] = field(default_factory=dict)
    greets: bool = False
    pairs: tuple[Pair, ...] = ()
    users: tuple[Person, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)  # of another process of it

    def cpu(self) -> float:
        return cpu_seconds(*self.pids)

    def part_cpu(self) -> dict[str, float]:
        return {part: cpu_seconds(pid) for part, pid in self.parts.items()}

    def memory(self) -> int:
        return memory_bytes(*self.pids)

    def shell(self, code: str) -> Any:
        """What the code, run by `manage.py shell` in a process of its own, prints as JSON."""
        shell = ["manage.py", "shell", "-v", "0", "--no-imports", "-c", code]
        return json.loads(run(shell, self.environment))


class Servers:
    """Starts servers in one home directory; what each needs to begin with is made once."""

    def __init__(self, processes: Processes, home: Path) -> None:
        self._processes = processes
        self._home = home
        self._count = 0

    def ours(
        self,
        name: str,
        kind: str = "serve",
        database: str = "sqlite",
        count: int = 1,
        settings: str = "holodrive.settings",
    ) -> Server:
        """Our application by `manage.py serve` or uvicorn; several processes share the port."""
        home, valkey = self._parts(name)
        url = self._database(home, database, self._seed(database))
        environment = {
            **LIMITS, **_ENVIRONMENT, "DATABASE_URL": url, "REDIS_URL": valkey.url,
            "DJANGO_SETTINGS_MODULE": settings,
        }  # fmt: skip
        command = [*_SERVE, *(["--reuse-port"] if count > 1 else [])]
        return self._start(
            name,
            command if kind == "serve" else _UVICORN,
            environment,
            home,
            self._used(valkey, database),
            count=count,
            greets=True,
            pairs=self._people["pairs"],
            users=self._people["users"],
        )

    def tutorial_orm(self, name: str, database: str, tuned: bool = False) -> Server:
        home, valkey = self._parts(name)
        url = self._database(home, database, None)
        environment = {
            **_ENVIRONMENT,
            "DJANGO_SETTINGS_MODULE": "benchmarks.peers.tutorial_orm.settings",
            "DATABASE_URL": url,
            "REDIS_URL": valkey.url,
            **({"TUNED": "1"} if tuned else {}),
        }
        run(["-m", "django", "migrate", "--run-syncdb", "-v", "0"], environment)
        command = _daphne("benchmarks.peers.tutorial_orm.asgi:application")
        used = self._used(valkey, database)
        # Who is who is said in the URL, so any numbers will do.
        pairs = tuple(
            Pair(place, Person(2 * place, ""), Person(2 * place + 1, "")) for place in range(PAIRS)
        )
        return self._start(name, command, environment, home, used, pairs=pairs)

    def tutorial(self, name: str, layer: str) -> Server:
        """The tutorial's application, with the layer `core` or `pubsub` of channels_redis."""
        home, valkey = self._parts(name)
        environment = {
            **_ENVIRONMENT,
            "DJANGO_SETTINGS_MODULE": "benchmarks.peers.tutorial.settings",
            "DATABASE": str(home / "db.sqlite3"),
            "REDIS_URL": valkey.url,
            "LAYER": layer,
        }
        run(["-m", "django", "migrate", "-v", "0"], environment)
        command = _daphne("benchmarks.peers.tutorial.asgi:application")
        return self._start(name, command, environment, home, self._used(valkey))

    def node(self, name: str) -> Server:
        """One of the servers on Node. Raises FileNotFoundError."""
        _install_node_packages()
        home, valkey = self._parts(name)
        command = ["node", str(_NODE / f"{name}.mjs"), "PORT"]
        # "production" is how any Node server is meant to run.
        environment = {"REDIS_URL": valkey.url, "NODE_ENV": "production"}
        return self._start(name, command, environment, home, self._used(valkey))

    def nchan(self, name: str) -> Server:
        """nginx with nchan. Raises FileNotFoundError."""
        if not shutil.which("nginx") or not _NCHAN.exists():
            raise FileNotFoundError("nginx with nchan (Debian: nginx libnginx-mod-nchan)")
        home = self._place(name)
        port = free_port()
        text = (_PEERS / "nchan.conf").read_text()
        for placeholder, value in (("HOST:PORT", f"127.0.0.1:{port}"), ("HOME", str(home))):
            text = text.replace(placeholder, value)
        (home / "nginx.conf").write_text(text)
        command = ["nginx", "-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr"]
        return self._start(name, command, {}, home, {}, port=port)

    def null(self, name: str) -> Server:
        """Does nothing but pass on: what the generator can take, and no server's figure."""
        home = self._place(name)
        pairs = tuple(
            Pair(place, Person(2 * place, ""), Person(2 * place + 1, "")) for place in range(PAIRS)
        )
        command = [_PYTHON, "-m", "benchmarks.peers.null", "PORT"]
        return self._start(name, command, {}, home, {}, pairs=pairs)

    # What they are made of

    def _place(self, name: str) -> Path:
        self._count += 1
        home = self._home / f"{self._count}-{name}"
        home.mkdir()
        return home

    def _parts(self, name: str) -> tuple[Path, Valkey]:
        return self._place(name), self._processes.valkey()

    @cached_property
    def _postgresql(self) -> Any:
        return self._processes.postgresql()

    def _used(self, valkey: Valkey, database: str = "") -> dict[str, int]:
        assert valkey.process is not None
        used = {"Valkey": valkey.process.pid}
        if database == "postgresql":
            place = self._postgresql.home / "data" / "postmaster.pid"
            used["PostgreSQL"] = int(place.read_text().split()[0])
        return used

    def _database(self, home: Path, database: str, seeded: str | None) -> str:
        """The URL of a new database, a copy of the one at `seeded`."""
        if database == "sqlite":
            file = home / "db.sqlite3"
            if seeded:
                shutil.copy(seeded.removeprefix("sqlite:///"), file)
            return f"sqlite:///{file}"
        name = f"home{home.name.partition('-')[0]}"
        with psycopg.connect(self._postgresql.url, autocommit=True) as connection:
            template = f' TEMPLATE "{seeded.rpartition("/")[2]}"' if seeded else ""
            connection.execute(f'CREATE DATABASE "{name}"{template}'.encode())
        return str(self._postgresql.url).rpartition("/")[0] + f"/{name}"

    @cached_property
    def _seeds(self) -> dict[str, str]:
        return {}

    def _seed(self, database: str) -> str:
        """The URL of a database with everybody in it, which the servers get copies of."""
        if database not in self._seeds:
            url = self._database(self._place("seed"), database, None)
            # Nothing is published: nobody is there.
            environment = {
                **LIMITS, **_ENVIRONMENT, "DATABASE_URL": url,
                "REDIS_URL": "redis://127.0.0.1:1/0",
            }  # fmt: skip
            run(["manage.py", "migrate", "-v", "0"], environment)
            shell = ["manage.py", "shell", "-v", "0", "--no-imports", "-c", _SEED]
            people = json.loads(run(shell, environment))
            # The same ids everywhere, and one key: the tokens are good for every copy.
            self._people: dict[str, Any] = {
                "pairs": tuple(
                    Pair(trip, Person(*rider), Person(*driver))
                    for trip, rider, driver in people["pairs"]
                ),
                "users": tuple(Person(*user) for user in people["users"]),
            }
            self._seeds[database] = url
        return self._seeds[database]

    def _start(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        home: Path,
        parts: dict[str, int],
        count: int = 1,
        port: int = 0,
        **known: Any,
    ) -> Server:
        port = port or free_port()
        places = {"HOST": "127.0.0.1", "PORT": str(port), "HOST:PORT": f"127.0.0.1:{port}"}
        output = home / "output"
        pids = [
            self._processes.start([places.get(part, part) for part in command], environment, output)
            for _ in range(count)
        ]
        try:
            wait_for(port, pids, output)
        except ServerError as problem:
            raise ServerError(f"{name}: {problem}") from None
        return Server(name, port, tuple(pids), parts, environment=environment, **known)


def _install_node_packages() -> None:
    """By npm, at the versions of the lock file. Raises FileNotFoundError."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise FileNotFoundError("node and npm (Debian: nodejs npm)")
    if not (_NODE / "node_modules" / "socket.io").exists():
        command = ["npm", "ci", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=_NODE, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise FileNotFoundError(f"npm ci in {_NODE.name}: {done.stderr[-300:]}")


def _daphne(application: str) -> list[str]:
    # -v 0: the log level is WARNING, and there is no access log.
    return [_PYTHON, "-m", "daphne", "-v", "0", "-b", "HOST", "-p", "PORT", application]
