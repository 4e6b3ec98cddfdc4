"""A Django project that is none of ours: made by `startproject`, with a user model, an admin theme
and URLs of its own. What a test adds to it is what a document says.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from testing.patience import PATIENCE, START
from testing.services import ROOT, Valkey, free_port

_FILES = Path(__file__).parent
PACKAGE = "rides"
THEIRS = ("settings", "urls")  # appended to what startproject wrote, or in its place


class ForeignProject:
    """Lives in `home`; imports our code through the Python path and nothing else of ours."""

    def __init__(self, home: Path, redis_url: str) -> None:
        self.home = home
        self.redis: Valkey | None = None  # of that URL, for who wants to freeze it
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": redis_url,
        }
        self._run("-m", "django", "startproject", PACKAGE, str(home))
        self.manage("startapp", "people")
        self._append(home / PACKAGE / "settings.py", _FILES / PACKAGE / "settings.py-tpl")
        for file in (f"{PACKAGE}/urls.py", *(f"people/{name}.py" for name in _PEOPLE)):
            shutil.copy(_FILES / f"{file}-tpl", home / file)
        shutil.copytree(_FILES / "templates", home / "templates")
        self.manage("makemigrations", "people")

    def add(self, snippets: dict[str, str]) -> None:
        """Settings and URLs go to the end of their files, asgi.py is replaced."""
        for name, text in snippets.items():
            file = self.home / PACKAGE / name
            before = "" if name == "asgi.py" else file.read_text()
            file.write_text(f"{before}\n{text}")

    def manage(self, *arguments: str) -> str:
        return self._run("manage.py", *arguments)

    def shell(self, code: str) -> str:
        return self.manage("shell", "--no-imports", "-v", "0", "-c", code)

    def suite(self, kind: str, document: str, redis_pid: int) -> str:
        """Run the project's own tests, those of the document among them; what they print. Fails if
        they do not end.
        """
        (self.home / "people" / "tests.py").write_text(document)
        for name in ("more_tests", "pytest_tests"):
            shutil.copy(_FILES / "people" / f"{name}.py-tpl", self.home / "people" / f"{name}.py")
        arguments = {
            "unittest": ["manage.py", "test", "people", "-p", "*tests.py", "--no-input"],
            "pytest": [
                *("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "-W", "error"),
                *("-W", "ignore:No directory"),  # of static files: tests collect none
                *("--ds", f"{PACKAGE}.settings", "-o", "asyncio_mode=auto"),
                *("-o", "asyncio_default_fixture_loop_scope=function"),
                "people/pytest_tests.py",
            ],
        }[kind]
        run = subprocess.run(
            [sys.executable, "-W", "always::ResourceWarning", *arguments],
            cwd=self.home,
            env=self.environment | {"REDIS_PID": str(redis_pid)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START,
        )
        assert run.returncode == 0, run.stdout
        return run.stdout

    def _run(self, *arguments: str) -> str:
        run = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START,
        )
        assert run.returncode == 0, f"{arguments}:\n{run.stdout}\n{run.stderr}"
        return run.stdout

    @staticmethod
    def _append(file: Path, more: Path) -> None:
        file.write_text(file.read_text() + more.read_text())


_PEOPLE = ("models", "admin", "apps", "site")


class ForeignServer:
    """A server process of that project: `serve` or plain `daphne`."""

    def __init__(self, project: ForeignProject, kind: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        host, _, port = self.address.partition(":")
        command = {
            "serve": ["manage.py", "serve", "--bind", self.address],
            "daphne": ["-m", "daphne", "-b", host, "-p", port, f"{PACKAGE}.asgi:application"],
        }[kind]
        self._log_file = project.home / f"{kind}.log"
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=project.home,
                env=project.environment | {"WEBSOCKET_URL": self.address},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START
        while not self._answers():
            alive = self._process.poll() is None and time.monotonic() < deadline
            assert alive, f"the server did not start:\n{self.log()}"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://{self.address}/healthz", timeout=PATIENCE):
                return True
        except OSError:
            return False

    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        finally:
            self._process.kill()


def snippets(document: Path) -> dict[str, str]:
    """The document's Python blocks, by the file that each names in its first line."""
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```", document.read_text(), re.M | re.S)
    return dict(blocks)
