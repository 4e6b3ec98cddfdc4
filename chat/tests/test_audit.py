"""Whoever of support sees what others wrote is in the audit log, on whatever road they see it."""

import asyncio
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chat import audit, queue_audit, services
from chat.models import AuditEntry, Conversation, Message, Note, Participant
from holodrive.realtime import hub
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)

AGENT = (
    "view_conversation", "assign_conversation", "change_conversation", "view_message", "view_note",
    "view_participant", "view_notification",
)  # fmt: skip


@pytest.fixture
def agent(make_agent):
    return make_agent(*AGENT)


def say(conversation, text):
    message = Message(conversation=conversation, sender=conversation.rider, text=text)
    message.save()
    return message


@pytest.fixture
def said(asked):
    """A support conversation in which its rider has written, before there was any support."""
    asked.message = say(asked, "my blue umbrella")
    asked.note = Note(conversation=asked, author=asked.rider, text="a note")
    asked.note.save()
    return asked


def who_saw(conversation, **chosen):
    rows = AuditEntry.objects.filter(conversation=conversation, action="viewed", **chosen)
    return [*rows.order_by("id").values_list("actor", flat=True)]


@pytest.fixture
def full(monkeypatch):
    """Call it, and the audit log takes nothing any more."""

    def refuse(*args, **kwargs):
        raise OperationalError("database or disk is full")

    return lambda: monkeypatch.setattr(audit, "_entry", refuse)


def later(minutes=16):
    past = timezone.now() - timedelta(minutes=minutes)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_auditentry SET at = %s", [past])


# Over REST

ROADS = {
    "the list": lambda client, row: client.get("/api/conversations/"),
    "a filter": lambda client, row: client.get("/api/conversations/?filter=all"),
    "a search of conversations": lambda client, row: client.get("/api/conversations/?q=umbrella"),
    "a search by a name": lambda client, row: client.get("/api/conversations/?q=No1"),
    "one conversation": lambda client, row: client.get(f"/api/conversations/{row.pk}/"),
    "a change of nothing": lambda client, row: client.patch(
        f"/api/conversations/{row.pk}/", {"priority": "normal"}, format="json"
    ),
    "its messages": lambda client, row: client.get(f"/api/conversations/{row.pk}/messages/"),
    "its notes": lambda client, row: client.get(f"/api/conversations/{row.pk}/notes/"),
    "a search of messages": lambda client, row: client.get("/api/messages/search/?q=umbrella"),
}


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
def test_what_rest_shows_of_a_conversation_is_a_look_at_it(said, agent, rest_of, road):
    other = Conversation.objects.create(status="resolved")
    client = rest_of(agent)
    assert road(client, said).status_code == 200
    assert who_saw(said) == [agent.pk]
    assert road(client, said).status_code == 200
    assert who_saw(said) == [agent.pk]
    later()
    assert road(client, said).status_code == 200
    assert who_saw(said) == [agent.pk] * 2
    if road is not ROADS["the list"]:
        assert who_saw(other) == []


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
def test_what_cannot_be_audited_rest_does_not_show(said, agent, rest_of, full, road):
    full()
    answer = road(rest_of(agent), said)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "umbrella" not in answer.content.decode()


def test_what_riders_see_is_no_look(said, rest_of, full):
    full()
    client = rest_of(said.rider)
    for path in ("", f"{said.pk}/", f"{said.pk}/messages/"):
        assert client.get(f"/api/conversations/{path}").status_code == 200
    assert not AuditEntry.objects.exists()


def test_whoever_acts_there_is_in_the_log_by_that(said, agent, rest_of):
    client = rest_of(agent)
    assert client.post(f"/api/conversations/{said.pk}/claim/").status_code == 200
    client.get("/api/conversations/")
    assert [entry.action for entry in AuditEntry.objects.all()] == ["claimed"]
    later()
    assert client.post(f"/api/conversations/{said.pk}/claim/").status_code == 200  # mine already
    assert who_saw(said) == [agent.pk]


def test_what_shows_no_text_does_not_stand_for_a_preview(said, agent, rest_of):
    audit.record(agent, audit.Action.PARTICIPANT_ADDED, said.pk, user_id=1, role="rider")
    audit.record(agent, audit.Action.RUNG, said.pk)
    rest_of(agent).get("/api/conversations/")
    assert who_saw(said) == [agent.pk]


def test_a_preview_does_not_stand_for_the_whole(said, agent, rest_of):
    client = rest_of(agent)
    client.get("/api/conversations/")
    client.get(f"/api/conversations/{said.pk}/messages/")
    client.get("/api/conversations/")
    details = AuditEntry.objects.order_by("id").values_list("detail", flat=True)
    assert list(details) == [{"only": "preview"}, {}]


def test_a_page_of_the_list_takes_two_queries_more_and_one_the_next_time(
    said, agent, rest_of, make_user
):
    for _ in range(20):
        services.open_support(user=make_user("rider"))
    client = rest_of(agent)
    for expected in (2, 1):
        with CaptureQueriesContext(connection) as caught:
            assert len(client.get("/api/conversations/").json()["results"]) == 21
        asked_for = [query for query in caught if "chat_auditentry" in query["sql"]]
        assert len(asked_for) == expected


# The queue's socket


async def test_what_the_queue_shows_is_a_look_of_each_agent(asked, agent, make_agent, connect):
    other = await sync_to_async(make_agent)("view_conversation")
    queues = [(await connect("/ws/support/", user), user) for user in (agent, other, agent)]
    assert await sync_to_async(who_saw)(asked) == []
    await sync_to_async(say)(asked, "my umbrella")
    for queue, user in queues:
        assert (await queue.frame("conversation_activity"))["conversation_id"] == asked.pk
        assert user.pk in await sync_to_async(who_saw)(asked)
    assert set(await sync_to_async(who_saw)(asked)) == {agent.pk, other.pk}


async def test_the_queue_asks_the_audit_log_once_in_15_minutes(asked, agent, connect, monkeypatch):
    asked_for = []

    def counted(looks):
        asked_for.append([look.conversation_id for look in looks])
        return known(looks)

    known = audit.previewed_by
    monkeypatch.setattr(audit, "previewed_by", counted)
    queue = await connect("/ws/support/", agent)
    for number in range(5):
        await sync_to_async(say)(asked, f"Number {number}")
        while (await queue.frame("conversation_activity"))["last_message"]["message"] != (
            f"Number {number}"
        ):
            pass
    assert [ids for ids in asked_for if ids] == [[asked.pk]]
    assert await sync_to_async(who_saw)(asked) == [agent.pk]


async def test_frames_of_the_queue_keep_their_order_while_a_look_is_recorded(
    asked, agent, connect, make_user
):
    queue = await connect("/ws/support/", agent)
    riders = [await sync_to_async(make_user)("rider") for _ in range(6)]

    def open_all():
        for rider in riders:
            services.open_support(user=rider)

    await sync_to_async(open_all)()
    seqs = [(await queue.frame("conversation_updated"))["seq"] for _ in range(12)]
    assert seqs == sorted(seqs)
    queue.send({"type": "ping"})
    assert (await queue.frame())["type"] == "pong"


async def test_what_cannot_be_audited_the_queue_does_not_show(trip, agent, connect, full):
    queue = await connect("/ws/support/", agent)
    full()
    await sync_to_async(say)(trip, "my umbrella")  # which rings for nobody of support
    assert await queue.closed() == 1013
    assert not await sync_to_async(AuditEntry.objects.exists)()


async def test_a_resume_of_the_queue_is_a_look_at_what_it_brings(said, agent, connect):
    queue = await connect("/ws/support/?last_seq=0", agent)
    assert (await queue.frame())["conversation"]["id"] == said.pk
    assert await sync_to_async(who_saw)(said) == [agent.pk]


async def test_a_resume_that_cannot_be_audited_brings_nothing(said, agent, connect, full):
    queue = await connect("/ws/support/", agent)
    full()
    queue.send({"type": "resume", "last_seq": 0})
    assert (await queue.frame())["code"] == "unavailable"
    refused = await connect("/ws/support/?last_seq=0", agent, first_frame=False)
    assert (await refused.frame())["code"] == "unavailable"
    assert await refused.closed() == 1013


async def test_that_a_colleague_has_read_something_is_no_look(said, agent, connect, make_agent):
    queue = await connect("/ws/support/", agent)
    other = await sync_to_async(make_agent)("view_conversation")
    await sync_to_async(services.mark_read)(
        user=other, conversation_id=said.pk, up_to_id=said.message.pk
    )
    assert (await queue.frame("conversation_read"))["user_id"] == other.pk
    assert agent.pk not in await sync_to_async(who_saw)(said)


@pytest.mark.parametrize(
    ("frame", "id"),
    [
        ('{"type":"conversation_updated","seq":5,"conversation":{"id":2,"subject":"x"}}', 2),
        ('{"type":"conversation_activity","conversation_id":2,"last_message":{"message":"x"}}', 2),
        ('{"type":"conversation_of_the_next_release","conversation_id":2}', 2),
        ('{"type":"conversation_read","conversation_id":2,"user_id":7,"up_to_id":4}', None),
        ('{"type":"connection_established","message":"Connected to support"}', None),
        ('{"type":"pong"}', None),
    ],
)
def test_a_frame_of_the_queue_that_names_a_conversation_is_a_look_unless_it_is_known_to_be_none(
    frame, id
):
    assert queue_audit.quoted(frame) == id


class Inner:
    """An outbox that keeps what it is given."""

    def __init__(self):
        self.sent, self.closed = [], None

    def send(self, frame, *, ephemeral=False):
        if self.closed is None:
            self.sent.append(frame.text)

    def close(self, code):
        self.closed = self.closed or code

    async def stop(self):
        pass


def activity(id):
    return queue_audit.SharedFrame(f'{{"type":"conversation_activity","conversation_id":{id}}}')


async def test_what_is_held_for_the_audit_log_is_bounded(agent, settings, monkeypatch):
    never = asyncio.get_running_loop().create_future()

    async def wait(looks):
        await never

    monkeypatch.setattr(queue_audit, "_recorded", wait)
    settings.REALTIME_OUTBOX_BYTES = 1000
    inner = Inner()
    outbox = queue_audit.AuditedOutbox(inner, agent)
    for id in range(30):
        outbox.send(activity(id))
    assert (inner.sent, inner.closed) == ([], 4408)
    await outbox.stop()


async def test_an_error_goes_out_before_a_close_that_drops_what_is_held(agent, monkeypatch):
    never = asyncio.get_running_loop().create_future()

    async def wait(looks):
        await never

    monkeypatch.setattr(queue_audit, "_recorded", wait)
    inner = Inner()
    outbox = queue_audit.AuditedOutbox(inner, agent)
    outbox.send(activity(1))
    error = queue_audit.SharedFrame('{"type":"error","code":"unauthenticated"}')
    outbox.send(error)
    outbox.close(4401)
    assert (inner.sent, inner.closed) == ([error.text], 4401)
    await outbox.stop()


# Sockets of a conversation, and of its notes


async def judged(agent):
    """As every half minute."""
    (socket,) = hub.here().users[agent.pk]
    socket.judge()
    await socket._judgement


@pytest.mark.parametrize("path", ["/ws/chat/{}/", "/ws/support/notes/{}/"])
async def test_what_comes_while_a_socket_is_open_is_a_look(said, agent, connect, path):
    await connect(path.format(said.pk), agent)
    await sync_to_async(later)()
    await judged(agent)
    assert await sync_to_async(who_saw)(said) == [agent.pk]
    await sync_to_async(say)(said, "and my hat")
    note = Note(conversation=said, author=said.rider, text="another")
    await sync_to_async(note.save)()
    await judged(agent)
    assert await sync_to_async(who_saw)(said) == [agent.pk, agent.pk]


async def test_an_open_socket_outlives_an_audit_log_that_is_full(trip, agent, connect, full):
    chat = await connect(f"/ws/chat/{trip.pk}/", agent)
    (socket,) = hub.here().users[agent.pk]
    await sync_to_async(later)()
    full()
    for text in ("one", "two"):
        socket.doubt()
        await sync_to_async(say)(trip, text)
        assert (await chat.frame("chat_message"))["message"] == text


# Notifications


def test_whoever_a_message_rings_for_is_in_the_log(asked, make_agent, make_user):
    agents = [make_agent("view_conversation") for _ in range(2)]
    make_user("rider", is_staff=True)  # of no support
    for text in ("my umbrella", "is blue"):
        say(asked, text)
    assert Notification.objects.filter(recipient=agents[0]).count() == 2
    rung = AuditEntry.objects.filter(action="rung").values_list("actor", "conversation")
    assert sorted(rung) == sorted((agent.pk, asked.pk) for agent in agents)
    later()
    Conversation.objects.filter(pk=asked.pk).update(assignee=agents[1])
    say(asked, "Hello?")
    rung = AuditEntry.objects.filter(action="rung", at__gt=timezone.now() - timedelta(minutes=1))
    assert [*rung.values_list("actor", flat=True)] == [agents[1].pk]


def test_a_message_of_a_trip_asks_the_audit_log_nothing(trip, make_agent):
    make_agent("view_conversation")
    with CaptureQueriesContext(connection) as caught:
        Message(conversation=trip, sender=trip.rider, text="Hi").save()
    assert not any("chat_auditentry" in query["sql"] for query in caught)


def test_a_message_that_cannot_be_audited_rings_for_nobody(asked, make_agent, full):
    make_agent("view_conversation")
    full()
    with pytest.raises(OperationalError):
        say(asked, "my umbrella")
    assert not Notification.objects.exists()
    assert not Message.objects.exists()


# In the admin


def admin_page(name, *args):
    return reverse(f"admin:{name}", args=args)


PAGES = {
    "the conversations": lambda row: admin_page("chat_conversation_changelist"),
    "a conversation": lambda row: admin_page("chat_conversation_change", row.pk),
    "the messages": lambda row: admin_page("chat_message_changelist"),
    "a search": lambda row: admin_page("chat_message_changelist") + "?q=umbrella",
    "a message": lambda row: admin_page("chat_message_change", row.message.pk),
    "the notes": lambda row: admin_page("chat_note_changelist"),
    "a note": lambda row: admin_page("chat_note_change", row.note.pk),
    "the notifications": lambda row: admin_page("notifications_notification_changelist"),
    "their search": lambda row: admin_page("notifications_notification_changelist") + "?q=blue",
    "a notification": lambda row: admin_page("notifications_notification_change", row.bell.pk),
}


@pytest.fixture
def rang(said):
    """With a notification to its rider that quotes it."""
    said.bell = Notification.objects.create(
        recipient=said.rider,
        title="New message",
        message="New message in conversation: my blue umbrella...",
        notification_type="chat_message",
        related_object_type="conversation",
        related_object_id=said.pk,
        data={"conversation_id": said.pk, "message_id": said.message.pk},
    )
    return said


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_page_of_the_admin_is_a_look_as_well(client, rang, agent, page):
    client.force_login(agent)
    for _ in range(2):
        assert client.get(page(rang)).status_code == 200
        assert who_saw(rang) == [agent.pk]


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_what_cannot_be_audited_the_admin_does_not_show(client, rang, agent, full, page):
    client.force_login(agent)
    full()
    answer = client.get(page(rang))
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert "umbrella" not in answer.content.decode()


@pytest.mark.parametrize(
    "name", ["chat_participant_changelist", "chat_message_history", "chat_conversation_history"]
)
def test_the_other_pages_show_no_text(client, rang, agent, name):
    Conversation.objects.filter(pk=rang.pk).update(subject="a blue umbrella")
    client.force_login(agent)
    rows = {"chat_message_history": [rang.message.pk], "chat_conversation_history": [rang.pk]}
    page = client.get(admin_page(name, *rows.get(name, [])))
    assert page.status_code == 200
    assert "umbrella" not in page.content.decode()


def test_pages_of_deletion_quote_nothing(client, rang, make_agent):
    Conversation.objects.filter(pk=rang.pk).update(subject="a blue umbrella")
    names = ("view_user", "delete_user", "view_conversation", "delete_conversation")
    client.force_login(make_agent(*names))
    users = admin_page("accounts_user_changelist")
    selected = {"action": "delete_selected", "_selected_action": [rang.rider.pk]}
    for answer in (
        client.get(admin_page("accounts_user_delete", rang.rider.pk)),
        client.post(users, selected),
        client.get(admin_page("chat_conversation_delete", rang.pk)),
    ):
        assert answer.status_code == 200
        assert "umbrella" not in answer.content.decode()
        assert "a note" not in answer.content.decode()
    assert Participant.objects.filter(user=rang.rider).exists()


def test_an_auditor_finds_who_saw_a_text_of_a_conversation(client, rang, agent, rest_of, make_user):
    rest_of(agent).get("/api/conversations/?q=umbrella")
    client.force_login(make_user("admin"))
    page = client.get(admin_page("chat_auditentry_changelist"), {"q": rang.pk})
    (entry,) = page.context["cl"].result_list
    assert (entry.actor_id, entry.action) == (agent.pk, "viewed")
