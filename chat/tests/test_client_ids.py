"""The ids that apps give their messages: the sender sees them as sent, whatever they are; others
see none that may hold a contact.
"""

import json
import random
import uuid

import pytest
from asgiref.sync import sync_to_async

from chat import events, masking, services
from chat.models import Message
from holodrive.realtime import wire
from holodrive.realtime.models import Event

pytestmark = pytest.mark.django_db(transaction=True)

TELLING = [
    "+998901234567",
    "998901234567",
    "90 123 45 67",
    "90-123-45-67",
    "call:901234567",
    "m-901234567",
    "x901234567x",
    "9a0b1c2d3e4f5g6h7",
    "1-90-123-45-67",
    "90-123-45-67.1",
    "0-90-123-45-67-0",
    "msg1:998:90:123:45:67",
    "12-90-1234567",
    "1998901234567",
    "msg-1998901234567-2",
    "00000000-0000-0000-0000-998901234567",
    "00000000-0000-4000-8000-000901234567",
    "901234567-0000-4000-8000-abcdefabcdef",
    "deadbeef-dead-4eef-8eef-998901234567",
    "deadbeef-dead-4eef-8eef-000901234567",
    "deadbeef-dead-4eef-8eef-079161234567",
    "deadbeefdead4eef8eef998901234567",
    "abc99890-1234-567a-8abc-abcdefabcdef",
    "ann@rides.example",
    "1-99x89x0x198x88x22",
    "v1:7916-123-45-67",
    "1764551234567-7916_123_45_67",
    "abcd-79161234567-ef01",
    "ann-at-gmail-dot-com",
    "whatsapp-ann_rides",
    "t.me/ann_rides",
    "t.me:annrides",
    "ann.rides.example.com",
    "@ann_rides",
    "call me at nine zero",
    "٩٠١٢٣٤٥٦٧",
]
PLAIN = [
    "a1",
    "local-17",
    "v1.2:17",
    "1796059206291-42",
    "1796059206291",
    "stopped-1796059206291134389",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "V1StGXR8_Z5jdHi6B-myT".replace("_", "-"),
    "6f1c2a9e-3b7d-4c58-9e1f-0a2b4c6d8e0f",
]


def said(id, text="Where are you?"):
    return {"type": "chat_message", "message": text, "client_message_id": id}


@pytest.mark.parametrize("id", TELLING)
def test_what_may_hold_a_contact_is_null_for_others(id):
    assert events.shared_id(id) is None


@pytest.mark.parametrize("size", [8, 12, 16, 20, 32])
def test_random_ids_are_seen_by_all(size):
    chance = random.Random(7)  # noqa: S311 - the same ids each time
    ids = [chance.randbytes(size).hex() for _ in range(2_000)]
    assert sum(events.shared_id(id) is None for id in ids) <= 2
    if size == 16:
        uuids = [str(uuid.UUID(id)) for id in ids]
        assert sum(events.shared_id(id) is None for id in uuids) <= 2


@pytest.mark.parametrize("id", TELLING[:2])
async def test_the_sender_alone_sees_an_id_that_may_hold_a_contact(id, trip, connect, rest_of):
    path = f"/ws/chat/{trip.pk}/"
    rider, phone = await connect(path, trip.rider), await connect(path, trip.rider)
    driver = await connect(path, trip.driver)
    rider.send(said(id))
    kinds = set()
    while not kinds >= {"message_ack", "chat_message"}:  # in either order
        if "client_message_id" in (frame := await rider.frame()):
            assert frame["client_message_id"] == id
            kinds.add(frame["type"])
    assert (await phone.frame("chat_message"))["client_message_id"] == id
    seen = await driver.frame("chat_message")
    assert (seen["client_message_id"], "own" in seen) == (None, False)
    for user, known in ((trip.rider, id), (trip.driver, None)):
        again = await connect(f"{path}?last_seq=0", user)
        missed = await again.frame("chat_message")
        assert (missed["client_message_id"], "own" in missed) == (known, False)
        assert (await again.frame("resumed"))["recovered"]

    def rest(user):
        answer = rest_of(user).get(f"/api/conversations/{trip.pk}/messages/")
        found = rest_of(user).get("/api/messages/search/", {"q": "Where"})
        ids = [one["client_message_id"] for one in answer.json()["results"]]
        return ids + [one["message"]["client_message_id"] for one in found.json()["results"]]

    assert await sync_to_async(rest)(trip.rider) == [id, id]
    assert await sync_to_async(rest)(trip.driver) == [None, None]


@pytest.mark.parametrize("id", PLAIN)
async def test_a_plain_id_is_everybodys_and_costs_no_frame_of_its_own(id, trip, connect):
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    send = sync_to_async(services.send_message)
    await send(user=trip.rider, conversation_id=trip.pk, text="Hi", client_message_id=id)
    assert (await driver.frame("chat_message"))["client_message_id"] == id
    assert '"own"' not in (await Event.objects.aget(text__startswith='{"type":"chat_message"')).text


def test_most_uuids_are_plain():
    ids = [str(uuid.UUID(int=n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for n in range(500)]
    assert sum(masking.is_plain_id(id, "UZ") for id in ids) > 400


def test_the_same_id_again_is_the_same_message_whatever_others_see(trip):
    send = {"user": trip.rider, "conversation_id": trip.pk, "client_message_id": "+998901234567"}
    first = services.send_message(text="Hi", **send)
    assert services.send_message(text="Hi", **send) == (first.message, True)
    assert Message.objects.get().client_message_id == "+998901234567"


def test_what_an_app_calls_own_in_its_data_is_left_alone():
    text = '{"type":"notification","data":{"a":1,"own":{"user_id":7,"fields":{}}},"seq":1}'
    assert wire.views(text) == (text, 0, text)


def test_an_event_of_ones_own_is_taken_apart():
    event = wire.Removal(user_id=3, seq=9)
    text = wire.encode_with(event, wire.Own(user_id=7, fields={"seq": 8}))
    assert wire.view_of(text, 3) == wire.encode(event)
    assert json.loads(wire.view_of(text, 7))["seq"] == 8
