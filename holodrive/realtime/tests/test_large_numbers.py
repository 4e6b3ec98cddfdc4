"""Numbers that JavaScript would round, and numbers that Python refuses to read."""

import json

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from chat.events import ParticipantRemoved
from holodrive.realtime import wire
from notifications import events
from notifications.models import Notification
from testing.client import access_token

SAFE = 2**53 - 1


def bearer(user):
    return {"Authorization": f"Bearer {access_token(user)}"}


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (SAFE, SAFE),
        (-SAFE, -SAFE),
        (SAFE + 1, str(SAFE + 1)),
        (-SAFE - 1, str(-SAFE - 1)),
        (2**63 - 1, str(2**63 - 1)),
        (10**40, "1" + "0" * 40),
        (True, True),
        (1e300, 1e300),
        (None, None),
        ("9007199254740993", "9007199254740993"),
        ({"trip": SAFE + 2, "of": [{"id": 7}]}, {"trip": str(SAFE + 2), "of": [{"id": 7}]}),
        ([SAFE + 2, [SAFE + 2]], [str(SAFE + 2), [str(SAFE + 2)]]),
    ],
)
def test_only_what_would_be_rounded_is_text(content, shown):
    assert wire.readable(content) == shown


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("0" * 4_400, None),
        ("1" * 4_400, None),
        ("-1", None),
        ("+1", None),
        ("1_000", None),
        ("1.0", None),
        ("1e3", None),
        (" 1", None),
        ("1\n", None),
        ("١", None),
        ("²", None),
        ("", None),
    ],
)
def test_a_whole_number_is_ascii_digits_within_bigint(text, number):
    assert wire.whole_number(text) == number


@pytest.mark.parametrize("related", [7, SAFE, SAFE + 2, 2**63 - 1, 1764580123456345679])
async def test_a_large_id_of_the_host_arrives_whole_by_socket_and_rest(connect, make_user, related):
    user = await sync_to_async(make_user)()
    socket = await connect("/ws/notifications/", user)
    create = sync_to_async(Notification.objects.create)
    await create(recipient=user, title="Paid", related_object_id=related, data={"order": related})
    frame = await socket.frame("notification")
    expected = related if related <= SAFE else str(related)
    assert frame["notification"]["related_object_id"] == expected
    assert frame["notification"]["data"] == {"order": expected}
    answer = await sync_to_async(Client().get)(
        "/api/notifications/", headers=await sync_to_async(bearer)(user)
    )
    (shown,) = answer.json()["results"]
    assert (shown["related_object_id"], shown["data"]) == (expected, {"order": expected})
    again = await connect("/ws/notifications/?last_seq=0", user)
    assert await again.frame("notification") == frame


def test_the_log_keeps_numbers_and_every_view_of_it_has_text():
    removal = ParticipantRemoved(user_id=SAFE + 2, seq=1)
    assert json.loads(wire.encode_logged(removal))["user_id"] == SAFE + 2
    text = wire.encode_with(removal, wire.Own(user_id=SAFE + 4, fields={"trip": SAFE + 6}))
    assert wire.removed_user(text) == SAFE + 2
    shared = {"type": "participant_removed", "seq": 1, "user_id": str(SAFE + 2)}
    views = wire.views(text)
    assert (json.loads(views.shared), views.user_id) == (shared, SAFE + 4)
    assert json.loads(views.own) == shared | {"trip": str(SAFE + 6)}
    assert wire.view_of(wire.encode_logged(removal), 1) == wire.encode(removal)


def test_a_frame_without_large_numbers_is_encoded_once(monkeypatch):
    monkeypatch.setattr(wire, "readable", lambda _: pytest.fail("was walked"))
    text = wire.encode(events.AlreadyRead(notification_id=7, unread_count=0))
    assert json.loads(text)["notification_id"] == 7


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("form", [int, str])
def test_an_assignee_is_read_as_a_number_and_as_text(trip, make_user, form):
    admin = make_user("admin")
    answer = Client().patch(
        f"/api/conversations/{trip.pk}/",
        {"assignee": form(admin.pk)},
        "application/json",
        headers=bearer(admin),
    )
    assert answer.json()["assignee"]["user_id"] == admin.pk


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("wrong", ["0", "7\n", "²", "9" * 19, "x", ""])
def test_an_assignee_that_is_no_id_is_400(trip, make_user, wrong):
    answer = Client().patch(
        f"/api/conversations/{trip.pk}/",
        {"assignee": wrong},
        "application/json",
        headers=bearer(make_user("admin")),
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


@pytest.mark.parametrize("asked", ["0" * 4_400, "9" * 4_400, "-1", "1.5", "null"])
async def test_a_last_seq_that_is_no_number_is_said_and_the_socket_lives(connect, make_user, asked):
    user = await sync_to_async(make_user)()
    socket = await connect(f"/ws/notifications/?last_seq={asked}", user, first_frame=False)
    assert (await socket.frame("error"))["ref"] == "resume"
    socket.send({"type": "ping"})
    await socket.frame("pong")


@pytest.mark.parametrize("digits", [20, 400, 4_400])
def test_an_integer_that_is_too_large_is_json_all_the_same(digits, make_user):
    number = "9" * digits
    reader = wire.CommandReader((events.MarkAsRead, events.MarkAllAsRead), 65_536)
    with pytest.raises(wire.InvalidMessage) as problem:
        reader.read(f'{{"type":"mark_as_read","notification_id":{number}}}')
    assert problem.value.ref == "mark_as_read"
    answer = Client().post(
        "/api/notifications/read-all/",
        f'{{"up_to_id":{number}}}',
        "application/json",
        headers=bearer(make_user()),
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")
