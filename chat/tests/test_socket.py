"""/ws/chat/<conversation_id>/ through the ASGI application."""

import json

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from chat.models import Conversation, Message, Participant
from holodrive.realtime import log
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)

BAD_FRAMES = {
    "not JSON": ("{", "invalid_json"),
    "an array": ("[]", "invalid_message"),
    "a string": ('"chat_message"', "invalid_message"),
    "no type": ('{"message": "hi"}', "unknown_type"),
    "an unknown type": ('{"type": "nonsense"}', "unknown_type"),
    "a handler's name as type": ('{"type": "websocket.disconnect"}', "unknown_type"),
    "a private name as type": ('{"type": "__class__"}', "unknown_type"),
    "a number as type": ('{"type": 1}', "unknown_type"),
    "a missing field": ('{"type": "chat_message"}', "invalid_message"),
    "a number for a text": ('{"type": "chat_message", "message": 5}', "invalid_message"),
    "a blank text": ('{"type": "chat_message", "message": " \\n\\t"}', "invalid_message"),
    "an empty text": ('{"type": "chat_message", "message": ""}', "invalid_message"),
    "4,001 characters": (
        json.dumps({"type": "chat_message", "message": "x" * 4001}),
        "invalid_message",
    ),
    "NUL": ('{"type": "chat_message", "message": "a\\u0000b"}', "invalid_message"),
    "a lone surrogate": ('{"type": "chat_message", "message": "a\\ud800"}', "invalid_message"),
    "5,000 levels": (
        '{"type": "chat_message", "x": ' + "[" * 5000 + "]" * 5000 + "}",
        "invalid_json",
    ),
    "NaN": ('{"type": "ping", "x": NaN}', "invalid_json"),
    "1,000,000 bytes": (
        json.dumps({"type": "chat_message", "message": "x" * 1_000_000}),
        "too_large",
    ),
    "65,537 bytes": ('{"type": "ping", "x": "' + "ü" * 32_758 + '"}', "too_large"),
    "a number above 2^63": (
        '{"type": "resume", "last_seq": 9223372036854775808}',
        "invalid_message",
    ),
}


@pytest.fixture
def conversation(make_user):
    """A support conversation of a rider, with a superuser who is not assigned."""
    conversation = Conversation.objects.create(kind="support", subject="Lost phone")
    conversation.rider = make_user("rider")
    conversation.admin = make_user("admin")
    Participant.objects.create(conversation=conversation, user=conversation.rider, role="rider")
    return conversation


@pytest.fixture
async def rider(connect, conversation):
    return await connect(f"/ws/chat/{conversation.pk}/", conversation.rider)


@pytest.fixture
async def support(connect, conversation):
    return await connect(f"/ws/chat/{conversation.pk}/", conversation.admin)


async def test_the_first_frame_is_the_documented_one(rider, conversation):
    assert {name: rider.welcome[name] for name in ("type", "message", "conversation_id")} == {
        "type": "connection_established",
        "message": "Connected to chat",
        "conversation_id": conversation.pk,
    }
    assert rider.welcome["last_seq"] == 0
    assert rider.welcome["expires_at"].endswith("+00:00")


async def test_a_message_is_acknowledged_and_reaches_every_socket(rider, support, conversation):
    rider.send({"type": "chat_message", "message": "Hello", "client_message_id": "a1"})
    ack = await rider.frame("message_ack")
    row = await Message.objects.aget()
    created_at = row.created_at.isoformat(timespec="microseconds")
    assert ack == {
        "type": "message_ack",
        "client_message_id": "a1",
        "message_id": row.pk,
        "seq": 1,
        "created_at": created_at,
        "duplicate": False,
    }
    assert json.loads(await support.raw()) == {
        "type": "chat_message",
        "message": "Hello",
        "sender_id": conversation.rider.pk,
        "sender_name": "Rider No1",
        "is_from_support": False,
        "created_at": created_at,
        "message_id": row.pk,
        "client_message_id": "a1",
        "seq": 1,
    }


async def test_the_sender_gets_its_own_message_as_well(rider):
    rider.send({"type": "chat_message", "message": "Hello"})
    frames = {frame["type"]: frame for frame in [await rider.frame(), await rider.frame()]}
    assert frames["chat_message"]["message"] == "Hello"
    assert frames["message_ack"]["client_message_id"] is None


async def test_a_text_is_stored_as_it_was_sent(rider):
    text = "  Привет 👋🏽\n\tO‘zbekiston  "
    rider.send({"type": "chat_message", "message": text})
    assert (await rider.frame("chat_message"))["message"] == text
    assert (await Message.objects.aget()).text == text


async def test_the_same_client_message_id_stores_one_row_and_acks_twice(rider):
    for _ in range(2):
        rider.send({"type": "chat_message", "message": "Hello", "client_message_id": "a1"})
    first, second = await rider.frame("message_ack"), await rider.frame("message_ack")
    assert second == first | {"duplicate": True}
    assert await Message.objects.acount() == 1
    await rider.quiet()


async def test_the_same_client_message_id_with_another_text_is_a_conflict(rider):
    rider.send({"type": "chat_message", "message": "Hello", "client_message_id": "a1"})
    await rider.frame("message_ack")
    rider.send({"type": "chat_message", "message": "Bye", "client_message_id": "a1"})
    error = await rider.frame("error")
    assert (error["code"], error["ref"]) == ("idempotency_conflict", "a1")
    assert await Message.objects.acount() == 1


async def test_two_senders_may_use_the_same_client_message_id(rider, support):
    for socket in (rider, support):
        socket.send({"type": "chat_message", "message": "Hello", "client_message_id": "a1"})
        assert not (await socket.frame("message_ack"))["duplicate"]


@pytest.mark.parametrize("fault", BAD_FRAMES)
async def test_a_bad_frame_gets_an_error_and_loses_nothing(rider, fault):
    text, code = BAD_FRAMES[fault]
    rider.send_text(text)
    error = await rider.frame()
    assert (error["type"], error["code"]) == ("error", code)
    assert error["message"]
    await rider.quiet()
    assert await Message.objects.acount() == 0


async def test_a_binary_frame_gets_an_error(rider):
    rider.send_bytes(b"\x00")
    assert (await rider.frame())["code"] == "invalid_message"
    await rider.quiet()


async def test_an_error_refers_to_the_frame_that_it_answers(rider):
    rider.send({"type": "chat_message", "message": "", "client_message_id": "a1"})
    assert (await rider.frame("error"))["ref"] == "a1"
    rider.send({"type": "chat_message", "message": ""})
    assert (await rider.frame("error"))["ref"] == "chat_message"


async def test_twenty_bad_frames_in_a_row_close_the_socket(rider):
    for _ in range(19):
        rider.send_text("{")
    await rider.frame("error")
    rider.send({"type": "ping"})
    await rider.frame("pong")
    for _ in range(20):
        rider.send_text("{")
    assert await rider.closed() == 4400


async def test_a_ping_gets_a_pong(rider):
    rider.send({"type": "ping"})
    pong = await rider.frame()
    assert pong["type"] == "pong"
    assert pong["server_time"].endswith("+00:00")


async def test_unknown_fields_are_ignored(rider):
    rider.send({"type": "chat_message", "message": "Hello", "color": "red"})
    await rider.frame("message_ack")


@pytest.mark.parametrize(
    "id", ["{foreign}", "999999", "abc", "0", "-1", "9223372036854775808", "1e3"]
)
async def test_what_is_not_this_users_conversation_looks_like_none(connect, make_user, id):
    foreign = await Conversation.objects.acreate()
    user = await sync_to_async(make_user)("driver")
    path = f"/ws/chat/{id.format(foreign=foreign.pk)}/"
    socket = await connect(path, user, first_frame=False)
    assert await socket.raw() == (
        '{"type":"error","code":"not_found","message":"There is no such conversation.","ref":null}'
    )
    assert await socket.closed() == 4404


async def test_typing_reaches_the_others_and_ends_with_the_message(rider, support, conversation):
    rider.send({"type": "typing", "is_typing": True})
    assert await support.frame() == {
        "type": "typing",
        "user_id": conversation.rider.pk,
        "user_name": "Rider No1",
        "is_typing": True,
    }
    rider.send({"type": "chat_message", "message": "Hello"})
    assert (await support.frame("typing"))["is_typing"] is False
    assert (await rider.frame())["type"] != "typing"


async def test_typing_ends_when_the_socket_does(rider, support):
    rider.send({"type": "typing", "is_typing": True})
    await support.frame("typing")
    await rider.leave()
    assert (await support.frame("typing"))["is_typing"] is False


@pytest.mark.parametrize(
    "change", [{"status": "closed"}, {"closes_at": "2020-01-01T00:00:00+00:00"}]
)
async def test_a_closed_conversation_takes_no_message(rider, conversation, change):
    await Conversation.objects.filter(pk=conversation.pk).aupdate(**change)
    rider.send({"type": "chat_message", "message": "Hello"})
    assert (await rider.frame())["code"] == "conversation_closed"
    assert await Message.objects.acount() == 0


async def test_a_riders_message_reopens_a_resolved_conversation(rider, conversation):
    await Conversation.objects.filter(pk=conversation.pk).aupdate(status="resolved")
    rider.send({"type": "chat_message", "message": "It is still lost"})
    await rider.frame("message_ack")
    await conversation.arefresh_from_db()
    assert conversation.status == "open"
    assert conversation.last_message_at is not None


async def test_an_edited_message_is_an_event(rider, conversation):
    rider.send({"type": "chat_message", "message": "Helo"})
    await rider.frame("message_ack")
    row = await Message.objects.aget()
    row.text = "Hello"
    await row.asave()
    assert await rider.frame("message_edited") == {
        "type": "message_edited",
        "message_id": row.pk,
        "message": "Hello",
        "edited_at": row.edited_at.isoformat(timespec="microseconds"),
        "seq": 2,
    }


async def test_staff_become_participants_with_their_first_reply(support, conversation):
    support.send({"type": "chat_message", "message": "How can I help you?"})
    assert (await support.frame("chat_message"))["is_from_support"] is True
    assert await Participant.objects.filter(user=conversation.admin, role="support").aexists()


async def test_what_was_missed_comes_back_as_it_was_sent(rider, connect, conversation):
    for text in ("one", "two", "three"):
        rider.send({"type": "chat_message", "message": text})
    seen = [await rider.frame("chat_message") for _ in range(3)]
    late = await connect(f"/ws/chat/{conversation.pk}/?last_seq=1", conversation.rider)
    assert [await late.frame(), await late.frame()] == seen[1:]
    assert await late.frame() == {
        "type": "resumed",
        "recovered": True,
        "from_seq": 1,
        "to_seq": 3,
        "count": 2,
    }


async def test_a_live_socket_may_resume_as_well(rider):
    rider.send({"type": "chat_message", "message": "one"})
    sent = await rider.frame("chat_message")
    await rider.frame("message_ack")
    rider.send({"type": "resume", "last_seq": 0})
    assert await rider.frame() == sent
    assert (await rider.frame())["count"] == 1


async def test_what_comes_during_a_resume_comes_behind_it(rider, conversation, monkeypatch):
    for text in ("one", "two"):
        rider.send({"type": "chat_message", "message": text})
        await rider.frame("message_ack")
    read = log.missed

    def read_and_be_overtaken(*args):
        rows = read(*args)
        Message(conversation=conversation, sender=conversation.admin, text="three").save()
        return rows

    monkeypatch.setattr(log, "missed", read_and_be_overtaken)
    rider.send({"type": "resume", "last_seq": 0})
    came = [await rider.frame() for _ in range(4)]
    assert [(frame["type"], frame.get("message")) for frame in came] == [
        ("chat_message", "one"),
        ("chat_message", "two"),
        ("resumed", None),
        ("chat_message", "three"),
    ]


@pytest.mark.parametrize("last_seq", [99, 0])
async def test_what_cannot_be_recovered_is_said(connect, conversation, settings, last_seq):
    settings.REALTIME_RESUME_LIMIT = 2
    for text in ("one", "two", "three"):
        await Message(conversation=conversation, sender=conversation.rider, text=text).asave()
    late = await connect(f"/ws/chat/{conversation.pk}/?last_seq={last_seq}", conversation.rider)
    resumed = await late.frame()
    assert (resumed["type"], resumed["recovered"], resumed["count"]) == ("resumed", False, 0)
    assert resumed["to_seq"] == 3
    await late.quiet()


async def test_a_wrong_last_seq_is_an_error_and_the_socket_goes_on(connect, conversation):
    socket = await connect(
        f"/ws/chat/{conversation.pk}/?last_seq=x", conversation.rider, first_frame=False
    )
    assert (await socket.frame())["code"] == "invalid_message"
    assert (await socket.frame())["type"] == "connection_established"
    await socket.quiet()


async def test_a_message_notifies_the_unassigned_queue_but_not_its_sender(conversation):
    row = Message(conversation=conversation, sender=conversation.rider, text="a" * 60)
    await row.asave()
    notification = await Notification.objects.aget()
    assert notification.recipient_id == conversation.admin.pk
    assert (notification.title, notification.message) == (
        "New message from Rider No1",
        f"New message in conversation: {'a' * 50}...",
    )
    assert notification.notification_type == "chat_message"
    assert notification.related_object_type == "conversation"
    assert notification.related_object_id == conversation.pk
    assert notification.data == {"conversation_id": conversation.pk, "message_id": row.pk}


async def test_once_assigned_only_the_assignee_is_notified(conversation, make_user):
    agent = await sync_to_async(make_user)("admin")
    conversation.assignee = agent
    await conversation.asave()
    await Message(conversation=conversation, sender=conversation.rider, text="Hi").asave()
    told = Notification.objects.filter(notification_type="chat_message")
    assert [row.recipient_id async for row in told] == [agent.pk]


async def test_a_reply_notifies_the_rider(conversation):
    await Message(conversation=conversation, sender=conversation.admin, text="Hi").asave()
    assert (await Notification.objects.aget()).recipient_id == conversation.rider.pk


async def test_a_muted_member_is_not_notified(conversation):
    await Participant.objects.aupdate(muted_until="2999-01-01T00:00:00+00:00")
    await Message(conversation=conversation, sender=conversation.admin, text="Hi").asave()
    assert not await Notification.objects.aexists()


async def test_who_was_removed_can_resume_nothing(rider, conversation):
    await Message(conversation=conversation, sender=conversation.admin, text="secret").asave()
    await rider.frame("chat_message")
    await Participant.objects.filter(user=conversation.rider).adelete()
    rider.send({"type": "resume", "last_seq": 0})
    assert (await rider.frame())["type"] == "participant_removed"
    assert (await rider.frame())["code"] == "not_found"
    assert await rider.closed() == 4404


async def test_a_stale_message_saved_in_part_tells_nothing_that_is_not_stored(rider, conversation):
    row = Message(conversation=conversation, sender=conversation.rider, text="v1")
    await row.asave()
    stale = await Message.objects.aget()
    row.text = "v2"
    await row.asave(update_fields=["text"])
    assert (await rider.frame("message_edited"))["message"] == "v2"
    await stale.asave(update_fields=["is_from_support"])
    await rider.quiet()
    await row.arefresh_from_db()
    assert (row.text, row.edited_at is not None) == ("v2", True)


async def test_typing_ends_with_a_message_sent_over_rest(rider, support, conversation):
    rider.send({"type": "typing", "is_typing": True})
    assert (await support.frame("typing"))["is_typing"] is True
    for sender in (conversation.admin, conversation.rider):
        row = Message(conversation=conversation, sender=sender, text='"sender_id":9,')
        await row.asave()
    assert [(await support.frame())["type"] for _ in range(3)] == ["chat_message"] * 2 + ["typing"]
    await support.quiet()


async def test_a_message_of_another_user_ends_nobodys_typing(rider, support, conversation):
    rider.send({"type": "typing", "is_typing": True})
    await support.frame("typing")
    text = f'"sender_id":{conversation.rider.pk},'
    await Message(conversation=conversation, sender=conversation.admin, text=text).asave()
    assert (await support.frame())["type"] == "chat_message"
    await support.quiet()


async def test_who_was_support_may_not_come_back_as_somebody_else(connect, conversation):
    """The reply made them a participant; their right to be here was that of support."""
    agent = conversation.admin
    await Message(conversation=conversation, sender=agent, text="hi").asave()
    agent.is_staff = agent.is_superuser = False
    agent.role = "driver"
    await agent.asave()
    agent = await get_user_model().objects.aget(pk=agent.pk)
    socket = await connect(f"/ws/chat/{conversation.pk}/", agent, first_frame=False)
    assert (await socket.frame())["code"] == "not_found"
    assert await socket.closed() == 4404
