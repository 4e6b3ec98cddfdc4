"""A real `manage.py serve` with a real Valkey, which the tests kill and freeze."""

import contextlib
import json
import threading
import time

import pytest
from django.contrib.auth import get_user_model
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from chat.models import Message
from notifications.models import Notification
from testing.client import RemoteSocket, access_token, bearer
from testing.patience import ANSWER, PATIENCE, patience

pytestmark = pytest.mark.django_db(transaction=True)

WITHOUT_REDIS = 3.0  # seconds: promise 1 of the design
SAVE = (
    "from notifications.models import Notification; "
    "Notification.objects.create(recipient_id={}, title='{}')"
)


@pytest.mark.parametrize("kind", ["serve", "daphne", "uvicorn"])
def test_two_people_talk_on_every_server(start_server, dial, trip, kind):
    server = start_server(kind)
    rider = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    driver = dial(server, f"/ws/chat/{trip.pk}/", trip.driver)
    bell = dial(server, "/ws/notifications/", trip.driver)
    for number in range(20):
        rider.send(
            {"type": "chat_message", "message": f"m{number}", "client_message_id": f"c{number}"}
        )
    assert [driver.frame("chat_message")["seq"] for _ in range(20)] == list(range(1, 21))
    assert [rider.frame("message_ack")["seq"] for _ in range(20)] == list(range(1, 21))
    assert [bell.frame("notification")["unread_count"] for _ in range(20)] == list(range(1, 21))
    rider.connection.send(b"\x00")
    assert rider.frame("error")["code"] == "invalid_message"
    rider.connection.send('{"type": "chat_message", "message": "' + "x" * 1_000_000 + '"}')
    assert rider.frame("error")["code"] == "too_large"
    rider.send({"type": "ping"})
    assert rider.frame("pong")


def test_a_save_in_another_process_rings_within_a_second(server, dial, make_user):
    user = make_user()
    bell = dial(server, "/ws/notifications/", user)
    server.shell(SAVE.format(user.pk, "from the shell"))
    assert (
        bell.frame("notification", seconds=patience(1))["notification"]["title"] == "from the shell"
    )


def test_a_message_crosses_from_one_process_to_the_other(server, start_server, dial, trip):
    other = start_server()
    rider = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    driver = dial(other, f"/ws/chat/{trip.pk}/", trip.driver)
    for socket, name in ((rider, "rider"), (driver, "driver")):
        socket.send({"type": "chat_message", "message": f"from the {name}"})
        for receiver in (rider, driver):
            assert receiver.frame("chat_message")["message"] == f"from the {name}"
    rider.send({"type": "typing", "is_typing": True})
    assert driver.frame("typing")["is_typing"]


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_without_redis_a_save_succeeds_and_arrives_all_the_same(
    start_server, dial, valkey, trip, fault
):
    server, other = start_server(REDIS_URL=valkey.url), start_server(REDIS_URL=valkey.url)
    driver = dial(other, f"/ws/chat/{trip.pk}/", trip.driver)
    bell = dial(server, "/ws/notifications/", trip.rider)
    getattr(valkey, fault)()
    rider = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    rider.send({"type": "chat_message", "message": "Are you there?"})
    assert rider.frame("message_ack", seconds=patience(1))
    assert driver.frame("chat_message", seconds=WITHOUT_REDIS)["message"] == "Are you there?"
    took = server.shell(
        f"import time; began = time.monotonic(); {SAVE.format(trip.rider.pk, 'still rings')}; "
        "print(time.monotonic() - began)"
    )
    assert (
        bell.frame("notification", seconds=WITHOUT_REDIS)["notification"]["title"] == "still rings"
    )
    assert float(took) < 1.0  # the promise: a writer never waits longer for Redis
    valkey.thaw() if fault == "freeze" else valkey.start()
    rider.send({"type": "chat_message", "message": "Redis is back"})
    assert driver.frame("chat_message")["message"] == "Redis is back"


def test_nothing_is_lost_or_doubled_while_redis_comes_and_goes(start_server, dial, valkey, trip):
    server, other = start_server(REDIS_URL=valkey.url), start_server(REDIS_URL=valkey.url)
    rider = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    driver = dial(other, f"/ws/chat/{trip.pk}/", trip.driver)
    for number in range(60):
        if number in (10, 40):
            valkey.kill()
        if number in (25, 50):
            valkey.start()
        rider.send({"type": "chat_message", "message": f"m{number}"})
        rider.frame("message_ack")
    got = [driver.frame("chat_message") for _ in range(60)]
    assert [frame["seq"] for frame in got] == list(range(1, 61))
    assert [frame["message"] for frame in got] == [f"m{number}" for number in range(60)]


def test_a_message_is_stored_once_though_the_server_died_before_its_ack(start_server, dial, trip):
    server = start_server()
    rider = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    message = {"type": "chat_message", "message": "Hi", "client_message_id": "a1"}
    rider.send(message)
    deadline = time.monotonic() + PATIENCE
    while not Message.objects.exists():
        assert time.monotonic() < deadline
    server.kill()  # committed; whether the ack left is not known, so the client sends again
    server.start()
    again = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    again.send(message)
    ack = again.frame("message_ack")
    assert (ack["duplicate"], ack["seq"]) == (True, 1)
    assert Message.objects.count() == 1


def test_200_logins_at_once_on_a_slow_database_all_succeed(start_server, make_user):
    """Every query takes 50 ms (testing/slow.py); one thread for all of them would let 86 in."""
    users = [make_user() for _ in range(25)]
    tokens = [access_token(users[n % 25]) for n in range(200)]
    server = start_server(DJANGO_SETTINGS_MODULE="testing.slow")
    welcomes, problems = [], []

    def log_in(token):
        try:
            socket = RemoteSocket(
                server.address,
                f"/ws/notifications/?token={token}",
                open_timeout=ANSWER,
                ping_interval=None,
            )
            welcomes.append(socket.frame(seconds=ANSWER))
            socket.close()
        except Exception as problem:  # noqa: BLE001 - counted
            problems.append(problem)

    threads = [threading.Thread(target=log_in, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert [frame["type"] for frame in welcomes] == ["connection_established"] * 200


def test_a_chat_goes_on_while_ten_thousand_are_notified(server, dial, trip):
    users = get_user_model()
    users.objects.bulk_create(users(username=f"u{n}", password="!") for n in range(10_000))
    rider = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    finished = threading.Event()

    def announce():
        server.shell(
            "from django.contrib.auth import get_user_model; "
            "from notifications.models import Notification; "
            "users = get_user_model().objects.filter(username__startswith='u'); "
            "Notification.objects.notify(users, title='Service on Sunday')"
        )
        finished.set()

    thread = threading.Thread(target=announce)
    thread.start()
    deadline = time.monotonic() + patience(30)
    while not Notification.objects.exists():
        assert time.monotonic() < deadline
    answered = 0
    while not finished.is_set():
        rider.send({"type": "chat_message", "message": "Where are you?"})
        rider.frame("message_ack", seconds=PATIENCE)
        answered += 1
    thread.join()
    assert answered > 0
    assert Notification.objects.filter(title="Service on Sunday").count() == 10_000


def test_who_offers_compression_as_browsers_do_gets_in_without_it(server, dial, make_user):
    user = make_user()
    token = bearer(access_token(user))
    url = f"ws://{server.address}/ws/notifications/"
    with connect(
        url, additional_headers=token, compression="deflate", open_timeout=ANSWER
    ) as socket:
        assert json.loads(socket.recv())["type"] == "connection_established"
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


def test_a_frame_that_is_no_utf8_ends_with_1007(server, dial, make_user):
    socket = dial(server, "/ws/notifications/", make_user())
    with contextlib.suppress(ConnectionClosed):
        socket.connection.send(b"\xff\xfe", text=True)
        socket.connection.recv(timeout=PATIENCE)
    assert socket.connection.close_code == 1007


def test_a_frame_above_one_mebibyte_ends_with_1009(server, dial, make_user):
    socket = dial(server, "/ws/notifications/", make_user())
    with contextlib.suppress(ConnectionClosed):
        socket.connection.send("x" * (1024 * 1024 + 1))
        socket.connection.recv(timeout=PATIENCE)
    assert socket.connection.close_code == 1009


def test_a_socket_that_ends_leaves_one_line(server, dial, make_user):
    user = make_user()
    socket = dial(server, "/ws/notifications/", user)
    socket.send({"type": "ping"})
    socket.frame("pong")
    session = socket.welcome["session_id"]
    socket.close()
    deadline = time.monotonic() + PATIENCE
    while f"session={session}" not in server.log():
        assert time.monotonic() < deadline
    line = next(line for line in server.log().splitlines() if session in line)
    for part in (
        "endpoint=notifications",
        f"user={user.pk}",
        "code=1000",
        "in=1",
        "out=2",
        "seconds=",
    ):
        assert part in line


def test_health_readiness_and_metrics_answer_any_host(server, dial, make_user):
    bell = dial(server, "/ws/notifications/", make_user())
    assert bell.welcome
    anywhere = {"Host": "10.1.2.3"}
    assert server.request("GET", "/healthz", headers=anywhere) == (200, {"status": "ok"})
    assert server.request("GET", "/readyz", headers=anywhere) == (
        200,
        {"status": "ok", "database": "ok", "redis": "ok", "draining": False},
    )
    status, text = server.request("GET", "/metrics", headers=anywhere)
    assert status == 200
    for name in (
        'holodrive_sockets{endpoint="notifications"}',
        "holodrive_deliveries_total",
        "holodrive_publish_to_send_seconds_bucket",
        "holodrive_closes_total",
        "holodrive_resumes_total",
        "holodrive_outbox_bytes",
        "holodrive_publish_failures_total",
    ):
        assert name in text


def test_readiness_says_which_part_is_away(start_server, valkey):
    server = start_server(REDIS_URL=valkey.url)
    valkey.kill()
    status, report = server.request("GET", "/readyz")
    assert (status, report["redis"], report["database"]) == (200, "unreachable", "ok")


def test_a_stop_leaves_no_traceback(start_server, dial, make_user):
    server = start_server()
    dial(server, "/ws/notifications/", make_user())
    server.stop()
    assert "Traceback" not in server.log()


def test_the_same_conversation_over_rest_and_socket(server, dial, trip):
    driver = dial(server, f"/ws/chat/{trip.pk}/", trip.driver)
    headers = bearer(access_token(trip.rider))
    path = f"/api/conversations/{trip.pk}/messages/"
    status, item = server.request("POST", path, {"message": "Hi"}, headers)
    assert status == 201
    assert driver.frame("chat_message") == item
    assert server.request("GET", path, headers=headers)[1] == {
        "results": [item],
        "has_more": False,
        "last_seq": 1,
    }
    assert json.dumps(item)
