"""The Java library's own WebSocket (java.net.http) against a real `manage.py serve`: every form of
a URL, refusals, and one conversation over a reconnect.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from holodrive.realtime.tests.test_clients import FORMS, NOTIFICATIONS, verdict
from notifications.models import Notification
from testing.client import access_token, bearer
from testing.java import Java, JavaSocket, missing_for_java
from testing.parts import missing
from testing.server import ServerProcess


@pytest.fixture(scope="module")
def java() -> Iterator[Java]:
    if lacking := missing_for_java():
        missing("The Java client", *lacking)
    process = Java()
    yield process
    process.stop()


OpenJava = Callable[..., JavaSocket]


@pytest.fixture
def open_java(java: Java, server: ServerProcess) -> Iterator[OpenJava]:
    """Opens a socket: `open_java(path, headers, protocols)`; a refused handshake raises
    RefusedError.
    """
    sockets: list[JavaSocket] = []

    def open_socket(
        path: str, headers: dict[str, str] | None = None, protocols: list[str] | None = None
    ) -> JavaSocket:
        socket = JavaSocket(java, server.address, path, headers or {}, protocols or [])
        sockets.append(socket)
        assert socket.protocol == ("jwt" if protocols else None)
        return socket

    yield open_socket
    for socket in sockets:
        socket.close()


@pytest.mark.parametrize("form", FORMS)
def test_java_is_accepted_in_every_form(
    form: str, open_java: OpenJava, rider: Any, chat: int
) -> None:
    socket = open_java(**FORMS[form].of(access_token(rider), rider, chat))
    welcome = socket.frame("connection_established")
    if form in NOTIFICATIONS:
        documented: Any = {"message": "Connected to notifications", "user_id": str(rider.pk)}
    else:
        documented = {"message": "Connected to chat", "conversation_id": chat}
    assert welcome.items() >= documented.items()


def test_java_sees_why_it_is_refused_in_every_form(
    open_java: OpenJava, rider: Any, chat: int
) -> None:
    verdicts = {
        name: verdict(open_java, **form.of("garbage", rider, chat)) for name, form in FORMS.items()
    }
    assert verdicts == dict.fromkeys(FORMS, ("unauthenticated", 4401))


def test_java_sees_each_class_of_refusal(open_java: OpenJava, rider: Any, chat: int) -> None:
    token = bearer(access_token(rider))
    foreign = {"Origin": "https://evil.example"}
    assert verdict(open_java, "/ws/notifications/", token) == "connected"  # with no Origin at all
    assert verdict(open_java, "/ws/notifications/", token | foreign) == 403
    assert verdict(open_java, f"/ws/chat/{chat + 1000}/", token) == ("not_found", 4404)
    cookie = {"Cookie": "sessionid=any"}
    assert verdict(open_java, "/ws/notifications/", cookie) == ("forbidden", 4403)


def test_java_holds_a_conversation_over_a_reconnect(
    open_java: OpenJava, rider: Any, driver: Any, chat: int
) -> None:
    token = access_token(rider)
    riders = open_java(f"/ws/chat/{chat}", bearer(token))
    drivers = open_java(f"/ws/chat/{chat}/?token={access_token(driver)}")
    for socket in (riders, drivers):
        assert socket.frame("connection_established")["last_seq"] == 0

    said = "Where are you? \N{TAXI} " + "О, где же ты? " * 250  # more than one frame for Java
    riders.send("chat_message", message=said, client_message_id="a1")
    ack, own = riders.frame("message_ack"), riders.text("chat_message")
    assert (ack["client_message_id"], ack["duplicate"], ack["seq"]) == ("a1", False, 1)
    heard = drivers.text("chat_message")
    assert heard == own
    assert json.loads(heard)["message"] == said

    riders.close()
    for answer in ("At the gate.", "The blue one."):
        drivers.send("chat_message", message=answer)
    missed = [drivers.text("chat_message") for _ in range(2)]

    riders = open_java(f"/ws/chat/{chat}/{token}?last_seq=1")
    assert riders.frame("connection_established")["last_seq"] == 3
    assert [riders.read(), riders.read()] == missed
    assert riders.frame("resumed") == {
        "type": "resumed", "recovered": True, "from_seq": 1, "to_seq": 3, "count": 2,
    }  # fmt: skip
    riders.send("chat_message", message=said, client_message_id="a1")  # its ack was lost, say
    again = riders.frame("message_ack")
    assert (again["duplicate"], again["message_id"]) == (True, ack["message_id"])


def test_java_resumes_its_notifications(open_java: OpenJava, rider: Any) -> None:
    token = access_token(rider)
    socket = open_java("/ws/notifications/", {}, ["jwt", token])
    assert socket.frame("connection_established")["unread_count"] == 0
    first = Notification.objects.create(recipient=rider, title="Your driver is here")
    assert socket.frame("notification")["notification"]["id"] == first.pk

    socket.close()
    Notification.objects.create(recipient=rider, title="Your driver waits")
    socket = open_java(f"/ws/notifications/{rider.pk}/{token}?last_seq=1")
    assert socket.frame("connection_established")["unread_count"] == 2
    assert socket.frame("notification")["notification"]["title"] == "Your driver waits"
    assert socket.frame("resumed")["recovered"] is True
    socket.send("mark_as_read", notification_id=first.pk)
    assert socket.frame("notification_read")["unread_count"] == 1
