"""What deploy/ holds, used for real: nginx in front of a server, and the systemd units' command."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from configparser import RawConfigParser
from contextlib import ExitStack, closing
from urllib.request import urlopen

import pytest
import yaml
from django.conf import settings
from prometheus_client import REGISTRY
from websockets.exceptions import InvalidStatus

from testing import nginx
from testing.client import RemoteSocket, access_token, wait_until
from testing.nginx import HOST, Nginx
from testing.parts import missing
from testing.patience import ANSWER, PATIENCE, START
from testing.server import test_database_url
from testing.services import ROOT, free_port

pytestmark = pytest.mark.django_db(transaction=True)

DEPLOY = ROOT / "deploy"
UNITS = DEPLOY / "systemd"
PYTHON = "/srv/holodrive/.venv/bin/python"


@pytest.fixture
def proxied():
    """`proxied(server, **options)`: nginx in front of it (see `Nginx`)."""
    try:
        nginx.program()
    except FileNotFoundError as problem:
        missing("What stands behind nginx", str(problem))
    started = []

    def start(upstream, **options):
        started.append(Nginx(upstream, **options))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def behind_nginx(start_server, **settings):
    return start_server(ALLOWED_HOSTS=HOST, SECURE_PROXY_SSL_HEADER="X-Forwarded-Proto", **settings)


def bearer(user):
    return {"Authorization": f"Bearer {access_token(user)}"}


def first_frame(connection):
    return json.loads(connection.recv(timeout=PATIENCE))


# nginx


def test_both_sockets_and_the_api_over_tls(start_server, proxied, trip):
    front = proxied(behind_nginx(start_server).address)
    paths = [
        "/ws/notifications/",
        f"/ws/chat/{trip.pk}/",
        f"/ws/notifications/{access_token(trip.rider)}",
        f"/ws/chat/{trip.pk}/?token={access_token(trip.rider)}",
    ]
    for path in paths:
        token = {} if "ey" in path else {"additional_headers": bearer(trip.rider)}
        with front.connect(path, **token) as connection:
            assert first_frame(connection)["type"] == "connection_established"
    status, conversations = front.get("/api/conversations/", bearer(trip.rider))
    assert (status, conversations["results"][0]["id"]) == (200, trip.pk)


def test_plain_http_is_sent_to_tls_and_probes_stay_inside(start_server, proxied):
    front = proxied(behind_nginx(start_server).address)
    with closing(socket.create_connection(("127.0.0.1", front.plain_port))) as plain:
        plain.sendall(b"GET /admin/?a=b HTTP/1.1\r\nHost: %s\r\n\r\n" % HOST.encode())
        answer = plain.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 308")
    assert f"Location: https://{HOST}/admin/?a=b\r\n" in answer
    for path in ("/metrics", "/healthz", "/readyz"):
        assert front.get(path)[0] == 404


def test_a_foreign_origin_is_refused_and_our_own_is_not(start_server, proxied, make_user):
    front = proxied(behind_nginx(start_server).address)
    headers = bearer(make_user())
    foreign = {"additional_headers": headers, "origin": "https://evil.example"}
    with pytest.raises(InvalidStatus) as refusal, front.connect("/ws/notifications/", **foreign):
        pass
    assert refusal.value.response.status_code == 403
    own = f"https://{HOST}:{front.port}"
    with front.connect("/ws/notifications/", additional_headers=headers, origin=own) as connection:
        assert first_frame(connection)["type"] == "connection_established"


def test_an_address_cannot_be_invented_by_a_header(start_server, proxied):
    """Failed connects are counted by address: behind nginx by the client's, whatever it claims."""
    server = behind_nginx(start_server, REALTIME_FAILED_CONNECTS_PER_ADDRESS="2")
    front = proxied(server.address)

    def refused(number, source):
        claims = {"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": f"198.51.100.{number}"}
        path = "/ws/notifications/?token=wrong"
        with front.connect(path, source, additional_headers=claims) as connection:
            return first_frame(connection)["code"]

    assert [refused(number, "127.0.0.1") for number in range(4)] == [
        "unauthenticated",
        "unauthenticated",
        "rate_limited",
        "rate_limited",
    ]
    assert refused(9, "127.0.0.2") == "unauthenticated"


def test_behind_a_balancer_that_only_appends_each_client_counts_for_itself(start_server, proxied):
    """It adds to X-Forwarded-For what it sees, behind whatever a client wrote there, and sends no
    X-Real-IP.
    """
    server = behind_nginx(
        start_server,
        REALTIME_FAILED_CONNECTS_PER_ADDRESS="2",
        LOGIN_FAILURES_PER_ADDRESS="2",
        CLIENT_ADDRESS_HEADER="X-Forwarded-For",
        REALTIME_PREFIX="balancer",
    )
    front = proxied(
        server.address,
        **{
            "proxy_set_header X-Real-IP $remote_addr;": "",
            "X-Forwarded-For $remote_addr;": "X-Forwarded-For $proxy_add_x_forwarded_for;",
        },
    )

    def connects(number, source):
        claims = {"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": f"198.51.100.{number}"}
        path = "/ws/notifications/?token=wrong"
        with front.connect(path, source, additional_headers=claims) as connection:
            return first_frame(connection)["code"]

    def logs_in(number, source):
        claims = {"X-Forwarded-For": f"198.51.100.{number}, 127.0.0.1"}
        body = {"username": f"nobody{number}", "password": "wrong"}
        return front.post("/api/token/", body, claims, source)[0]

    got = [connects(number, "127.0.0.2") for number in range(4)]
    assert got == ["unauthenticated"] * 2 + ["rate_limited"] * 2
    assert connects(9, "127.0.0.3") == "unauthenticated"
    got = [logs_in(number, "127.0.0.2") for number in range(5)]  # three are in one window
    assert got[-1] == 429
    assert logs_in(9, "127.0.0.3") == 401


def test_no_token_is_in_any_log(start_server, proxied, trip):
    server = behind_nginx(start_server)
    front = proxied(server.address)
    token = access_token(trip.rider)
    for path in (
        f"/ws/notifications/{token}",
        f"/ws/notifications/token={token}",
        f"/ws/chat/{trip.pk}/{token}",
        f"/ws/chat/{trip.pk}/?token={token}",
    ):
        with front.connect(path) as connection:
            first_frame(connection)
    server.kill()
    for path in (f"/ws/notifications/{token}", f"/ws/notifications/?token={token}"):
        with pytest.raises(InvalidStatus) as refusal, front.connect(path):
            pass
        assert refusal.value.response.status_code == 502
    wait_until(lambda: front.access_log.read_text().count("/ws/") == 6)
    assert token not in front.logs() + server.log()
    assert '"GET /ws/notifications/..." 502' in front.access_log.read_text()


_SPELLED = (
    "/ws/notifications/{}", "/WS/notifications/{}", "/Ws/Chat/7/{}", "//ws//chat//7//{}",
    "/./ws/chat/7/{}",
    "/x/../ws/chat/7/{}", "/ws/../ws/chat/7/{}", "/ws/..;/{}", "/ws;x/chat/7/{}",
    "/%77s/chat/7/{}", "/%57%53/chat/7/{}",
    "/%2577s/chat/7/{}", "/ws%2Fchat%2F7%2F{}", "/ws%252Fchat%252F7%252F{}", "/%2Fws/chat/7/{}",
    "/ws%5C{}", "/ws/chat/7%2F{}",
    "/ws/{}", "/ws/nothing/{}", "/ws/support/{}", "/x/ws/{}", "/.ws/{}", "/ws/chat/7/%20{}",
    "/elsewhere?token={}",
    "/token={}", "/token%3D{}", "/token%253D{}", "/static/ws/{}",
    "http://rides.example.com/ws/chat/7/{}",
)  # fmt: skip


def test_no_token_is_in_the_log_of_nginx_however_it_is_spelled(start_server, proxied, make_user):
    front = proxied(behind_nginx(start_server).address)
    secrets = []
    for number, form in enumerate(_SPELLED):
        secrets.append(f"0paque-{number}-canary")
        ask(front, form.format(secrets[-1]))
        for jwt in ("eyJhbGciOiJIUzI1NiJ9.{}.x", "%65yJhbGciOiJIUzI1NiJ9%2E{}%2Ex"):
            secrets.append(f"eyJ1c2Vy{number}canary")
            ask(front, form.format(jwt.format(secrets[-1])))
            ask(front, f"/elsewhere/{jwt.format(secrets[-1])}")
    # Of these nginx says an error: over TLS of the length, on port 80 of the chunk that is none.
    ask(front, "/ws/notifications/the-last-one", "Content-Length: 4000000")
    ask_plainly(front, "/ws/notifications/the-last-one", "Transfer-Encoding: chunked", "zz\r\n")
    wait_until(lambda: '"GET /ws/notifications/..." 413' in front.logs(), explain=front.logs)
    log = front.logs() + (front.home / "main.log").read_text()
    assert [secret for secret in [*secrets, "the-last-one"] if secret in log] == []


def test_an_nginx_without_free_connections_quotes_no_request(start_server, proxied, trip):
    front = proxied(behind_nginx(start_server).address, connections="12")
    token = access_token(trip.rider)
    with ExitStack() as sockets, pytest.raises(InvalidStatus) as refusal:
        fill(sockets, front, f"/ws/notifications/?token={token}")
    assert refusal.value.response.status_code == 500
    wait_until(lambda: '"GET /ws/notifications/..." 500' in front.logs(), explain=front.logs)
    assert token not in front.logs()


def fill(sockets, front, path):
    """Open sockets until one is refused."""
    while True:
        sockets.enter_context(front.connect(path))


def ask(front, path, header="Content-Length: 0"):
    """As it stands, over TLS."""
    plain = socket.create_connection(("127.0.0.1", front.port), PATIENCE)
    with closing(plain), front.tls.wrap_socket(plain, server_hostname=HOST) as line:
        line.sendall(request_for(path, header))
        line.recv(1)


def ask_plainly(front, path, header, body):
    """Without TLS. Returns when all of the answer has come, and nginx has said what it says."""
    with closing(socket.create_connection(("127.0.0.1", front.plain_port), PATIENCE)) as line:
        line.sendall(request_for(path, header) + body.encode())
        while line.recv(4096):
            pass


def request_for(path, header):
    head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nReferer: https://a{path}\r\n"
    return f"{head}{header}\r\nConnection: close\r\n\r\n".encode()


def test_the_proxy_waits_for_more_than_two_heartbeats():
    seconds = re.search(r"proxy_read_timeout (\d+)s", nginx.CONFIGURATION.read_text())
    assert seconds
    assert int(seconds[1]) > 2 * settings.REALTIME_HEARTBEAT_SECONDS


def test_static_files_come_from_the_disk_or_from_the_server(start_server, proxied):
    front = proxied(behind_nginx(start_server, DEBUG="on").address)
    assert "import" in front.get("/static/notifications/bell.js")[1]
    assert front.get("/static/admin/css/base.css")[0] == 200
    assert front.get("/static/nowhere.css")[0] == 404


# Containers


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def test_compose_sets_only_what_the_project_reads(services):
    known = (ROOT / "README.md").read_text()
    for name in services["serve"]["environment"]:
        assert f"`{name}`" in known, name


def test_compose_waits_for_the_drain_and_for_the_migrations(services):
    serve = services["serve"]
    assert int(serve["stop_grace_period"].removesuffix("s")) > settings.REALTIME_DRAIN_SECONDS + 3
    assert serve["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_the_image_holds_every_app_and_its_command_is_process_1():
    recipe = (DEPLOY / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (\w\S*) ", recipe, re.M))
    ours = {
        name.split(".")[0]
        for name in settings.INSTALLED_APPS
        if (ROOT / name.split(".")[0]).is_dir()
    }
    assert ours | {"holodrive", "templates", "manage.py", "requirements.txt"} <= copied
    ignored = (ROOT / ".dockerignore").read_text()
    assert copied == set(re.findall(r"^!(.*)", ignored, re.M))
    assert re.search(r'^CMD \["python", "manage.py", "serve"\]$', recipe, re.M)
    extras = {path.name for path in ROOT.glob("requirements-*.txt")} - {"requirements-dev.txt"}
    assert extras <= copied  # EXTRAS names them


# Prometheus and Grafana


def rules():
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_and_dashboard_ask_for_what_is_counted():
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
    known = {
        metric.name + suffix
        for metric in REGISTRY.collect()
        for suffix in suffixes.get(metric.type, [])
    }
    dashboard = json.loads((DEPLOY / "grafana/holodrive.json").read_text())
    asked = [rule["expr"] for rule in rules()]
    asked += [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    for expression in asked:
        for name in re.findall(r"\b(?:holodrive|process)_\w+", expression):
            assert name in known, name


def test_each_alert_says_what_to_do():
    page = (ROOT / "docs/how-to/react-to-alerts.md").read_text()
    headings = re.findall(r"^## (\w+)$", page, re.M)
    assert headings == [rule["alert"] for rule in rules()]
    assert all(rule["annotations"]["description"] for rule in rules())


# systemd


def unit(name):
    parser = RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNITS / name)
    return parser


class Supervised:
    """What systemd would start: the unit's command, with the port and a place to say `READY=1`."""

    def __init__(self, handed_over, home):
        program, *words = unit("holodrive@.service")["Service"]["ExecStart"].split()
        assert (program, words[-2:]) == (PYTHON, ["--fd", "3"])
        self.metrics = f"127.0.0.1:{free_port()}"
        words = [self.metrics if word.endswith("%i") else word for word in words]
        self.said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.said.bind(str(home / "notify"))
        self.said.settimeout(ANSWER)
        self._log = (home / "log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, *words[:-1], str(handed_over.fileno())],
            cwd=ROOT,
            env=os.environ
            | {
                "DATABASE_URL": test_database_url(),
                "NOTIFY_SOCKET": str(home / "notify"),
                "REALTIME_DRAIN_SECONDS": "1",
            },
            pass_fds=[handed_over.fileno()],
            stdout=self._log,
            stderr=self._log,
        )

    def heard(self):
        return self.said.recv(100).decode()

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.said.close()
        self._log.close()


@pytest.fixture
def listener():
    with closing(socket.create_server(("127.0.0.1", 0), backlog=4096)) as made:
        yield made


@pytest.fixture
def supervised(listener, tmp_path):
    started = []

    def start(handed_over=listener):
        home = tmp_path / str(len(started))
        home.mkdir()
        started.append(Supervised(handed_over, home))
        return started[-1]

    yield start
    for each in started:
        each.end()


def asked(listener):
    with urlopen(f"http://127.0.0.1:{listener.getsockname()[1]}/healthz", timeout=ANSWER) as answer:
        return answer.status


def test_no_connection_is_refused_while_processes_restart_one_by_one(listener, supervised):
    first, second = supervised(), supervised()
    assert (first.heard(), second.heard()) == ("READY=1", "READY=1")
    ended, answers, problems = threading.Event(), [], []

    def keep_asking():
        while not ended.is_set():
            try:
                answers.append(asked(listener))
            except OSError as problem:
                problems.append(problem)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        for old in (first, second):
            old.process.terminate()
            assert old.heard() == "STOPPING=1"
            assert old.process.wait(20) == 0
            assert supervised().heard() == "READY=1"
    finally:
        ended.set()
        asking.join()
    assert (problems, set(answers)) == ([], {200})


def test_each_process_answers_for_itself_what_it_counts(listener, supervised, make_user):
    both = supervised(), supervised()
    assert [each.heard() for each in both] == ["READY=1", "READY=1"]
    address = f"127.0.0.1:{listener.getsockname()[1]}"

    def open_sockets(process):
        with urlopen(f"http://{process.metrics}/metrics", timeout=ANSWER) as answer:
            text = answer.read().decode()
        return sum(map(float, re.findall(r"^holodrive_sockets{.*} (\S+)$", text, re.M)))

    with closing(RemoteSocket(address, "/ws/notifications/", make_user())):
        assert sorted(map(open_sockets, both)) == [0, 1]


def test_who_comes_while_nothing_runs_waits(listener, supervised):
    first = supervised()
    assert first.heard() == "READY=1"
    first.process.terminate()
    assert first.process.wait(20) == 0
    with closing(socket.create_connection(listener.getsockname())) as early:
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        supervised()
        early.settimeout(ANSWER)
        assert early.recv(100).startswith(b"HTTP/1.1 200")


def test_what_is_no_listening_socket_is_one_line(supervised):
    left, right = socket.socketpair()
    with closing(left), closing(right):
        wrong = supervised(left)
        assert wrong.process.wait(20) == 1
    assert re.fullmatch(r"CommandError: --fd \d+ is no listening TCP socket\n", wrong.log())


def test_systemd_has_nothing_to_say_against_the_units(tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        missing("The systemd units", "systemd-analyze")
    copies = []
    for path in UNITS.iterdir():
        copies.append(tmp_path / path.name)
        text = path.read_text().replace(PYTHON, sys.executable)
        copies[-1].write_text(text)
    run = subprocess.run(
        [program, "verify", *copies], capture_output=True, text=True, timeout=START
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_systemd_never_gives_up_a_process_and_with_it_the_port():
    """It does after five starts in ten seconds: then nobody listens, whatever becomes well."""
    assert unit("holodrive@.service")["Unit"]["StartLimitIntervalSec"] == "0"


def test_systemd_waits_for_the_drain():
    service = unit("holodrive@.service")["Service"]
    assert int(service["TimeoutStopSec"]) > settings.REALTIME_DRAIN_SECONDS + 3 + 2
