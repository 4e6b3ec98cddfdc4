"""What a start must not open: demo users to a network, a site to whoever has read this repository,
files to other users of the machine.
"""

import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError
from rest_framework_simplejwt.settings import api_settings

from holodrive.realtime import checks, embedded, keys, private
from holodrive.realtime.management.commands import serve
from holodrive.realtime.tests.test_commands import (  # noqa: F401 - fixtures
    Project,
    answers,
    demo_database,
    empty_project,
    ended,
    one_line,
    project,
    wait_for,
)
from testing.client import wait_until
from testing.patience import START
from testing.services import ROOT, free_port

GOOD_KEY = "q7Zr-0123456789abcdef0123456789abcdef0123456789abcdef"


# Where it listens


NAMES = {
    "localhost": ["127.0.0.1"],
    "two-addresses": ["127.0.0.1", "203.0.113.7"],
    "public-only": ["203.0.113.7"],
}


@pytest.fixture
def place(settings, capsys, monkeypatch):
    """Where `serve` would listen, and what it says of that; by a resolver of the test's own."""
    numeric = socket.getaddrinfo

    def addresses(host, port, **options):
        host.encode("idna")
        known = NAMES.get(host, [host])
        options["flags"] = socket.AI_NUMERICHOST
        return [numeric(each, port, **options)[0] for each in known]

    monkeypatch.setattr(serve.socket, "getaddrinfo", addresses)

    def ask(**changes):
        settings.DEBUG, settings.REALTIME_BIND = True, ""
        settings.WEBSOCKET_PORT = 9000
        for name, value in changes.items():
            setattr(settings, name, value)
        found = serve.Command()._place()
        return found, capsys.readouterr().out

    return ask


FOREIGN = [
    *("rides.example.com", "0.0.0.0", "::", "[::]", "", "203.0.113.7", "a..b", "::2"),  # noqa: S104
    *("::ffff:203.0.113.7", "fe80::1%lo", "x" * 70, "two-addresses", "public-only"),
]


@pytest.mark.parametrize("host", FOREIGN)
def test_with_debug_on_what_clients_dial_leads_nowhere_but_to_this_machine(place, host):
    found, said = place(WEBSOCKET_HOST=host)
    assert found == ("127.0.0.1", 9000)
    assert said.count("\n") == 1
    assert "--bind" in said


@pytest.mark.parametrize("bind", ["0.0.0.0:9001", "[::]:9001", "203.0.113.7:9001"])
def test_with_debug_on_a_variable_leads_nowhere_either(place, bind):
    found, said = place(REALTIME_BIND=bind)
    assert found == ("127.0.0.1", 9001)
    assert "--bind" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_with_debug_on_an_address_of_this_machine_alone_is_taken(place, host):
    assert place(WEBSOCKET_HOST=host) == ((host, 9000), "")


def test_without_debug_a_public_name_listens_everywhere_as_before(place):
    found, said = place(DEBUG=False, WEBSOCKET_HOST="rides.example.com")
    assert found == ("0.0.0.0", 9000)  # noqa: S104
    assert "rides.example.com is no address of this machine" in said
    assert place(DEBUG=False, REALTIME_BIND="0.0.0.0:9001") == (("0.0.0.0", 9001), "")  # noqa: S104


def test_what_is_bound_in_the_end_is_what_counts(capsys):
    """A socket that a supervisor hands over, for one."""
    with socket.socket() as everywhere:
        everywhere.bind(("", 0))
        serve.Command()._check_reach(everywhere, asked=True)
        assert "demo users" in capsys.readouterr().err
        with pytest.raises(CommandError, match="DEBUG is on"):
            serve.Command()._check_reach(everywhere, asked=False)


def listens_on(port):
    """The addresses on which this machine listens, of that port."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, its_port = local.split(":")
        if state == "0A" and int(its_port, 16) == port:
            found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found


def test_a_foreign_host_in_the_file_does_not_put_the_demo_superuser_on_the_network(project):  # noqa: F811
    log = (project.home / "log").open("w")
    command = [sys.executable, "manage.py", "serve"]
    process = subprocess.Popen(
        command,
        cwd=project.home,
        env=project.environment | {"WEBSOCKET_HOST": "203.0.113.7"},
        stdout=log,
        stderr=log,
    )
    project.processes.append(process)
    wait_for(lambda: answers(project.port), process, (project.home / "log").read_text)
    assert listens_on(project.port) == {"127.0.0.1"}
    assert ended(process, signal.SIGTERM) == 0
    log.close()


# Whose key it is


def written_keys():
    """Every key that stands in a file of ours which people copy from."""
    files = [ROOT / "Makefile", ROOT / ".env.example", ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    files += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*")]
    named = r"\b(?:SECRET|JWT_SIGNING)_KEY(?:_FALLBACKS)? ?[=:] ?"
    pattern = re.compile(named + r"([\w'\"-][^\s`#,]*|\.\.\.)")
    return {key for file in files if file.is_file() for key in pattern.findall(file.read_text())}


def test_every_key_that_stands_in_a_document_is_known_to_be_published():
    found = written_keys()
    assert {"check", "messages", "build", "..."} <= found
    assert [key for key in found if not keys._is_published(key)] == []


PUBLISHED = [
    *("check", "messages", "build", " check ", "Check", "..."),
    "development-only-not-a-secret-0123456789abcdef0123456789",
    "django-insecure-0123456789abcdef0123456789abcdef0123456789abcdef",
]


@pytest.mark.parametrize("key", PUBLISHED)
def test_a_published_key_is_known_however_it_is_spelt(key):
    assert keys._is_published(key)
    assert not keys._is_published(GOOD_KEY + key)


@pytest.mark.parametrize("key", ["check", PUBLISHED[-1]])
def test_a_start_with_a_published_key_is_one_line(project, key):  # noqa: F811
    line = one_line(project.manage("serve", DEBUG="off", SECRET_KEY=key))
    assert "SECRET_KEY" in line
    assert "published" in line


@pytest.mark.parametrize(
    "name", ["JWT_SIGNING_KEY", "SECRET_KEY_FALLBACKS", "JWT_SIGNING_KEY_FALLBACKS"]
)
def test_so_is_one_with_a_published_key_beside_a_good_one(name, settings, monkeypatch):
    if name == "JWT_SIGNING_KEY":
        monkeypatch.setattr(api_settings, name.removeprefix("JWT_"), PUBLISHED[-1])
    else:
        setattr(settings, name, [GOOD_KEY, PUBLISHED[-1]])
    with pytest.raises(CommandError, match=f"^{name}: .*published"):
        serve._refuse(checks.check_secrets())


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
def test_no_other_server_starts_with_a_published_key(project, kind):  # noqa: F811
    options = ["-p", str(free_port())] if kind == "daphne" else ["--port", str(free_port())]
    run = subprocess.run(
        [sys.executable, "-m", kind, *options, "holodrive.asgi:application"],
        cwd=project.home,
        env=project.environment | {"DEBUG": "off"},
        capture_output=True,
        text=True,
        timeout=START,
    )
    assert run.returncode != 0
    assert "error: SECRET_KEY: a key that is published" in run.stderr
    assert "Traceback" not in run.stderr


def test_commands_that_serve_nothing_take_any_key(project):  # noqa: F811
    run = project.manage("check", DEBUG="off", SECRET_KEY="check")
    assert run.returncode == 0, run.stderr


# Who is in the database


def test_the_demo_users_are_not_served_without_debug(project):  # noqa: F811
    line = one_line(project.manage("serve", DEBUG="off", SECRET_KEY=GOOD_KEY))
    assert "admin, driver, rider" in line
    assert "published" in line
    run = project.manage(
        "check", "--deploy", "--database", "default", DEBUG="off", SECRET_KEY=GOOD_KEY
    )
    assert "accounts.E001" in run.stderr
    change = (
        "from django.contrib.auth import get_user_model as m\n"
        "for user in m().objects.all():\n"
        "    user.set_unusable_password(); user.save()"
    )
    assert project.manage("shell", "--no-imports", "-c", change).returncode == 0
    process = project.serve(DEBUG="off", SECRET_KEY=GOOD_KEY)
    assert ended(process, signal.SIGTERM) == 0


# Who may read what is left here


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_what_make_run_leaves_is_for_its_user_alone(empty_project):  # noqa: F811
    home = empty_project.home
    (home / ".env").unlink()
    (home / ".venv").mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (home / ".venv" / part).symlink_to(Path(sys.prefix) / part)
    (home / ".venv" / "runtime").touch()
    log = (home / "log").open("w")
    process = subprocess.Popen(
        ["make", "run"],
        cwd=home,
        env=empty_project.environment,
        stdout=log,
        stderr=log,
        umask=0,
        start_new_session=True,
    )
    try:
        wait_until(
            lambda: process.poll() is not None or answers(empty_project.port),
            180,  # migrations, and three passwords to hash
            explain=(home / "log").read_text,
        )
        assert process.poll() is None, (home / "log").read_text()
        made = [home / ".env", *home.glob("db.sqlite3*"), *(home / ".run").iterdir()]
        assert len(made) >= 6, made
        assert {path.name: oct(mode(path)) for path in made if mode(path) & 0o077} == {}
        assert mode(home / ".run") == 0o700
    finally:
        log.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
    key = re.search(r"^SECRET_KEY=(.*)$", (home / ".env").read_text(), re.MULTILINE)
    assert key
    assert len(key[1]) >= 50
    assert key[1] not in (ROOT / ".env.example").read_text()


def test_a_database_is_made_for_its_owner_alone(tmp_path):
    """With its log beside it, as every command makes it that comes first."""
    before = os.umask(0)
    try:
        connection = sqlite3.connect(tmp_path / "db.sqlite3", factory=private.Connection)
        connection.executescript(
            "PRAGMA journal_mode=WAL; CREATE TABLE t (n); INSERT INTO t VALUES (1)"
        )
        assert {path.name: oct(mode(path)) for path in tmp_path.iterdir()} == {
            f"db.sqlite3{end}": "0o600" for end in ("", "-wal", "-shm")
        }
        connection.close()
        missing = tmp_path / "nowhere" / "db.sqlite3"
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            sqlite3.connect(missing, factory=private.Connection)
    finally:
        os.umask(before)


def test_what_an_older_release_left_is_tightened(project):  # noqa: F811
    files = [project.home / ".env", project.home / "db.sqlite3"]
    (project.home / ".run").mkdir(mode=0o755)
    for file in files:
        file.chmod(0o644)
    process = project.serve()
    assert [oct(mode(file)) for file in files] == ["0o600", "0o600"]
    assert mode(project.home / ".run") == 0o700
    assert ended(process, signal.SIGTERM) == 0


def test_without_debug_it_is_said_and_left(tmp_path, settings):
    file = tmp_path / "db.sqlite3"
    file.touch(0o640)
    file.chmod(0o640)
    settings.PRIVATE_FILES = [tmp_path / ".env", file]
    (found,) = checks.check_secrets()
    assert (found.id, str(file) in found.msg) == ("realtime.W010", True)
    assert mode(file) == 0o640


# A folder that others could have made


@pytest.fixture
def home(tmp_path):
    """A place as /tmp is."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    return shared / "holodrive"


def test_a_folder_of_ours_is_made_and_found_again(home):
    private.claim(home)
    assert mode(home) == 0o700
    (home / "valkey.sock").touch()
    home.chmod(0o755)
    private.claim(home)
    assert mode(home) == 0o700


def planted(home):
    """What another user could have left there, by the way it is wrong."""

    def link_to_a_folder():
        (home.parent / "theirs").mkdir()
        home.symlink_to(home.parent / "theirs")

    def dangling_link():
        home.symlink_to(home.parent / "nowhere")

    def somebody_elses():
        home.mkdir(0o700)
        os.chown(home, 65534, -1)

    def open_to_all():
        home.mkdir()
        home.chmod(0o777)

    def open_to_a_group():
        home.mkdir()
        home.chmod(0o770)

    def a_file():
        home.touch()

    def a_link_inside():
        home.mkdir(0o700)
        (home / "valkey.sock").symlink_to("/tmp/theirs.sock")  # noqa: S108

    def a_socket_of_somebody_else():
        home.mkdir(0o700)
        (home / "valkey.sock").touch()
        os.chown(home / "valkey.sock", 65534, -1)

    def a_place_where_all_may_rename():
        home.parent.chmod(0o777)

    return {way.__name__: way for way in locals().values() if callable(way)}


@pytest.mark.parametrize("way", planted(Path()))
def test_a_folder_that_is_not_ours_is_refused(home, way):
    if os.getuid() != 0 and "somebody" in way:
        pytest.skip("only root gives files away")
    planted(home)[way]()
    with pytest.raises(private.NotOursError, match=str(home)):
        private.claim(home)


def test_every_process_of_a_deep_folder_refuses_what_was_planted_for_it(tmp_path, monkeypatch):
    """Also one that serves nothing: it would unpickle what answers there, and tell it all."""
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    made = Project(deep)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    monkeypatch.setattr(embedded.tempfile, "tempdir", str(temporary))
    folder = embedded.folder(deep)
    assert folder.parent == temporary
    folder.symlink_to(tmp_path)
    for command in (("shell", "-c", "pass"), ("serve",)):
        line = one_line(made.manage(*command, TMPDIR=str(temporary)))
        assert str(folder) in line
    folder.unlink()
    assert made.manage("shell", "-c", "pass", TMPDIR=str(temporary)).returncode == 0
    assert mode(folder) == 0o700
    folder.rmdir()
