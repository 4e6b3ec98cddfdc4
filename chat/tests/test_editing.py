"""Edits and deletions, over REST and on the socket; what is deleted is gone everywhere."""

import json
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone
from rest_framework.test import APIClient

from chat import services
from chat.models import Conversation, Message, Participant
from holodrive.realtime import log
from holodrive.realtime.models import Event
from holodrive.realtime.wire import ConversationClosed
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "The code is 4711"


@pytest.fixture
def message(trip):
    message = Message(conversation=trip, sender=trip.rider, text=SECRET, client_message_id="a1")
    message.save()
    return message


@pytest.fixture
def send(trip, message):
    """`send("patch", user, body)` at the message's URL."""

    def send(method, user, body=None, id=None):
        client = APIClient()
        client.force_authenticate(user)
        path = f"/api/conversations/{trip.pk}/messages/{id or message.pk}/"
        return getattr(client, method)(path, body, format="json")

    return send


def events_of(stream):
    return [json.loads(event.text) for event in log.read(stream, 0, 100)]


def test_an_edit_is_an_event(send, trip, message):
    answer = send("patch", trip.rider, {"message": "Edited"})
    assert answer.status_code == 200
    assert answer.json()["message"] == "Edited"
    first, edited = events_of(f"conversation.{trip.pk}")
    assert first["message"] == SECRET
    assert edited == {
        "type": "message_edited",
        "seq": 2,
        "message_id": message.pk,
        "message": "Edited",
        "edited_at": answer.json()["edited_at"],
    }


def test_an_edit_to_the_same_text_changes_nothing(send, trip):
    answer = send("patch", trip.rider, {"message": SECRET})
    assert answer.status_code == 200
    assert "edited_at" not in answer.json()
    assert len(events_of(f"conversation.{trip.pk}")) == 1


@pytest.mark.parametrize("body", [{}, {"message": " "}, {"message": "x" * 4001}, {"message": 1}])
def test_an_edit_has_the_limits_of_a_message(send, trip, body):
    answer = send("patch", trip.rider, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_a_message_is_its_senders(send, trip, make_user, method):
    for user in (trip.driver, make_user("admin")):
        answer = send(method, user, {"message": "Forged"})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert Message.objects.get().text == SECRET


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_who_has_left_changes_nothing_more(send, trip, make_user, method):
    Participant.objects.filter(user=trip.rider).delete()
    for user in (trip.rider, make_user("rider")):
        answer = send(method, user, {"message": "Forged"})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("method", ["patch", "delete"])
@pytest.mark.parametrize("id", [999_999, 9223372036854775808])
def test_an_unknown_message_is_not_found(send, trip, method, id):
    answer = send(method, trip.rider, {"message": "Hi"}, id=id)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_message_of_another_conversation_is_not_found_here(send, trip):
    other = services.open_trip(rider=trip.rider, driver=trip.driver)
    elsewhere = Message(conversation=other, sender=trip.rider, text="Hi")
    elsewhere.save()
    assert send("delete", trip.rider, id=elsewhere.pk).status_code == 404
    assert Message.objects.get(pk=elsewhere.pk).text == "Hi"


def test_after_fifteen_minutes_a_message_is_deleted_but_not_edited(send, trip, message):
    sent = timezone.now() - timedelta(minutes=15)
    Message._base_manager.filter(pk=message.pk).update(created_at=sent)
    answer = send("patch", trip.rider, {"message": "Late"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "15 minutes" in answer.json()["message"]
    assert send("delete", trip.rider).status_code == 204


def test_in_a_closed_conversation_a_message_is_deleted_but_not_edited(send, trip):
    Conversation.objects.update(status="closed")
    answer = send("patch", trip.rider, {"message": "Late"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conversation_closed")
    assert send("delete", trip.rider).status_code == 204


def test_past_its_end_a_message_of_a_trip_is_deleted_but_not_edited(trip):
    message = services.send_message(
        user=trip.rider, conversation_id=trip.pk, text="Flat 12"
    ).message
    trip.closes_at = timezone.now() - timedelta(seconds=1)
    trip.save(update_fields=["closes_at"])
    mine = {"user": trip.rider, "conversation_id": trip.pk, "message_id": message.pk}
    with pytest.raises(ConversationClosed):
        services.edit_message(**mine, text="Flat 13")
    assert services.delete_message(**mine).changed
    assert Message.objects.get(pk=message.pk).text == ""


def test_a_deleted_text_is_nowhere_any_more(send, trip, message):
    Message(conversation=trip, sender=trip.driver, text="untouched").save()
    send("patch", trip.rider, {"message": f"{SECRET}!"})
    (notification,) = Notification.objects.filter(recipient=trip.driver)
    assert SECRET in notification.message
    assert Event.objects.filter(text__contains=SECRET).count() == 3
    seqs = list(Event.objects.order_by("id").values_list("stream", "seq"))

    assert send("delete", trip.rider).status_code == 204

    row = Message.objects.get(pk=message.pk)
    assert (row.text, row.deleted_at is not None) == ("", True)
    assert not Event.objects.filter(text__contains="4711").exists()
    assert not Notification.objects.filter(message__contains="4711").exists()
    assert list(Event.objects.order_by("id").values_list("stream", "seq"))[: len(seqs)] == seqs
    kinds = [
        (frame["type"], frame.get("message")) for frame in events_of(f"conversation.{trip.pk}")
    ]
    assert kinds == [
        ("chat_message", ""),
        ("chat_message", "untouched"),
        ("message_edited", ""),
        ("message_deleted", None),
    ]


def test_the_recipients_get_the_notification_anew(send, trip):
    send("delete", trip.rider)
    first, again = events_of(f"user.{trip.driver.pk}")
    assert first["notification"]["message"] == "This message was deleted."
    assert again["notification"] == first["notification"]
    assert (again["type"], again["seq"], again["unread_count"]) == ("notification", 2, 1)


def test_a_scrubbed_frame_is_the_sent_one_but_for_its_text(send, trip):
    (before,) = events_of(f"conversation.{trip.pk}")
    send("delete", trip.rider)
    after, _ = events_of(f"conversation.{trip.pk}")
    assert after == before | {"message": ""}


def test_a_second_deletion_changes_nothing(send, trip):
    assert send("delete", trip.rider).status_code == 204
    count = Event.objects.count()
    assert send("delete", trip.rider).status_code == 204
    assert Event.objects.count() == count


def test_a_deleted_message_is_not_edited(send, trip):
    send("delete", trip.rider)
    assert send("patch", trip.rider, {"message": "Back"}).status_code == 404


def test_a_deleted_message_stays_so_when_it_is_saved(send, trip):
    stale = Message.objects.get()
    send("delete", trip.rider)
    count = Event.objects.count()
    stale.save()
    assert Message.objects.get().text == ""
    assert Message.objects.get().deleted_at is not None
    assert Event.objects.count() == count


def test_the_history_and_the_list_show_the_mark(send, trip):
    send("delete", trip.rider)
    client = APIClient()
    client.force_authenticate(trip.driver)
    (item,) = client.get(f"/api/conversations/{trip.pk}/messages/").json()["results"]
    assert item["message"] == ""
    assert item["deleted_at"]
    last = client.get(f"/api/conversations/{trip.pk}/").json()["last_message"]
    assert (last["message"], last["deleted_at"]) == ("", item["deleted_at"])


@pytest.mark.parametrize("change", ["patch", "delete"])
def test_who_sends_again_what_was_changed_meanwhile_gets_the_stored_one(
    send, trip, message, change
):
    send(change, trip.rider, {"message": "Edited"})
    again = services.send_message(
        user=trip.rider, conversation_id=trip.pk, text=SECRET, client_message_id="a1"
    )
    assert (again.message.pk, again.duplicate) == (message.pk, True)


async def test_both_sockets_get_an_edit_and_a_deletion(connect, trip):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    rider.send({"type": "chat_message", "message": SECRET})
    id = (await rider.frame("message_ack"))["message_id"]
    rider.send({"type": "message_edit", "message_id": id, "message": "Edited"})
    for socket in (rider, driver):
        frame = await socket.frame("message_edited")
        assert (frame["message_id"], frame["message"], frame["seq"]) == (id, "Edited", 2)
    rider.send({"type": "message_delete", "message_id": id})
    for socket in (rider, driver):
        frame = await socket.frame("message_deleted")
        assert (frame["message_id"], frame["seq"]) == (id, 3)
        assert set(frame) == {"type", "seq", "message_id", "deleted_at"}


async def test_what_changes_nothing_is_answered_to_the_one_who_asked(connect, trip):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    rider.send({"type": "chat_message", "message": SECRET})
    id = (await rider.frame("message_ack"))["message_id"]
    rider.send({"type": "message_edit", "message_id": id, "message": SECRET})
    edited = await rider.frame("message_edited")
    assert edited == {
        "type": "message_edited",
        "message_id": id,
        "message": SECRET,
        "edited_at": None,
    }
    rider.send({"type": "message_delete", "message_id": id})
    assert "seq" in await rider.frame("message_deleted")
    rider.send({"type": "message_delete", "message_id": id})
    assert "seq" not in await rider.frame("message_deleted")
    assert "seq" in await driver.frame("message_deleted")
    await driver.quiet()


async def test_a_refused_command_names_itself(connect, trip):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    rider.send({"type": "chat_message", "message": SECRET})
    id = (await rider.frame("message_ack"))["message_id"]
    driver.send({"type": "message_edit", "message_id": id, "message": "Forged"})
    error = await driver.frame("error")
    assert (error["code"], error["ref"]) == ("forbidden", "message_edit")
    driver.send({"type": "message_delete", "message_id": id})
    error = await driver.frame("error")
    assert (error["code"], error["ref"]) == ("forbidden", "message_delete")
    for bad in ({"message_id": 0, "message": "x"}, {"message_id": id, "message": " "}):
        rider.send({"type": "message_edit", **bad})
        assert (await rider.frame("error"))["code"] == "invalid_message"
    assert (await sync_to_async(Message.objects.get)()).text == SECRET


async def test_who_resumes_over_a_deletion_gets_no_text(connect, trip):
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    rider.send({"type": "chat_message", "message": SECRET})
    id = (await rider.frame("message_ack"))["message_id"]
    rider.send({"type": "message_delete", "message_id": id})
    await rider.frame("message_deleted")
    late = await connect(f"/ws/chat/{trip.pk}/?last_seq=0", trip.driver)
    assert (await late.frame("chat_message"))["message"] == ""
    assert (await late.frame("message_deleted"))["message_id"] == id
    assert (await late.frame("resumed"))["recovered"] is True
