"""Clients that do not read, and clients that send more than anybody can: real servers, raw sockets,
and the memory of the server's process as the system sees it.
"""

import json
import re
import threading
from contextlib import suppress

import pytest
from django.db import transaction

from chat.events import stream_of
from chat.models import Message
from holodrive.realtime import publish
from holodrive.realtime.wire import LoggedEvent
from testing.client import access_token, wait_until
from testing.raw import RawSocket, frame, resident_bytes

pytestmark = pytest.mark.django_db(transaction=True)

MEBIBYTE = 1024 * 1024
MORE_AT_MOST = 20 * MEBIBYTE  # of memory, for one client, whatever it does
A_LOT = 300 * MEBIBYTE
SERVERS = ["serve", "daphne", "uvicorn"]


@pytest.fixture
def opened():
    """Opens raw sockets, which are closed at the end."""
    sockets = []

    def open_one(*args, **options):
        sockets.append(RawSocket(*args, **options))
        return sockets[-1]

    yield open_one
    for each in sockets:
        each.close()


def metric(server, name):
    """The sum over its labels."""
    text = server.request("GET", "/metrics")[1]
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


@pytest.mark.parametrize("kind", SERVERS)
def test_who_does_not_read_300_mb_costs_little_and_is_cut_off(
    start_server, dial, opened, trip, kind
):
    server = start_server(kind)
    opened(server, f"/ws/chat/{trip.pk}/", access_token(trip.driver), receive_buffer=4096)
    rider = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    text = json.dumps({"type": "chat_message", "message": "x" * 65_000})
    at_first = most = 0
    seq = 0
    while seq * len(text) < A_LOT:
        # Not in the log: only the wake-ups count here. The other reader keeps the pace.
        events = [LoggedEvent(stream_of(trip.pk), seq + n, text) for n in range(1, 17)]
        received = 0
        for _ in range(5):  # a wake-up may be lost, and the log would not have it
            publish.announce(events)
            with suppress(TimeoutError):
                while received < len(events):
                    rider.frame("chat_message")
                    received += 1
                break
        assert received == len(events)
        seq += len(events)
        resident = resident_bytes(server)
        at_first = at_first or resident
        most = max(most, resident)
    print(f"{kind}: {at_first / MEBIBYTE:.1f} MiB, at most {most / MEBIBYTE:.1f}")  # noqa: T201
    assert most - at_first < MORE_AT_MOST
    wait_until(lambda: "code=4408" in server.log(), 15)  # it does not answer the close either
    assert metric(server, "holodrive_sockets") == 1


@pytest.mark.parametrize("kind", SERVERS)
def test_a_resume_of_more_than_the_outbox_waits_for_its_reader(start_server, opened, trip, kind):
    with transaction.atomic():
        for _ in range(600):
            Message(conversation=trip, sender=trip.rider, text="🚕" * 4000).save()
    server = start_server(kind, REALTIME_RESUME_LIMIT="1000")
    driver = opened(
        server, f"/ws/chat/{trip.pk}/?last_seq=0", access_token(trip.driver), receive_buffer=4096
    )
    wait_until(lambda: metric(server, "holodrive_outbox_bytes") > 16_000, 20)
    # The connection is full. What is committed from here on comes behind what was missed.
    Message(conversation=trip, sender=trip.rider, text="live").save()
    seqs = []
    while len(seqs) < 601:
        received = driver.read()
        assert isinstance(received, str), f"closed with {received} after {len(seqs)} frames"
        told = json.loads(received)
        if told["type"] == "chat_message":
            seqs.append(told["seq"])
        elif told["type"] == "resumed":
            assert (told["recovered"], told["count"], len(seqs)) == (True, 600, 600)
    assert seqs == list(range(1, 602))


@pytest.mark.parametrize("kind", ["serve", "uvicorn"])
def test_who_sends_300_mb_costs_little(start_server, dial, opened, make_user, kind):
    """Each frame takes the server 50 ms and more; so it pushes back, or it keeps what it reads."""
    settings = {"DJANGO_SETTINGS_MODULE": "testing.slow", "REALTIME_FRAMES_PER_SECOND": "0"}
    server = start_server(kind, **settings)
    flooding = opened(server, "/ws/notifications/", access_token(make_user()))
    flooding.socket.settimeout(2)  # pushed back
    other = dial(server, "/ws/notifications/", make_user())
    command = {"type": "mark_as_read", "notification_id": 1, "more": "x" * 60_000}
    content = frame(json.dumps(command)) * 16
    before = resident_bytes(server)
    with suppress(OSError):
        for _ in range(A_LOT // len(content)):
            flooding.socket.sendall(content)
    more = resident_bytes(server) - before
    print(f"{kind}: {before / MEBIBYTE:.1f} MiB and {more / MEBIBYTE:.1f} more")  # noqa: T201
    assert more < MORE_AT_MOST
    other.send({"type": "ping"})
    other.frame("pong")


def test_a_flood_of_tiny_frames_leaves_the_others_their_turn(start_server, dial, opened, trip):
    server = start_server()
    flooding = opened(server, "/ws/notifications/", access_token(trip.rider))
    content = frame("{}") * 10_000  # each is answered with an error, which is not read either
    stop = threading.Event()

    def flood():
        with suppress(OSError):  # cut off
            while not stop.is_set():
                flooding.socket.sendall(content)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        driver = dial(server, f"/ws/chat/{trip.pk}/", trip.driver)
        for _ in range(20):
            driver.send({"type": "chat_message", "message": "Hi"})
            driver.frame("message_ack")
    finally:
        stop.set()
        flooding.close()
        thread.join()
