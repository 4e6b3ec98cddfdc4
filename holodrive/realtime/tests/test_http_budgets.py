"""What one HTTP client may cost the others: bodies, time, passwords, streams."""

import select
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from unittest.mock import MagicMock

import pytest
from twisted.internet.testing import StringTransport

from holodrive.realtime import http_channel
from testing.client import access_token, wait_until
from testing.http import Line
from testing.patience import PATIENCE
from testing.raw import resident_bytes
from testing.server import ServerProcess

pytestmark = pytest.mark.django_db(transaction=True)

SERVERS = ("serve", "uvicorn")
MB = 1_000_000
LIMIT = 2_621_440
JSON = "Content-Type: application/json"
STREAMS = {"DJANGO_SETTINGS_MODULE": "testing.streaming"}


@pytest.fixture(scope="module")
def all_streaming(django_db_setup, django_db_blocker):
    """Servers of a project that streams, which give a request a second to arrive."""
    with django_db_blocker.unblock(), ExitStack() as stack:
        found = {}
        for kind in SERVERS:
            found[kind] = ServerProcess(kind, **STREAMS, REALTIME_REQUEST_SECONDS="1")
            stack.callback(found[kind].discard)
        yield found


@pytest.fixture
def streaming(all_streaming, transactional_db):
    return all_streaming["serve"]


@pytest.fixture(params=SERVERS)
def any_server(request, all_streaming, transactional_db):
    return all_streaming[request.param]


@pytest.fixture
def line():
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(Line(*args, **options))


def bearer(user):
    return f"Authorization: Bearer {access_token(user)}"


def test_a_preflight_passes_where_the_request_after_it_is_refused(start_server, line):
    """So that the page can read when to try again."""
    server = start_server("uvicorn", REALTIME_REQUESTS_PER_SECOND="1")
    origin = "Origin: https://holodrive.example"
    asks = "Access-Control-Request-Method: POST"
    headers = ("Content-Length: 2", JSON, origin)
    for _ in range(60):
        # Together: one after another, a busy machine asks no faster than the budget allows.
        lines = [line(server).send("POST /api/token/", *headers, body=b"{}") for _ in range(10)]
        plain = line(server).send("OPTIONS /api/token/", origin)
        preflight = line(server).send("OPTIONS /api/token/", origin, asks)
        answer = [one.answer() for one in lines][-1]
        assert preflight.answer().status == 200
        refused = [answer.status, plain.answer(head_only=True).status]
        if refused == [429, 429]:
            break
    assert refused == [429, 429]
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["access-control-allow-origin"] == "https://holodrive.example"


# Bodies


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/healthz", ()),
        ("/metrics", ("Content-Type: multipart/form-data; boundary=x",)),
        ("/admin/login/", ("Content-Type: application/x-www-form-urlencoded",)),
        ("/static/none.css", ()),
        ("/ws/notifications/", ()),
        ("/api/token/", (JSON,)),
        ("/nothing", ("Expect: 100-continue",)),
    ],
)
def test_a_body_that_is_too_large_is_refused_before_it_comes(streaming, line, path, headers):
    answer = line(streaming).send(f"POST {path}", "Content-Length: 400000000", *headers).answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    if path.startswith("/api/"):
        assert answer.json() == {"code": "too_large", "message": "The body is too large."}


@pytest.mark.parametrize("length", ["9" * 4_400, "0" * 4_400])
def test_a_length_of_thousands_of_digits_is_answered(streaming, line, length):
    answer = line(streaming).send("POST /api/token/", f"Content-Length: {length}", JSON).answer()
    assert (answer.status, answer.json()["code"]) == (413, "too_large")


def test_a_page_of_another_site_can_read_that_it_was_refused(any_server, line):
    """As cors.py has it; `serve` refuses in the server, others in the application."""
    origin = "Origin: https://holodrive.example"
    headers = ("Content-Length: 400000000", JSON, origin)
    answer = line(any_server).send("POST /api/token/", *headers).answer()
    assert answer.status == 413
    assert answer.headers["access-control-allow-origin"] == "https://holodrive.example"
    foreign = line(any_server).send("POST /api/token/", *headers[:2], "Origin: null").answer()
    assert (foreign.status, "access-control-allow-origin" in foreign.headers) == (413, False)


def test_elsewhere_it_is_refused_before_it_comes_too(all_streaming, line, transactional_db):
    request = line(all_streaming["uvicorn"]).send(
        "POST /api/token/", "Content-Length: 400000000", JSON, "Expect: 100-continue"
    )
    assert request.answer().json()["code"] == "too_large"


def test_what_comes_in_chunks_is_refused_at_the_limit_and_kept_nowhere(any_server, line):
    for path in ("/nothing", "/api/token/"):
        before = resident_bytes(any_server)
        client = line(any_server).send(f"POST {path}", "Transfer-Encoding: chunked", JSON)
        sent, most = 0, before
        with suppress(OSError):
            while sent < 400 * MB:
                sent += client.socket.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
                most = max(most, resident_bytes(any_server))
        assert client.answer().status == 413
        assert sent < 100 * MB  # the rest was never read
        assert most - before < 60 * MB


def test_tiny_chunks_count_for_what_they_cost(streaming, line):
    client = line(streaming).send("POST /nothing", "Transfer-Encoding: chunked")
    with suppress(OSError):
        for _ in range(20):
            client.socket.sendall(b"1\r\nx\r\n" * 10_000)
    assert client.answer().status == 413


def test_a_body_within_the_limit_passes_and_the_client_is_asked_for_it(any_server, line):
    client = line(any_server).send(
        "POST /api/token/", "Content-Length: 2", JSON, "Expect: 100-continue"
    )
    assert client.answer().status == 100
    client.socket.sendall(b"{}")
    assert client.answer().json()["code"] == "invalid_message"


def test_a_path_for_uploads_takes_more(any_server, line):
    body = b"x" * (10 * LIMIT)
    for headers, sent in (
        ((f"Content-Length: {len(body)}",), body),
        (("Transfer-Encoding: chunked",), b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)),
    ):
        answer = line(any_server).send("POST /upload/", *headers, body=sent).answer()
        assert (answer.status, int(answer.body)) == (200, len(body))
    answer = line(any_server).send("POST /upload/", "Content-Length: 30000001").answer()
    assert answer.status == 413


def test_bodies_that_wait_are_bounded_for_an_address(streaming, line):
    """Three have a third of an address's share each, and a little more."""
    part = b"x" * (4 * LIMIT)
    lines = [line(streaming, address="203.0.113.1") for _ in range(3)]
    for each in lines:
        with suppress(OSError):
            each.send("POST /upload/", f"Content-Length: {8 * LIMIT}", body=part)
    answered, _, _ = select.select([each.socket for each in lines], [], [], 4 * PATIENCE)
    (refused,) = [each for each in lines if each.socket in answered]
    assert refused.answer().status == 429
    other = line(streaming, address="203.0.113.2")
    assert other.send("POST /upload/", "Content-Length: 3", body=b"abc").answer().status == 200


# Time


def test_a_request_that_drips_in_ends(streaming, line):
    for first in (b"GET / HT", b"GET /api/me/ HTTP/1.1\r\nHost: x\r\n"):
        client = line(streaming)
        client.socket.sendall(first)
        with suppress(OSError):
            for _ in range(50):  # a byte each 50 ms
                client.socket.sendall(b"x")
                time.sleep(0.05)
        assert client.answer().status == 408
        assert client.is_closed()


def test_a_body_that_drips_in_ends(any_server, line):
    client = line(any_server).send("POST /api/token/", "Content-Length: 5000", JSON)
    with suppress(OSError):
        for _ in range(50):
            client.socket.sendall(b" ")
            time.sleep(0.05)
    assert client.answer().json() == {
        "code": "invalid_message",
        "message": "The request took too long to arrive.",
    }
    assert client.is_closed()


def test_a_slow_upload_that_keeps_coming_arrives(any_server, line):
    """Two seconds and more, where one is allowed, at more than 500 bytes a second."""
    client = line(any_server).send("POST /upload/", "Content-Length: 10000", body=b"x" * 5000)
    for _ in range(25):
        client.socket.sendall(b"x" * 200)
        time.sleep(0.1)
    assert client.answer().status == 200


class Unanswered(http_channel.Request):
    def process(self):
        """Leave it to the test when this request is done."""
        self.content.close()


@pytest.fixture
def channel():
    """A connection without a network, and without a clock."""
    found = http_channel.Channel()
    found.factory, found.callLater, found.requestFactory = MagicMock(), MagicMock(), Unanswered
    found.makeConnection(StringTransport())
    return found


HEAD = b"POST / HTTP/1.1\r\nX: " + b"x" * 5000
GET = HEAD.replace(b"POST", b"GET") + b"\r\n\r\n"
POST = HEAD + b"\r\nContent-Length: 1\r\n\r\nx"
CHUNKED = HEAD + b"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
@pytest.mark.parametrize("request_", [GET, POST, CHUNKED], ids=["GET", "POST", "chunked"])
def test_requests_that_come_early_are_not_read(channel, request_, reads):
    """A small request let 64 KiB of the next ones into memory, again and again."""
    if reads:
        channel.dataReceived(request_ * 9)
    else:
        channel.dataReceived(request_)
        channel.pauseProducing()
        channel.dataReceived(request_ * 8)
        channel.resumeProducing()  # it reads again
    for left in range(8, 0, -1):
        is_much = left * len(request_) > 16_384
        assert (channel.transport.producerState == "paused") is is_much
        channel.requestDone(channel.requests[0])
    channel.requestDone(channel.requests[0])
    assert channel.transport.producerState == "producing"


def test_headers_that_are_too_large_are_told(streaming, line):
    assert line(streaming).send("GET /", f"Cookie: {'x' * 20_000}").answer().status == 431
    assert line(streaming).send(f"GET /api/me/?q={'x' * 20_000}").answer().status == 431


# Streams


def me(server, user):
    """Whether everybody else is served."""
    with Line(server) as client:
        assert client.send("GET /api/me/", bearer(user)).answer().status == 200
    with Line(server) as client:
        assert client.send("GET /admin/login/").answer(head_only=True).status == 200


@pytest.mark.parametrize("path", ["/events/", "/generated/"])
def test_streams_hold_nobody_up(any_server, line, make_user, path):
    user = make_user()
    clients = [line(any_server).send(f"GET {path}", bearer(user)) for _ in range(40)]
    me(any_server, user)
    for client in clients[:20]:
        assert client.answer(head_only=True).status == 200
        assert client.part() == b"data: here\n\n"
    me(any_server, user)


def test_long_polls_hold_nobody_up(any_server, line, make_user):
    user = make_user("admin")
    _ = [line(any_server).send("GET /poll/", bearer(user)) for _ in range(40)]
    wait_until(lambda: waiting(any_server) == 0, 4 * PATIENCE)
    for _ in range(3):
        me(any_server, user)


@pytest.mark.parametrize("path", ["/download/", "/page/"])
def test_slow_readers_hold_nobody_up(any_server, line, make_user, path):
    user = make_user()
    clients = [line(any_server, receive_buffer=4096) for _ in range(20)]
    for client in clients:
        client.send(f"GET {path}")
        assert client.answer(head_only=True).status == 200
    me(any_server, user)


def test_an_answer_that_nobody_reads_takes_no_memory(streaming, line):
    before = resident_bytes(streaming)
    clients = [line(streaming, receive_buffer=4096) for _ in range(20)]
    for client in clients:
        client.send("GET /download/")
        assert client.answer(head_only=True).status == 200
    time.sleep(0.5)  # for what must not be written
    assert resident_bytes(streaming) - before < 60 * MB


def test_all_of_a_long_answer_arrives(any_server, line):
    client = line(any_server).send("GET /rows/")
    client.answer(head_only=True)
    text = b"".join(iter(client.part, b""))
    assert text == b"".join(b"%d\n" % number for number in range(50_000))
    client = line(any_server).send("GET /download/")
    assert client.answer().body == bytes(10 * MB)


def waiting(server):
    return server.request("GET", "/readyz")[1].get("requests_waiting", 0)


def test_slow_requests_of_one_address_leave_places_to_others(start_server, line, make_user):
    user = make_user()
    server = start_server(**STREAMS, REALTIME_DATABASE_THREADS="4")
    _ = [line(server, address="203.0.113.1").send("GET /slow/") for _ in range(20)]
    wait_until(lambda: waiting(server) > 0)  # saturation is seen
    other = line(server, address="203.0.113.2").send("GET /api/me/", bearer(user))
    assert other.answer().status == 200
    assert waiting(server) > 0  # they are not through


# Passwords


def log_in(server, username, password, address):
    body = b'{"username": "%s", "password": "%s"}' % (username.encode(), password.encode())
    with Line(server, address=address, seconds=60) as client:
        length = f"Content-Length: {len(body)}"
        return client.send("POST /api/token/", JSON, length, body=body).answer()


def test_sixteen_logins_at_once_leave_the_rest_alone(start_server, line, make_user):
    user = make_user(password="correct horse")
    settings = {"LOGIN_FAILURES_PER_USER": "0", "LOGIN_FAILURES_PER_ADDRESS": "0"}
    server = start_server(**settings, REALTIME_DATABASE_THREADS="2")
    names = [user.username, "nobody"] * 8
    with ThreadPoolExecutor(16) as threads:
        logins = [threads.submit(log_in, server, name, "wrong", "203.0.113.1") for name in names]
        hashes = lambda: metric(server, "holodrive_hashes_waiting")  # noqa: E731
        wait_until(lambda: hashes() >= 8, 4 * PATIENCE)
        me(server, user)
        # Its turn comes after the one that runs, and not after fifteen.
        assert log_in(server, user.username, "correct horse", "203.0.113.2").status == 200
        statuses = {login.result().status for login in logins}
    assert statuses <= {401, 429}


def test_logins_that_wait_for_one_another_hold_no_places(start_server, line, make_user):
    """They held all of them, those that checked a password had none to end in, and the site stood
    still for thirty seconds.
    """
    user = make_user()
    server = start_server(**STREAMS, LOGIN_FAILURES_PER_USER="2", REALTIME_DATABASE_THREADS="4")
    addresses = ["203.0.113.1", "203.0.113.2"] * 8
    with ThreadPoolExecutor(16) as threads:
        logins = [threads.submit(log_in, server, "nobody", "wrong", each) for each in addresses]
        wait_until(lambda: metric(server, "holodrive_hashes_waiting") > 0, 4 * PATIENCE)
        me = line(server, address="203.0.113.3", seconds=60).send("GET /api/me/", bearer(user))
        assert me.answer().status == 200
        answers = [login.result() for login in logins]
    assert sorted(answer.status for answer in answers) == [401] * 4 + [429] * 12
    assert not any(b"at the same moment" in answer.body for answer in answers)  # none gave up


def metric(server, name):
    text = server.request("GET", "/metrics")[1]
    (found,) = [row for row in text.splitlines() if row.startswith(f"{name} ")]
    return float(found.split()[1])
