"""Numbers in several messages, and the numbers that a host calls its own."""

import os
import re
import subprocess
import sys
from datetime import timedelta

import pytest
from django.utils import timezone

from chat import sending, services
from chat.masking import MASK
from chat.models import Message
from holodrive.realtime.models import Event


def send(user, conversation, text):
    return services.send_message(user=user, conversation_id=conversation.pk, text=text)


@pytest.mark.django_db(transaction=True)
def test_a_number_in_several_messages_is_hidden_from_where_it_is_complete(trip):
    for text in ("90 123", "45", "67"):
        send(trip.rider, trip, text)
    rows = Message.objects.order_by("id").values_list("text", "original")
    assert [*rows] == [("90 123", ""), ("45", ""), (MASK, "67")]
    assert not Event.objects.filter(text__contains='"67"').exists()
    assert send(trip.rider, trip, "12").message.text == "12"


@pytest.mark.django_db(transaction=True)
def test_parts_that_are_sent_at_once_see_each_other(trip, monkeypatch):
    """The one is stored while the other waits for the lock."""
    ahead_of_the_lock = sending._masked

    def meanwhile(drafts, rooms):
        found = ahead_of_the_lock(drafts, rooms)
        if drafts[0].text == "45 67":
            send(trip.rider, trip, "90 123")
        return found

    monkeypatch.setattr(sending, "_masked", meanwhile)
    assert send(trip.rider, trip, "45 67").message.text == MASK


@pytest.mark.django_db(transaction=True)
def test_a_part_is_edited_beside_what_is_sent_meanwhile(trip, monkeypatch):
    first = send(trip.rider, trip, "ok").message
    own_message = services._own_message

    def meanwhile(*found):
        send(trip.rider, trip, "45 67")
        return own_message(*found)

    monkeypatch.setattr(services, "_own_message", meanwhile)
    edit = {"user": trip.rider, "conversation_id": trip.pk, "message_id": first.pk}
    assert services.edit_message(**edit, text="90 123").message.text == MASK


@pytest.mark.django_db(transaction=True)
def test_a_number_may_begin_after_words(trip):
    for text in ("My number is 90 123", "45 67"):
        send(trip.rider, trip, text)
    assert Message.objects.last().text == MASK


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("between", ["ok", "the driver", "time"])
def test_digits_that_do_not_follow_one_another_stay(trip, between):
    send(trip.rider, trip, "90 123")
    if between == "ok":
        send(trip.rider, trip, "ok")
    if between == "time":
        past = timezone.now() - timedelta(minutes=11)
        Message._base_manager.update(created_at=past)
    sender = trip.driver if between == "the driver" else trip.rider
    assert send(sender, trip, "45 67").message.text == "45 67"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("edited", [0, 1])
def test_an_edit_completes_no_number_either(trip, edited):
    parts = ["90 123", "45 67"]
    messages = [
        send(trip.rider, trip, "ok" if place == edited else part).message
        for place, part in enumerate(parts)
    ]
    edit = {"user": trip.rider, "conversation_id": trip.pk, "message_id": messages[edited].pk}
    assert services.edit_message(**edit, text=parts[edited]).message.text == MASK


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My number begins with 90 123", MASK),
        ("It begins with 90", "It begins with 90"),
        ("My number is 901234567, call", f"My number is {MASK}, call"),
        ("90 123 it begins with", "90 123 it begins with"),
    ],
)
def test_words_are_not_edited_into_the_beginning_of_a_number(trip, text, expected):
    first = send(trip.rider, trip, "ok").message
    send(trip.rider, trip, "45 67")
    edit = {"user": trip.rider, "conversation_id": trip.pk, "message_id": first.pk}
    assert services.edit_message(**edit, text=text).message.text == expected


@pytest.mark.django_db(transaction=True)
def test_the_same_text_to_two_conversations_is_judged_in_each(trip, make_user):
    other = services.open_trip(rider=trip.rider, driver=make_user("driver"))
    send(trip.rider, trip, "90 123")
    drafts = [services.Draft(trip.rider, one.pk, "45 67") for one in (trip, other)]
    texts = [answer.message.text for answer in services.send_messages(drafts)]
    assert texts == [MASK, "45 67"]


@pytest.mark.django_db(transaction=True)
def test_support_says_digits_one_after_another(trip, make_user):
    admin = make_user("admin")
    for text in ("90 123", "45 67"):
        assert send(admin, trip, text).message.text == text


# The host's own numbers


@pytest.mark.django_db(transaction=True)
def test_a_number_of_the_host_stays_in_a_message(trip, settings):
    assert send(trip.rider, trip, "Order 901234567").message.text == f"Order {MASK}"
    settings.CHAT_OWN_NUMBERS = [r"90\d{7}"]
    assert send(trip.rider, trip, "Order 901234567").message.text == "Order 901234567"


@pytest.mark.parametrize("value", ["(", r"ok-\d (\d{1,9}){1,9}"])
def test_a_wrong_expression_stops_the_start_with_one_sentence(value):
    command = [sys.executable, "manage.py", "check"]
    env = {**os.environ, "CHAT_OWN_NUMBERS": value, "SECRET_KEY": "x", "ENV_FILE": ""}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(r"error: CHAT_OWN_NUMBERS='.+': .+\n", ended.stderr)
