"""`make run` and what it calls, as a new user would: in a fresh copy, as processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
import redis

from holodrive.realtime import embedded
from testing.client import wait_until
from testing.patience import PATIENCE, START, patience
from testing.services import ROOT, free_port

PARTS = (
    *("manage.py", "holodrive", "notifications", "chat", "push", "templates"),
    *("Makefile", ".env.example", "requirements.txt"),
)
OURS = (
    "ENV_FILE",
    "DATABASE_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "DEBUG",
    "ALLOWED_HOSTS",
    "TEST_DATABASE_FILE",
)


class Project:
    """A fresh copy of the project, with a .env, database and Valkey of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, home / part)
        shutil.copy(home / ".env.example", home / ".env")
        self.port = free_port()
        self.environment = {name: value for name, value in os.environ.items() if name not in OURS}
        self.environment |= {
            "WEBSOCKET_PORT": str(self.port),
            "WEBSOCKET_URL": f"127.0.0.1:{self.port}",
        }
        self.processes: list[subprocess.Popen[str]] = []

    def manage(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.home,
            env=self.environment | settings,
            capture_output=True,
            text=True,
            timeout=START,
        )

    def serve(
        self,
        port: int | None = None,
        *options: str,
        start_new_session: bool = False,
        **settings: str,
    ) -> subprocess.Popen[str]:
        port = port or self.port
        log = (self.home / f"serve-{port}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--bind", f"127.0.0.1:{port}", *options],
            cwd=self.home,
            env=self.environment | settings,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=start_new_session,
        )
        log.close()
        self.processes.append(process)
        wait_for(lambda: answers(port), process, lambda: self.log(port))
        return process

    def log(self, port: int | None = None) -> str:
        return (self.home / f"serve-{port or self.port}.log").read_text()

    def valkey_ids(self) -> list[int]:
        """The processes that are a Valkey of this folder."""
        sign = str(embedded.folder(self.home) / "valkey.sock").encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                line = entry.read_bytes()
                if sign in line and b"manage.py" not in line:
                    found.append(int(entry.parent.name))
        return found

    def valkeys(self) -> int:
        return len(self.valkey_ids())


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=patience(2)):
            return True
    except OSError:
        return False


def wait_for(condition, process, log):
    """For what that process must do before it ends."""

    def holds():
        assert process.poll() is None, log()
        return condition()

    wait_until(holds, patience(30), explain=log)


def ended(process, how):
    process.send_signal(how)
    return process.wait(20)


@pytest.fixture(scope="module")
def demo_database(tmp_path_factory):
    """What `migrate` and `demo` leave, made once."""
    made = Project(tmp_path_factory.mktemp("demo"))
    assert made.manage("migrate", "-v", "0").returncode == 0
    assert made.manage("demo", "--if-empty").returncode == 0
    return made.home / "db.sqlite3"


@pytest.fixture
def empty_project(tmp_path):
    made = Project(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    with embedded.running(made.home):
        pass  # whoever joins last stops it


@pytest.fixture
def project(empty_project, demo_database):
    """With the demo users and conversations."""
    shutil.copy(demo_database, empty_project.home / "db.sqlite3")
    return empty_project


def one_line(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1, run.stderr
    return run.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBSOCKET_PORT", "abc"),
        ("WEBSOCKET_PORT", "70000"),
        ("DEBUG", "maybe"),
        ("REDIS_URL", "localhost"),
        ("DATABASE_URL", "nonsense"),
        ("REALTIME_RECONCILE_SECONDS", "soon"),
        ("REALTIME_BIND", "here"),
    ],
)
def test_a_wrong_variable_is_one_line_that_names_it(project, name, value):
    line = one_line(project.manage("serve", **{name: value}))
    assert name in line or value in line


def test_a_port_in_use_is_one_line(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", project.port))
        taken.listen()
        line = one_line(project.manage("serve"))
    assert f"127.0.0.1:{project.port}" in line
    assert project.valkeys() == 0


def test_a_database_without_tables_is_one_line(empty_project):
    assert "migrate" in one_line(empty_project.manage("serve"))


def test_an_unreachable_redis_is_one_line_and_the_server_serves(project):
    process = project.serve(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    warnings = [line for line in project.log().splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1
    assert "REDIS_URL" in warnings[0]
    assert ended(process, signal.SIGTERM) == 0
    assert "Traceback" not in project.log()


def test_several_processes_on_sqlite_are_warned_of(project):
    project.serve(None, "--reuse-port")
    warnings = [line for line in project.log().splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1
    assert "SQLite" in warnings[0]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_no_process_behind(project, how):
    process = project.serve()
    assert project.valkeys() == 1
    ended(process, how)
    assert project.valkeys() == 0


def test_ctrl_c_leaves_valkey_to_the_sockets_that_still_close(project):
    """A terminal sends Ctrl-C to every process of its group, not only to the server."""
    process = project.serve(start_new_session=True, REALTIME_DRAIN_SECONDS="60")
    with socket.create_connection(("127.0.0.1", project.port)) as silent:
        silent.sendall(
            b"GET /ws/notifications/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert silent.recv(12) == b"HTTP/1.1 101"
        os.killpg(process.pid, signal.SIGINT)
        wait_for(lambda: "stopping: 1 sockets" in project.log(), process, project.log)
        assert project.valkeys() == 1
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # the third: it waits no longer
        assert process.wait(20) == 0
    assert project.valkeys() == 0


def test_after_a_kill_the_next_start_leaves_no_process_behind(project):
    ended(project.serve(), signal.SIGKILL)
    process = project.serve()
    assert project.valkeys() == 1
    ended(process, signal.SIGTERM)
    assert project.valkeys() == 0


def test_two_servers_of_a_folder_share_one_valkey_until_the_last_one_leaves(project):
    first, second = project.serve(), project.serve(free_port())
    assert project.valkeys() == 1
    ended(first, signal.SIGTERM)
    assert project.valkeys() == 1
    ended(second, signal.SIGTERM)
    assert project.valkeys() == 0


def started_anew(project, port=None):
    return project.log(port).count("it was started anew")


def redis_of(port):
    with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE) as answer:
        return json.load(answer)["redis"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_valkey_that_was_killed_is_started_anew_and_stops_with_the_server(project, how):
    process = project.serve()
    for times in (1, 2):
        (killed,) = project.valkey_ids()
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda n=times: started_anew(project) == n, process, project.log)
        assert project.valkeys() == 1
        assert project.valkey_ids() != [killed]
        wait_for(lambda: redis_of(project.port) == "ok", process, project.log)
    assert ended(process, how) == 0
    assert project.valkeys() == 0
    assert "Traceback" not in project.log()


def test_two_servers_start_one_anew_and_the_last_to_leave_stops_it(project):
    servers = {port: project.serve(port) for port in (project.port, free_port())}
    os.kill(*project.valkey_ids(), signal.SIGKILL)
    wait_until(lambda: any(started_anew(project, port) for port in servers), 30)
    other, by = sorted(servers, key=lambda port: started_anew(project, port))
    assert started_anew(project, other) == 0
    ended(servers[by], signal.SIGTERM)  # whose child it is
    assert project.valkeys() == 1
    ended(servers[other], signal.SIGTERM)
    assert project.valkeys() == 0


def process_id(home):
    with redis.Redis(unix_socket_path=str(home / "valkey.sock")) as client:
        return client.info("server")["process_id"]


def test_who_finds_it_started_anew_by_another_process_leaves_it_alone(tmp_path):
    home = embedded.folder(tmp_path)
    with embedded.running(tmp_path):
        before = process_id(home)
        late = embedded._Valkey(home)
        try:
            assert late._start_anew()
            assert late._process is None
            assert process_id(home) == before
        finally:
            late._end_ours()


def test_a_valkey_that_is_frozen_is_not_gone(tmp_path):
    home = embedded.folder(tmp_path)
    with embedded.running(tmp_path):
        valkey = process_id(home)
        os.kill(valkey, signal.SIGSTOP)
        try:
            assert not embedded._answers(home)
            assert not embedded._is_gone(home)
        finally:
            os.kill(valkey, signal.SIGCONT)
    assert embedded._is_gone(home)


def test_the_printed_line_talks_as_the_rider(project):
    printed = project.manage("demo", "--if-empty").stdout
    for name in ("admin", "rider", "driver", "holodrive-demo"):
        assert name in printed
    project.serve()
    line = next(line for line in printed.splitlines() if " talk " in line)
    talk = subprocess.run(
        line,
        shell=True,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=patience(30),
    )
    assert talk.returncode == 0, talk.stderr
    assert '"type": "connection_established"' in talk.stdout
    assert '"conversation_id": 1' in talk.stdout
    assert '"type": "message_ack"' in talk.stdout
    assert '"type": "chat_message"' in talk.stdout


def test_talk_without_a_server_or_a_right_is_one_line(project):
    assert "HOST:PORT is wanted" in one_line(project.manage("talk", "Hi", "--url", "ws://a/"))
    assert "no server" in one_line(project.manage("talk", "Hi"))
    project.serve()
    assert "refused the login" in one_line(project.manage("talk", "Hi", "--password", "wrong"))


def test_the_demo_is_refused_while_debug_is_off(empty_project):
    project = empty_project
    project.manage("migrate", "-v", "0")
    assert "DEBUG" in one_line(project.manage("demo", DEBUG="off"))
    assert project.manage("demo", "--if-empty", DEBUG="off").returncode == 0
    count = "from django.contrib.auth import get_user_model as u; print(u().objects.count())"
    assert project.manage("shell", "--no-imports", "-c", count).stdout.strip() == "0"


def test_a_real_variable_beats_the_file(project):
    (project.home / ".env").write_text("SECRET_KEY=x\nWEBSOCKET_HOST=from-the-file\n")
    show = "from django.conf import settings; print(settings.WEBSOCKET_HOST)"
    shell = ("shell", "--no-imports", "-c", show)
    assert project.manage(*shell).stdout.strip() == "from-the-file"
    assert project.manage(*shell, WEBSOCKET_HOST="real").stdout.strip() == "real"


@pytest.mark.parametrize(
    ("program", "says"),
    [("exit 1", "Python 3.11"), ('case "$1" in -m) exit 1;; esac', "python3-venv")],
)
def test_a_python_that_cannot_do_it_is_one_line(project, program, says):
    fake = project.home / "fake-python"
    fake.write_text(f"#!/bin/sh\n{program}\nexit 0\n")
    fake.chmod(0o755)
    run = subprocess.run(
        ["make", "run", f"PYTHON={fake}"],
        cwd=project.home,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=START,
    )
    errors = [line for line in run.stderr.splitlines() if line.startswith("error:")]
    assert run.returncode != 0
    assert len(errors) == 1
    assert says in errors[0]
