"""How a server stops: what its clients see, what they have afterwards, and that it ends in time."""

import json
import signal
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress

import pytest
from websockets.exceptions import ConnectionClosed

from chat.models import Message
from holodrive.realtime import drain
from holodrive.realtime.wire import CloseCode
from testing.client import access_token, wait_until
from testing.patience import ANSWER, PATIENCE, patience
from testing.raw import RawSocket

pytestmark = pytest.mark.django_db(transaction=True)

SLOW = {"DJANGO_SETTINGS_MODULE": "testing.slow"}
IN_TIME = drain.GRACE_SECONDS + 10.0  # behind the window: for the process to end


def frames_until_close(connection):
    """All frames that still come, as (type, frame), and the close."""
    frames = []
    with suppress(ConnectionClosed):
        while True:
            frames.append(json.loads(connection.recv(timeout=ANSWER)))
    close = connection.protocol.close_rcvd
    assert close is not None, "the connection was cut"
    return frames, close


@pytest.fixture
def opened():
    """Opens connections that are closed at the end: `opened(RawSocket, server, path, token)`."""
    with ExitStack() as stack:

        def open_one(kind, *args):
            return stack.enter_context(closing(kind(*args)))

        yield open_one


def stopping(server, how=signal.SIGTERM):
    """Begin to stop; `wait()` of what this returns gives the exit code."""
    process = server.process
    process.send_signal(how)
    return process


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_every_socket_is_told_when_to_come_back_and_closes_with_1012(
    start_server, dial, make_user, how
):
    server = start_server(REALTIME_DRAIN_SECONDS="5")
    users = [make_user() for _ in range(10)]
    bells = [dial(server, "/ws/notifications/", user) for user in users]
    process = stopping(server, how)
    delays = []
    for bell in bells:
        frames, close = frames_until_close(bell.connection)
        assert [frame["type"] for frame in frames] == ["reconnect"]
        assert (close.code, close.reason) == (1012, "restart")
        delays.append(frames[0]["delay_ms"])
    assert len(set(delays)) > 1
    assert all(0 <= delay <= 5000 for delay in delays)
    assert process.wait(IN_TIME) == 0
    assert server.log().count("socket ended") == 10
    assert server.log().count("code=1012") == 10
    assert "Traceback" not in server.log()


def test_closes_and_delays_are_spread_over_the_window():
    assert [len(batch) for batch in drain.batches(range(1000), 2.0)] == [50] * 20
    assert [len(batch) for batch in drain.batches(range(7), 10.0)] == [7]
    assert [len(batch) for batch in drain.batches(range(100_000), 0)] == [100_000]
    told = drain.delays(1000, 10.0)
    assert told != sorted(told)
    assert all(n * 10 <= delay < (n + 1) * 10 for n, delay in enumerate(sorted(told)))
    assert drain.delays(3, 0) == [0, 0, 0]
    assert drain.delays(0, 10.0) == []


def test_what_was_sent_before_is_stored_and_acked_before_the_close(start_server, dial, trip):
    server = start_server(**SLOW)  # every query takes 50 ms
    rider = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    sent = [f"c{number}" for number in range(5)]
    for each in sent:
        rider.send({"type": "chat_message", "message": "Hi", "client_message_id": each})
    wait_until(lambda: Message.objects.exists())
    process = stopping(server)
    frames, close = frames_until_close(rider.connection)
    assert close.code == 1012
    assert process.wait(IN_TIME + 10) == 0
    acked = [frame["client_message_id"] for frame in frames if frame["type"] == "message_ack"]
    stored = list(Message.objects.order_by("pk").values_list("client_message_id", flat=True))
    assert acked == stored == sent


def test_commands_that_do_not_end_in_time_are_cut_off_with_1012_as_well(start_server, dial, trip):
    server = start_server(REALTIME_DRAIN_SECONDS="0", REALTIME_FRAMES_PER_SECOND="0", **SLOW)
    rider = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    for _ in range(200):
        rider.send({"type": "chat_message", "message": "Hi"})
    rider.frame("message_ack")
    process = stopping(server)
    _, close = frames_until_close(rider.connection)
    assert (close.code, close.reason) == (1012, "restart")
    assert process.wait(IN_TIME) == 0
    assert 0 < Message.objects.count() < 200
    assert server.log().count("socket ended") == 1


def test_who_resumes_at_the_next_server_has_each_event_once(start_server, dial, trip):
    first, second = start_server(), start_server()
    driver = dial(first, f"/ws/chat/{trip.pk}/", trip.driver)
    rider = dial(second, f"/ws/chat/{trip.pk}/", trip.rider)
    done = threading.Event()

    def talk():
        for number in range(100):
            rider.send({"type": "chat_message", "message": f"m{number}"})
            rider.frame("message_ack")
        done.set()

    thread = threading.Thread(target=talk)
    thread.start()
    seqs = [driver.frame("chat_message")["seq"] for _ in range(20)]
    process = stopping(first)
    frames, close = frames_until_close(driver.connection)
    assert close.code == 1012
    seqs += [frame["seq"] for frame in frames if frame["type"] == "chat_message"]
    again = dial(second, f"/ws/chat/{trip.pk}/?last_seq={seqs[-1]}", trip.driver)
    while len(seqs) < 100:
        seqs.append(again.frame("chat_message")["seq"])
    thread.join()
    assert done.is_set()
    assert seqs == list(range(1, 101))
    assert process.wait(IN_TIME + 10) == 0


def test_what_the_end_of_a_socket_tells_others_still_leaves(start_server, dial, trip):
    first, second = start_server(), start_server()
    rider = dial(first, f"/ws/chat/{trip.pk}/", trip.rider)
    driver = dial(second, f"/ws/chat/{trip.pk}/", trip.driver)
    # Who is typing is told at once or never: the second server may not have joined on Redis yet.
    for _ in range(4):
        rider.send({"type": "typing", "is_typing": True})
        with suppress(TimeoutError):
            assert driver.frame("typing", seconds=1.5)["is_typing"]
            break
    process = stopping(first)
    while driver.frame("typing")["is_typing"]:
        pass
    assert frames_until_close(rider.connection)[1].code == 1012
    assert process.wait(IN_TIME + 10) == 0
    assert "Traceback" not in first.log()
    assert "Task was destroyed" not in first.log()


def test_clients_that_answer_nothing_and_read_nothing_do_not_hold_the_server(
    start_server, make_user, opened
):
    server = start_server(REALTIME_DRAIN_SECONDS="1")
    users = [make_user() for _ in range(3)]
    for user in users:
        opened(RawSocket, server, "/ws/notifications/", access_token(user))
    began = time.monotonic()
    assert stopping(server).wait(1 + IN_TIME) == 0
    assert time.monotonic() - began >= drain.GRACE_SECONDS / 2  # they had their time to answer
    assert server.log().count("code=1012") == 3


def test_more_signals(start_server, make_user, opened):
    """The second changes nothing, the third ends the waiting; never with another exit code."""
    server = start_server(REALTIME_DRAIN_SECONDS="60")
    opened(RawSocket, server, "/ws/notifications/", access_token(make_user()))
    process = stopping(server)
    wait_until(lambda: "stopping: 1 sockets" in server.log())
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "still stopping" in server.log())
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert server.log().count("socket ended") == 1
    assert "Traceback" not in server.log()


def test_while_it_stops_readiness_fails_newcomers_are_refused_and_requests_are_answered(
    start_server, make_user, opened
):
    server = start_server(REALTIME_DRAIN_SECONDS="60")
    token = access_token(make_user())
    opened(RawSocket, server, "/ws/notifications/", token)  # keeps it waiting
    probe, upgrade, late = (opened(Open, server) for _ in range(3))
    assert probe.get("/readyz")[0] == 200
    process = stopping(server)
    wait_until(lambda: "stopping: 1 sockets" in server.log())
    status, report = probe.get("/readyz")
    assert (status, json.loads(report)["draining"]) == (503, True)
    assert probe.get("/healthz")[0] == 200
    assert late.get("/api/me/", Authorization=f"Bearer {token}")[0] == 200
    assert upgrade.handshake("/ws/notifications/") == 503
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0


def test_a_request_that_runs_is_answered(start_server, make_user, opened):
    server = start_server(**SLOW)
    token = access_token(make_user())
    request = opened(Open, server)
    request.ask("/api/conversations/", Authorization=f"Bearer {token}")
    time.sleep(0.05)  # one of its queries: it is under way, or it is about to begin
    process = stopping(server)
    assert request.answer()[0] == 200
    assert process.wait(IN_TIME) == 0


def test_uvicorn_closes_with_1012_and_cleans_up(start_server, dial, make_user, opened):
    server = start_server("uvicorn", UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN="2")
    bells = [dial(server, "/ws/notifications/", make_user()) for _ in range(3)]
    opened(RawSocket, server, "/ws/notifications/", access_token(make_user()))
    process = stopping(server)
    for bell in bells:
        frames, close = frames_until_close(bell.connection)
        assert (frames, close.code) == ([], 1012)
    assert process.wait(2 + PATIENCE) in (0, -signal.SIGTERM)  # uvicorn raises it once more
    assert server.log().count("code=1012") == 4


def test_uvicorn_takes_a_second_sigterm_and_refuses_newcomers_while_it_stops(
    start_server, dial, make_user, opened
):
    server = start_server("uvicorn", UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN="20")
    bell = dial(server, "/ws/notifications/", make_user())
    request = opened(Open, server)
    request.begin("/api/token/", 2)  # it waits for this one
    process = stopping(server)
    frames, close = frames_until_close(bell.connection)
    assert (frames, close.code) == ([], 1012)
    wait_until(lambda: is_refused(server))
    process.send_signal(signal.SIGTERM)
    assert process.poll() is None
    request.finish(b"{}")
    assert request.answer()[0] == 400
    assert process.wait(PATIENCE) in (0, -signal.SIGTERM)
    assert server.log().count("code=1012") == 1
    assert "Traceback" not in server.log()


def is_refused(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_reason_fits_into_a_close_frame():
    for code in CloseCode:
        assert 0 < len(code.reason.encode()) <= 123


class Open:
    """A connection that is open before anything is asked over it."""

    def __init__(self, server):
        self._socket = socket.create_connection(("127.0.0.1", server.port), patience(10))
        self._file = self._socket.makefile("rb")

    def ask(self, path, **headers):
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def begin(self, path, length):
        """A POST whose body is awaited by the application when this returns."""
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
        lines += [f"Content-Length: {length}", "Expect: 100-continue", "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        assert int(self._file.readline().split()[1]) == 100
        assert self._file.readline() == b"\r\n"

    def finish(self, body):
        self._socket.sendall(body)

    def answer(self):
        status = int(self._file.readline().split()[1])
        length = 0
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            if name.lower() == "content-length":
                length = int(value)
        return status, self._file.read(length)

    def close(self):
        self._file.close()
        self._socket.close()

    def get(self, path, **headers):
        self.ask(path, **headers)
        return self.answer()

    def handshake(self, path):
        return self.get(
            path,
            Upgrade="websocket",
            Connection="Upgrade",
            Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
            Sec_WebSocket_Version="13",
        )[0]
