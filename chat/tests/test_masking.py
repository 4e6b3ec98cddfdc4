"""Contact details between rider and driver: hidden wherever a message shows, kept as sent."""

import json
import time

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.db.models.signals import pre_save
from phonenumbers import SUPPORTED_REGIONS, PhoneMetadata, country_code_for_region

from chat import audit, events, masking, services
from chat.masking import MASK, masked
from chat.masking.numbering import FEWEST_DIGITS
from chat.models import AuditEntry, Message
from holodrive.realtime.models import Event
from holodrive.realtime.wire import IdempotencyConflict
from notifications.models import Notification

NUMBERS = [
    "+998901234567",
    "+998 90 123 45 67",
    "90 123 45 67",
    "901234567",
    "(90) 123-45-67",
    "9 0 1 2 3 4 5 6 7",
    "9.0.1.2.3.4.5.6.7",
    "+7 916 123-45-67",
    "+1 650-253-0000",
    "rider@example.com",
    "first.last+tag@mail.example.co.uk",
    "rider @ example.com",
]
HARMLESS = [
    "",
    "Entrance 4, flat 128",
    "It costs 150 000",
    "At 18:30 on 2025-11-22",
    "Order 12345678",
    "Plate 01 A 123 BC",
    "look at @me",
    "a@b",
]


@pytest.mark.parametrize("secret", NUMBERS)
def test_a_contact_is_hidden_wherever_it_stands(secret):
    assert masked(secret, "UZ") == MASK
    assert masked(f"call {secret}, please", "UZ") == f"call {MASK}, please"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_contact_stays(text):
    assert masked(text, "UZ") == text


def test_several_are_all_hidden():
    text = "901234567 or 911234567, or a@example.com"
    assert masked(text, "UZ") == f"{MASK} or {MASK}, or {MASK}"


@pytest.mark.parametrize("secret", NUMBERS)
def test_masking_twice_changes_nothing_more(secret):
    once = masked(f"{secret} {secret}", "UZ")
    assert masked(once, "UZ") == once


def test_numbers_without_a_country_code_are_of_the_region():
    assert masked("650-253-0000", "US") == MASK
    assert masked("650-253-0000", "UZ") == "650-253-0000"


PARTS = (
    "a|1|1 |a.|+1|9-|@|a@|(|٣|9|90 |998|901234567 |a at |a собака |@ |t.me/|o|90o|%39|https://"
    "|41.27641,|12:34 |150 000 |1,000.|12.11.|192.168.|4111 |so'm |tg |a-|\u200b9|[at]|a "
    "|a-at-|собака a_ |vk . "
)


@pytest.mark.parametrize("part", PARTS.split("|"))
def test_no_text_of_4000_characters_takes_long(part):
    began = time.process_time()
    masked((part * 4000)[:4000], "UZ")
    assert time.process_time() - began < 5  # a square or worse takes minutes


def test_no_country_has_a_number_too_short_to_be_looked_for():
    shortest = min(
        len(str(country_code_for_region(region)))
        + min(PhoneMetadata.metadata_for_region(region).general_desc.possible_length)
        for region in SUPPORTED_REGIONS
    )
    assert shortest == FEWEST_DIGITS
    assert masked("call +431110", "UZ") == f"call {MASK}"


# In conversations

SECRET = "Call me: 90 123 45 67"
SHOWN = f"Call me: {MASK}"


def send(user, conversation, text=SECRET, **more):
    return services.send_message(user=user, conversation_id=conversation.pk, text=text, **more)


@pytest.mark.django_db(transaction=True)
def test_nothing_that_leaves_the_server_has_the_number(trip, rest_of):
    message = send(trip.rider, trip).message
    stored = Message.objects.get()
    assert (stored.text, stored.original) == (SHOWN, SECRET)
    assert message.text == SHOWN
    clients = [rest_of(trip.driver), rest_of(trip.rider)]
    path = f"/api/conversations/{trip.pk}"
    for client in clients:
        (item,) = client.get(f"{path}/messages/").json()["results"]
        assert (item["message"], item["masked"]) == (SHOWN, True)
        assert client.get(f"{path}/").json()["last_message"]["message"] == SHOWN
        for needle in ("90 123", "45 67"):
            assert client.get("/api/messages/search/", {"q": needle}).json()["results"] == []
        assert len(client.get("/api/messages/search/", {"q": "Call me"}).json()["results"]) == 1
    assert SHOWN in Notification.objects.get(recipient=trip.driver).message
    assert Event.objects.count() > 1
    for event in Event.objects.all():
        assert "123 45" not in event.text


@pytest.mark.django_db(transaction=True)
def test_an_edit_is_masked_too_and_a_deletion_takes_the_original(trip):
    message = send(trip.rider, trip, "Hi").message
    edit = {"user": trip.rider, "conversation_id": trip.pk, "message_id": message.pk}
    assert services.edit_message(**edit, text=SECRET).changed
    assert Message.objects.get().original == SECRET
    assert not services.edit_message(**edit, text=SECRET).changed
    assert not services.edit_message(**edit, text=SHOWN).changed
    assert Message.objects.get().original == SECRET
    other = SECRET.replace("67", "68")
    assert services.edit_message(**edit, text=other).changed
    assert (Message.objects.get().text, Message.objects.get().original) == (SHOWN, other)
    assert services.edit_message(**edit, text="Bye").changed
    assert (Message.objects.get().text, Message.objects.get().original) == ("Bye", "")
    services.edit_message(**edit, text=SECRET)
    assert not Event.objects.filter(text__contains="123 45").exists()
    services.delete_message(**edit)
    assert (Message.objects.get().text, Message.objects.get().original) == ("", "")


@pytest.mark.django_db(transaction=True)
def test_a_save_of_another_field_keeps_the_original(trip):
    message = send(trip.rider, trip).message
    row = Message.objects.get(pk=message.pk)
    row.save()
    assert Message.objects.get().original == SECRET
    row.text = "901234567"
    row.save(update_fields=["text"])
    assert (Message.objects.get().text, Message.objects.get().original) == (MASK, "901234567")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("query", [["text"], ["id", "text"], ["sender", "text", "edited_at"]])
def test_a_row_of_which_a_part_was_read_stores_the_original_along(query, trip):
    send(trip.rider, trip)
    row = Message.objects.only(*query).get()
    row.text = "901234567"
    row.save()
    stored = Message.objects.get()
    assert (stored.text, stored.original) == (MASK, "901234567")
    assert stored.edited_at is not None


@pytest.mark.django_db(transaction=True)
def test_the_same_id_is_compared_with_what_was_sent(trip):
    send(trip.rider, trip, client_message_id="a1")
    assert send(trip.rider, trip, client_message_id="a1").duplicate
    for other in (SHOWN, SECRET.replace("67", "68")):
        with pytest.raises(IdempotencyConflict):
            send(trip.rider, trip, other, client_message_id="a1")


@pytest.mark.django_db(transaction=True)
def test_support_gives_numbers_and_gets_them(trip, asked, make_user):
    admin = make_user("admin")
    assert send(admin, trip).message.text == SECRET
    assert send(asked.rider, asked).message.text == SECRET
    assert send(admin, asked).message.text == SECRET


@pytest.mark.django_db(transaction=True)
def test_the_original_is_shown_to_who_may_and_the_log_says_so(trip, make_agent, rest_of):
    message = send(trip.rider, trip).message
    agent = make_agent("view_conversation", "unmask_message")
    path = f"/api/conversations/{trip.pk}/messages/{message.pk}/unmask/"
    assert rest_of(agent).post(path).json() == {"message_id": message.pk, "message": SECRET}
    entry = AuditEntry.objects.get(action="unmasked")
    assert (entry.actor_id, entry.conversation_id) == (agent.pk, trip.pk)
    assert entry.detail == {"message_id": message.pk}
    absent = rest_of(agent).post(path.replace(f"/{message.pk}/", "/999999/"))
    assert (absent.status_code, absent.json()["code"]) == (404, "not_found")
    for user in (trip.rider, trip.driver, make_agent("view_conversation")):
        assert rest_of(user).post(path).status_code == 403
    assert AuditEntry.objects.filter(action="unmasked").count() == 1


@pytest.mark.django_db(transaction=True)
async def test_the_frame_on_both_sides_is_the_masked_one(trip, connect):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    rider.send({"type": "chat_message", "message": SECRET, "client_message_id": "a1"})
    for socket in (rider, driver):
        text = json.dumps(await socket.frame("chat_message"), ensure_ascii=False)
        assert f'"{SHOWN}"' in text
        assert "123 45" not in text


# Names


async def test_an_edit_says_whether_its_text_is_masked(trip, connect):
    """Else who keeps the messages could not tell, until they are loaded again."""
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    rider.send({"type": "chat_message", "message": "Where are you?"})
    id = (await rider.frame("message_ack"))["message_id"]
    for text, said in (("Call +998 90 123 45 67", True), ("Never mind", None)):
        rider.send({"type": "message_edit", "message_id": id, "message": text})
        assert (await driver.frame("message_edited")).get("masked") is said
        rider.send({"type": "message_edit", "message_id": id, "message": text})
        await rider.frame("message_edited")
        assert (await rider.frame("message_edited")).get("masked") is said  # to who asks again


@pytest.mark.parametrize("contact", ["+998901234567", "998901234567", "ann@rides.example"])
def test_a_login_that_is_a_contact_is_nobodys_name(make_user, contact):
    nameless = {"first_name": "", "last_name": ""}
    rider = make_user("rider", username=contact, **nameless)
    assert events.name_of(rider) == f"Rider {rider.pk}"
    rider.first_name, rider.username = contact, "ann"  # or what one calls oneself
    assert events.name_of(rider) == f"Rider {rider.pk}"
    assert events.name_of(make_user("rider", username="ann1990", **nameless)) == "ann1990"


async def test_no_frame_names_a_driver_by_the_number_of_a_rider(connect, make_user):
    number = "+998901234567"

    def open_trip():
        rider = make_user("rider", username=number, first_name="", last_name="")
        driver = make_user("driver")
        return rider, driver, services.open_trip(rider=rider, driver=driver)

    rider, driver, trip = await sync_to_async(open_trip)()
    bell = await connect("/ws/notifications/", driver)
    hears = await connect(f"/ws/chat/{trip.pk}/", driver)
    says = await connect(f"/ws/chat/{trip.pk}/", rider)
    says.send({"type": "typing", "is_typing": True})
    assert (await hears.frame("typing"))["user_name"] == f"Rider {rider.pk}"
    says.send({"type": "chat_message", "message": "I am here"})
    assert (await hears.frame("chat_message"))["sender_name"] == f"Rider {rider.pk}"
    rung = (await bell.frame("notification"))["notification"]
    assert rung["title"] == f"New message from Rider {rider.pk}"


def test_the_list_of_a_driver_has_no_number_of_a_rider(rest_of, make_user):
    rider = make_user("rider", username="901234567", first_name="", last_name="")
    trip = services.open_trip(rider=rider, driver=(driver := make_user("driver")))
    Message(conversation=trip, sender=rider, text="I am here").save()
    pages = ("conversations/", f"conversations/{trip.pk}/", f"conversations/{trip.pk}/messages/")
    for page in pages:
        shown = rest_of(driver).get(f"/api/{page}").content.decode()
        assert f"Rider {rider.pk}" in shown
        assert "901234567" not in shown


def test_the_audit_log_says_who_of_support_it_was(make_user, trip):
    agent = make_user("admin", username="bea@rides.example", first_name="", last_name="")
    audit.record(agent, audit.Action.CLAIMED, trip.pk)
    assert AuditEntry.objects.get().actor_name == "bea@rides.example"


# The lock


@pytest.fixture
def in_a_transaction(monkeypatch):
    """Whether one was open, each time that a text was looked through."""
    seen = []

    def look(text, region, own=()):
        if "\u00a0" in text:  # not a name, nor an id
            seen.append(connection.in_atomic_block)
        return masked(text, region, own)

    monkeypatch.setattr(masking, "masked", look)
    return seen


LONG_SECRET = f"\u00a0Call me, please: {SECRET}"  # parts of a number are read under the lock


def _saved(trip):
    Message(conversation=trip, sender=trip.rider, text=LONG_SECRET).save()


def _saved_by_its_id(trip):
    Message(conversation_id=trip.pk, sender=trip.rider, text=LONG_SECRET).save()


def _saved_together(trip):
    Message.save_together([Message(conversation=trip, sender=trip.rider, text=LONG_SECRET)])


def _sent(trip):
    send(trip.rider, trip, LONG_SECRET)


def _sent_by_a_socket(trip):
    draft = services.Draft(trip.rider, trip.pk, LONG_SECRET, was_let_in=True)
    services.send_messages([draft])


def _edited(trip):
    message = send(trip.rider, trip, "Hi").message
    edit = {"user": trip.rider, "conversation_id": trip.pk, "message_id": message.pk}
    services.edit_message(**edit, text=LONG_SECRET)


def _edited_in_the_admin(trip):
    send(trip.rider, trip, "Hi")
    row = Message.objects.get()
    row.text = LONG_SECRET
    row.save()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "write",
    [
        _saved,
        _saved_by_its_id,
        _saved_together,
        _sent,
        _sent_by_a_socket,
        _edited,
        _edited_in_the_admin,
    ],
)
def test_a_text_is_looked_through_once_and_before_the_lock(write, trip, in_a_transaction):
    write(trip)
    assert in_a_transaction == [False]
    assert Message.objects.get().original == LONG_SECRET


def _send_several(trip):
    another = services.open_trip(rider=trip.rider, driver=trip.driver)
    drafts = [services.Draft(trip.rider, one.pk, "Hi") for one in (trip, another)]
    assert [answer.duplicate for answer in services.send_messages(drafts)] == [False, False]


def _save_what_was_sent(trip):
    Message.objects.get().save()


def _edit_what_was_sent(trip):
    services.edit_message(
        user=trip.rider,
        conversation_id=trip.pk,
        message_id=Message.objects.get().pk,
        text="Hi",
    )


@pytest.mark.parametrize("place", [0, None])  # ahead of all receivers, or behind them
@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda trip: send(trip.rider, trip, "Hi"), "chat_message"),
        (lambda trip: Message(conversation=trip, sender=trip.rider, text="Hi").save(), None),
        (_send_several, "chat_message"),
        (_save_what_was_sent, "message_edited"),
        (_edit_what_was_sent, "message_edited"),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_a_text_that_a_receiver_has_changed_is_masked_and_told_all_the_same(
    trip, write, kind, place
):
    def add(instance, **kwargs):
        instance.text += f" {SECRET}"

    if kind == "message_edited":
        send(trip.rider, trip, "Hi")
    pre_save.connect(add, sender=Message)
    if place is not None:
        pre_save.receivers.insert(place, pre_save.receivers.pop())
        pre_save.sender_receivers_cache.clear()
    try:
        write(trip)
    finally:
        pre_save.disconnect(add, sender=Message)
    for row in Message.objects.all():
        assert (row.text, row.original) == (f"Hi {SHOWN}", f"Hi {SECRET}")
    last = Event.objects.filter(stream__name=f"conversation.{trip.pk}").latest("seq")
    frame = json.loads(last.text)
    assert (frame["type"], frame["message"]) == (kind or "chat_message", f"Hi {SHOWN}")
