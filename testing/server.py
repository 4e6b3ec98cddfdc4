"""A real server process on a free port, on the test database and a Valkey of the test's choice."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from testing.patience import ANSWER, PATIENCE, START
from testing.services import ROOT, free_port

_COMMANDS = {
    "serve": ["manage.py", "serve", "--bind", "127.0.0.1:{port}"],
    "daphne": ["-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "holodrive.asgi:application"],
    "uvicorn": [
        "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}",
        "--ws-per-message-deflate", "false", "--no-proxy-headers", "holodrive.asgi:application",
    ],
    "gunicorn": [
        "-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}",
        "--access-logfile", "-", "holodrive.asgi:application",
    ],
    "hypercorn": [
        "-m", "hypercorn", "-b", "127.0.0.1:{port}", "--access-logfile", "-",
        "holodrive.asgi:application",
    ],
    "granian": [
        "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}",
        "--access-log", "holodrive.asgi:application",
    ],
}  # fmt: skip


def test_database_url() -> str:
    """The URL of the database that the tests have open."""
    from django.db import connection

    known = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{known['NAME']}"
    return f"postgres://{known['USER']}@{known['HOST']}:{known['PORT']}/{known['NAME']}"


test_database_url.__test__ = False  # type: ignore[attr-defined]


class ServerProcess:
    """One process of `kind` (a key of _COMMANDS); `settings` are environment variables over the
    tests' own.
    """

    def __init__(self, kind: str = "serve", code: Path = ROOT, /, **settings: str) -> None:
        self.kind = kind
        self.code = code  # where manage.py is
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.environment = os.environ | {
            "DATABASE_URL": test_database_url(),
            "WEBSOCKET_URL": self.address,
            **settings,
        }
        self.log_file = Path(tempfile.mkstemp(prefix="holodrive-server-")[1])
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [part.format(port=self.port) for part in _COMMANDS[self.kind]]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.code,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START
        while True:
            try:
                with urlopen(f"http://{self.address}/healthz", timeout=PATIENCE):
                    return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.kill()  # nobody has it yet who could
                    raise AssertionError(f"the server did not start:\n{self.log()}") from None
                time.sleep(0.02)

    def stop(self, seconds: float = ANSWER) -> int:
        """SIGTERM; the exit code. Fails if that takes longer."""
        return self._end(signal.SIGTERM, seconds)

    def kill(self) -> int:
        return self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals, seconds: float = ANSWER) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(how)
        try:
            return self.process.wait(seconds)
        finally:
            self.process = None

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def discard(self) -> None:
        if self.process is not None:
            self.kill()
        self.log_file.unlink(missing_ok=True)

    def shell(self, code: str) -> str:
        """Run code in `manage.py shell` (another process, without a hub); what it prints."""
        run = subprocess.run(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", code],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and decoded JSON (or text) of an HTTP request."""
        content = None if body is None else json.dumps(body).encode()
        request = Request(f"http://{self.address}{path}", content, method=method)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            request.add_header(name, value)
        try:
            with urlopen(request, timeout=ANSWER) as response:  # noqa: S310
                status, text = response.status, response.read().decode()
        except HTTPError as refusal:
            status, text = refusal.code, refusal.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text
