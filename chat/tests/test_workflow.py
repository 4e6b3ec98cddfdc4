"""What support does with its queue: rules, races, events, permissions, the audit log."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat import audit, queue_events, services, workflow
from chat.models import AppendOnlyError, AuditEntry, Conversation, Message
from holodrive.realtime import log
from holodrive.realtime.wire import Forbidden, timestamp
from testing.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

ALL = (
    "view_conversation",
    "change_conversation",
    "assign_conversation",
    "unmask_message",
    "view_note",
    "add_note",
)


@pytest.fixture
def agent(make_agent):
    return make_agent(*ALL)


def say(conversation, sender, text="Hi"):
    message = Message(conversation=conversation, sender=sender, text=text)
    message.save()
    return message


def events_of(stream, kind="conversation_updated"):
    found = [json.loads(event.text) for event in log.read(stream, 0, 10_000)]
    return [frame for frame in found if frame["type"] == kind]


def queue():
    return [event["conversation"] for event in events_of("support")]


def entries():
    rows = AuditEntry.objects.order_by("id")
    return [(row.actor_id, row.action, row.conversation_id, row.detail) for row in rows]


def change(client, conversation, **body):
    return client.patch(f"/api/conversations/{conversation.pk}/", body, format="json")


# Claims


def test_a_claim_says_who_has_it_now(asked, agent, rest_of):
    answer = rest_of(agent).post(f"/api/conversations/{asked.pk}/claim/")
    assert answer.status_code == 200
    assert answer.json()["assignee"] == {"user_id": agent.pk, "name": agent.get_full_name()}
    assert queue()[-1]["assignee"] == answer.json()["assignee"]
    assert events_of(f"conversation.{asked.pk}") == []  # riders need not know
    assert entries() == [(agent.pk, "claimed", asked.pk, {})]


def test_the_loser_of_a_claim_is_told_who_won(asked, agent, make_agent, rest_of):
    path = f"/api/conversations/{asked.pk}/claim/"
    rest_of(agent).post(path)
    answer = rest_of(make_agent(*ALL)).post(path)
    assert answer.status_code == 409
    assert answer.json() == {
        "code": "already_claimed",
        "message": f"{agent.get_full_name()} has this conversation.",
        "assignee": {"user_id": agent.pk, "name": agent.get_full_name()},
    }


def test_who_claims_again_has_it_and_nothing_happens(asked, agent, rest_of):
    client, path = rest_of(agent), f"/api/conversations/{asked.pk}/claim/"
    client.post(path)
    before = len(queue()), entries()
    assert client.post(path).status_code == 200
    assert (len(queue()), entries()) == before


def test_of_many_claims_at_once_exactly_one_wins(asked, make_agent):
    agents = [make_agent(*ALL) for _ in range(8)]
    before = len(queue())

    def attempt(agent):
        try:
            return workflow.claim(user=agent, conversation_id=asked.pk).assignee_id
        except workflow.AlreadyClaimed as loss:
            return -loss.details["assignee"]["user_id"]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(attempt, agents))
    (winner,) = [outcome for outcome in outcomes if outcome > 0]
    assert sorted(outcomes) == [-winner] * 7 + [winner]
    assert Conversation.objects.get(pk=asked.pk).assignee_id == winner
    assert len(queue()) == before + 1
    assert entries() == [(winner, "claimed", asked.pk, {})]


def test_a_closed_conversation_is_not_claimed(asked, agent, rest_of):
    Conversation.objects.filter(pk=asked.pk).update(status="closed")
    answer = rest_of(agent).post(f"/api/conversations/{asked.pk}/claim/")
    assert (answer.status_code, answer.json()["code"]) == (409, "conversation_closed")


@pytest.mark.parametrize(
    "delete",
    [lambda user: user.delete(), lambda user: type(user).objects.filter(pk=user.pk).delete()],
)
def test_what_a_deleted_agent_had_is_told_as_nobodys(asked, agent, make_user, delete, monkeypatch):
    monkeypatch.setattr(services, "unassign", partial(services.unassign, at_once=1))
    other = services.open_support(user=make_user("rider")).conversation
    for conversation in (asked, other):
        workflow.claim(user=agent, conversation_id=conversation.pk)
    before = len(queue())
    delete(agent)
    assert not Conversation.objects.exclude(assignee=None).exists()
    told = queue()[before:]
    assert [(one["id"], one["assignee"]) for one in told] == [(asked.pk, None), (other.pk, None)]


def test_who_is_not_deleted_after_all_keeps_what_they_had(asked, agent):
    workflow.claim(user=agent, conversation_id=asked.pk)
    before = queue()
    with transaction.atomic():
        agent.delete()
        transaction.set_rollback(True)
    assert Conversation.objects.get(pk=asked.pk).assignee_id is not None
    assert queue() == before


# Changes


def test_all_of_one_change_is_one_event(asked, agent, make_agent, rest_of):
    other = make_agent("view_conversation")
    before = len(queue())
    body = {"status": "pending", "priority": "urgent", "assignee": other.pk}
    answer = change(rest_of(agent), asked, **body)
    assert answer.status_code == 200
    told = queue()
    assert len(told) == before + 1
    for shown in (answer.json(), told[-1]):
        assert (shown["status"], shown["priority"]) == ("pending", "urgent")
        assert shown["assignee"]["user_id"] == other.pk
    (state,) = events_of(f"conversation.{asked.pk}")
    assert state["conversation"] == {
        "id": asked.pk,
        "kind": "support",
        "subject": "Lost phone",
        "status": "pending",
        "closes_at": None,
    }
    assert entries() == [
        (agent.pk, "assigned", asked.pk, {"from": None, "to": other.pk}),
        (agent.pk, "priority", asked.pk, {"from": "normal", "to": "urgent"}),
        (agent.pk, "status", asked.pk, {"from": "open", "to": "pending"}),
    ]
    assert change(rest_of(agent), asked, **body).status_code == 200
    assert (len(queue()), len(entries())) == (before + 1, 3)  # it is so already


def test_a_change_that_fails_in_part_changes_nothing(asked, agent, rest_of, make_user):
    before = len(queue())
    answer = change(rest_of(agent), asked, priority="high", assignee=make_user("rider").pk)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")
    late = change(rest_of(agent), asked, priority="high", status="snoozed", snoozed_until=PAST)
    assert (late.status_code, late.json()["code"]) == (400, "invalid_message")
    assert (len(queue()), entries()) == (before, [])
    assert Conversation.objects.get(pk=asked.pk).priority == Conversation.Priority.NORMAL


PAST = "2020-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "gone"},
        {"status": "snoozed"},
        {"snoozed_until": "2030-01-01T00:00:00+00:00"},
        {"status": "open", "snoozed_until": "2030-01-01T00:00:00+00:00"},
        {"status": "snoozed", "snoozed_until": "2030-01-01T00:00:00"},
        {"status": "snoozed", "snoozed_until": "9999-12-31T23:00:00+00:00"},
        {"priority": 3},
        {"assignee": 0},
        {"assignee": "x"},
        {"assignee": 9223372036854775807},
    ],
)
def test_a_wrong_change_is_refused_with_a_reason(asked, agent, rest_of, body):
    answer = change(rest_of(agent), asked, **body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")
    assert answer.json()["message"]


def test_an_assignee_is_taken_off_again(asked, agent, rest_of):
    change(rest_of(agent), asked, assignee=agent.pk)
    assert change(rest_of(agent), asked, assignee=None).json()["assignee"] is None
    assert queue()[-1]["assignee"] is None


# Waiting, reopening, snoozing


def test_a_rider_waits_from_the_first_unanswered_message(asked, agent, make_user):
    first = say(asked, asked.rider)
    waiting = timestamp(first.created_at)
    assert queue()[-1]["waiting_since"] == waiting
    before = len(queue())
    say(asked, asked.rider)
    assert len(queue()) == before  # nothing changed: messages do not wait for the queue's lock
    say(asked, agent)
    assert queue()[-1]["waiting_since"] is None
    assert Conversation.objects.get(pk=asked.pk).waiting_since is None


@pytest.mark.parametrize("status", ["resolved", "closed"])
def test_nobody_waits_in_what_is_over_and_who_comes_back_waits_from_then_on(asked, agent, status):
    first = say(asked, asked.rider)
    changes = queue_events.ChangeConversation(status=status)
    workflow.change(user=agent, conversation_id=asked.pk, changes=changes)
    assert queue()[-1]["waiting_since"] is None
    assert Conversation.objects.get(pk=asked.pk).waiting_since is None
    again = queue_events.ChangeConversation(status="open")
    workflow.change(user=agent, conversation_id=asked.pk, changes=again)
    assert queue()[-1]["waiting_since"] is None
    second = say(asked, asked.rider)
    assert second.created_at > first.created_at
    assert queue()[-1]["waiting_since"] == timestamp(second.created_at)


def test_in_a_trip_nobody_waits_for_support(trip):
    say(trip, trip.rider)
    assert Conversation.objects.get(pk=trip.pk).waiting_since is None
    assert queue() == []


@pytest.mark.parametrize("status", ["resolved", "snoozed"])
def test_a_riders_message_reopens(asked, agent, status):
    until = timezone.now() + timedelta(days=1) if status == "snoozed" else None
    changes = {"status": status} | ({"snoozed_until": until} if until else {})
    workflow.change(
        user=agent,
        conversation_id=asked.pk,
        changes=queue_events.ChangeConversation(**changes),
    )
    message = say(asked, asked.rider)
    row = Conversation.objects.get(pk=asked.pk)
    assert (row.status, row.snoozed_until, row.waiting_since) == ("open", None, message.created_at)
    assert (queue()[-2]["status"], queue()[-1]["status"]) == (status, "open")
    states = [event["conversation"]["status"] for event in events_of(f"conversation.{asked.pk}")]
    assert states == [status, "open"]


def test_support_answering_leaves_it_resolved(asked, agent):
    Conversation.objects.filter(pk=asked.pk).update(status="resolved")
    say(asked, agent)
    assert Conversation.objects.get(pk=asked.pk).status == "resolved"


def snooze(conversation, until):
    Conversation.objects.filter(pk=conversation.pk).update(status="snoozed", snoozed_until=until)


def test_a_snooze_ends_once_and_not_before_its_time(asked):
    now = timezone.now()
    snooze(asked, now + timedelta(hours=1))
    assert workflow.wake_due(now) == 0
    before = len(queue())

    def wake(_):
        try:
            return workflow.wake_due(now + timedelta(hours=1))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(wake, range(4))) == 1
    row = Conversation.objects.get(pk=asked.pk)
    assert (row.status, row.snoozed_until) == ("open", None)
    assert len(queue()) == before + 1


def test_who_looks_waits_for_one_lock_and_not_for_that_of_each_snooze(
    asked, make_user, monkeypatch
):
    for conversation in (asked, services.open_support(user=make_user("rider")).conversation):
        snooze(conversation, timezone.now() - timedelta(seconds=1))
    tried = []

    def locked(*names):
        tried.append(names)
        raise OperationalError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr(log, "writing", locked)
        assert workflow.wake_due() == 0
    assert len(tried) == 1
    assert workflow.wake_due() == 2


def test_who_asks_for_the_queue_ends_snoozes(asked, agent, rest_of):
    snooze(asked, timezone.now() - timedelta(seconds=1))
    (item,) = rest_of(agent).get("/api/conversations/", {"filter": "all"}).json()["results"]
    assert (item["status"], item["snoozed_until"]) == ("open", None)


async def test_the_queues_socket_ends_snoozes_whenever_its_user_is_judged(asked, agent, connect):
    socket = await connect("/ws/support/", agent)
    await sync_to_async(snooze)(asked, timezone.now() - timedelta(seconds=1))
    await socket_hub().judge_all()
    frame = await socket.frame("conversation_updated")
    assert frame["conversation"]["status"] == "open"


def socket_hub():
    from holodrive.realtime import hub

    return hub.here()


# Permissions


@pytest.mark.parametrize(
    ("lacking", "method", "path", "body"),
    [
        ("assign_conversation", "post", "claim/", {}),
        ("assign_conversation", "patch", "", {"assignee": None}),
        ("assign_conversation", "patch", "", {"assignee": None, "status": "open"}),
        ("change_conversation", "patch", "", {"assignee": None, "status": "open"}),
        ("change_conversation", "patch", "", {"status": "closed"}),
        ("change_conversation", "patch", "", {"priority": "low"}),
        ("unmask_message", "post", "messages/{message}/unmask/", {}),
        ("view_note", "get", "notes/", {}),
        ("add_note", "post", "notes/", {"text": "Hi"}),
    ],
)
def test_each_permission_is_needed(asked, make_agent, rest_of, lacking, method, path, body):
    message = say(asked, asked.rider)
    path = f"/api/conversations/{asked.pk}/{path.format(message=message.pk)}"

    def attempt(names):
        return getattr(rest_of(make_agent(*names)), method)(path, body, format="json")

    refused = attempt([name for name in ALL if name != lacking])
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert attempt(ALL).status_code in (200, 201)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "conversations/{id}/claim/"),
        ("patch", "conversations/{id}/"),
        ("get", "conversations/{id}/notes/"),
        ("post", "conversations/{id}/notes/"),
        ("post", "conversations/{id}/messages/{message}/unmask/"),
        ("get", "canned-replies/"),
        ("get", "agents/"),
        ("get", "conversations/?filter=all"),
        ("get", "conversations/?q=phone"),
        ("get", "conversations/?kind=trip"),
    ],
)
def test_none_of_it_is_for_riders(asked, rest_of, method, path):
    message = say(asked, asked.rider)
    body = None if method == "get" else {"text": "Hi", "status": "closed"}
    path = f"/api/{path.format(id=asked.pk, message=message.pk)}"
    answer = getattr(rest_of(asked.rider), method)(path, body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (entries(), Conversation.objects.get(pk=asked.pk).status) == ([], "open")


def test_a_rider_sees_nothing_of_the_work(asked, agent, rest_of):
    workflow.claim(user=agent, conversation_id=asked.pk)
    item = rest_of(asked.rider).get(f"/api/conversations/{asked.pk}/").json()
    assert item.keys().isdisjoint({"assignee", "priority", "waiting_since", "snoozed_until"})


def test_who_may_view_may_reply_unless_the_project_says_otherwise(asked, make_agent, settings):
    viewer = make_agent("view_conversation")
    replier = make_agent("view_conversation", "reply_conversation")

    def reply(user):
        services.send_message(user=user, conversation_id=asked.pk, text="Hi")

    reply(viewer)
    assert "chat.reply_conversation" in workflow.permissions_of(viewer)
    settings.CHAT_REPLY_NEEDS_PERMISSION = True
    assert "chat.reply_conversation" not in workflow.permissions_of(viewer)
    with pytest.raises(Forbidden):
        reply(viewer)
    reply(replier)
    reply(asked.rider)
    assert Message.objects.count() == 3


def test_agents_are_active_staff_that_may_view(asked, agent, make_agent, make_user, rest_of):
    make_user("rider", is_staff=True)
    gone = make_agent("view_conversation")
    type(gone).objects.filter(pk=gone.pk).update(is_active=False)
    assert rest_of(agent).get("/api/agents/").json()["results"] == [
        {"user_id": agent.pk, "name": agent.get_full_name()}
    ]


# Who is told


def rings(user):
    return list(user.notifications.filter(notification_type="conversation_assigned"))


def test_who_is_given_a_conversation_is_told(asked, agent, make_agent, rest_of):
    given = make_agent("view_conversation")
    change(rest_of(agent), asked, assignee=given.pk)
    change(rest_of(agent), asked, assignee=given.pk)  # as it is
    change(rest_of(agent), asked, priority="high")
    (ring,) = rings(given)
    assert ring.title == "A conversation was assigned to you"
    rider = asked.rider.get_full_name()
    assert ring.message == f"{agent.get_full_name()} gave you the conversation with {rider}."
    assert (ring.related_object_type, ring.related_object_id) == ("conversation", asked.pk)
    assert ring.data == {"conversation_id": asked.pk}
    assert events_of(f"user.{given.pk}", "notification")[-1]["notification"]["id"] == ring.pk
    change(rest_of(agent), asked, assignee=None)
    assert len(rings(given)) == 1


def test_who_takes_a_conversation_is_not_told(asked, agent, rest_of):
    rest_of(agent).post(f"/api/conversations/{asked.pk}/claim/")
    change(rest_of(agent), asked, assignee=None)
    change(rest_of(agent), asked, assignee=agent.pk)
    assert rings(agent) == []


def test_an_assignment_that_is_rolled_back_tells_nobody(asked, agent, make_agent, monkeypatch):
    given = make_agent("view_conversation")
    changes = queue_events.ChangeConversation(assignee=given.pk)
    monkeypatch.setattr(log, "append", append_then_fail(f"user.{given.pk}", log.append))
    with pytest.raises(RuntimeError, match="after the ring"):
        workflow.change(user=agent, conversation_id=asked.pk, changes=changes)
    assert Conversation.objects.get(pk=asked.pk).assignee is None
    assert rings(given) == []


def append_then_fail(failing, append):
    def appending(stream, event):
        append(stream, event)
        if stream == failing:
            raise RuntimeError("after the ring")

    return appending


def test_the_admins_form_tells_as_well(asked, make_user, make_agent, client):
    admin, given = make_user("admin"), make_agent("view_conversation")
    for user in (given, admin):
        asked.assignee, asked.changed_by = user, admin
        asked.save()
    assert (len(rings(given)), rings(admin)) == (1, [])
    client.force_login(admin)
    page = client.get(f"/admin/chat/conversation/{asked.pk}/change/")
    form = page.context["adminform"].form
    fields = {name: form[name].value() for name in form.fields}
    inline = page.context["inline_admin_formsets"][0].formset
    rows = {
        f"{one.prefix}-{name}": one[name].value()
        for one in [inline.management_form, *inline.forms]
        for name in one.fields
    }
    sent = {key: value for key, value in {**fields, **rows}.items() if value is not None}
    sent["assignee"] = given.pk
    answer = client.post(f"/admin/chat/conversation/{asked.pk}/change/", sent)
    assert answer.status_code == 302
    assert [admin.get_full_name() in ring.message for ring in rings(given)] == [True, True]


# The socket


async def test_the_queue_reaches_support_and_nobody_else(asked, agent, connect):
    rider = await connect("/ws/support/", asked.rider, first_frame=False)
    assert (await rider.frame())["code"] == "not_found"
    assert await rider.closed() == 4404
    socket = await connect("/ws/support/", agent)
    assert socket.welcome["user_id"] == agent.pk
    assert set(socket.welcome["permissions"]) == {
        *(f"chat.{name}" for name in ALL),
        "chat.reply_conversation",
    }
    message = await sync_to_async(say)(asked, asked.rider, "Where is it?")
    first, second = await socket.frame(), await socket.frame()
    assert first["type"] == "conversation_updated"
    assert first["seq"] == socket.welcome["last_seq"] + 1
    assert first["conversation"]["participants"] == [
        {"user_id": asked.rider.pk, "name": asked.rider.get_full_name(), "role": "rider"}
    ]
    assert second["type"] == "conversation_activity"
    assert second["last_message"]["message_id"] == message.pk
    assert second["last_message"]["message"] == "Where is it?"
    assert "seq" not in second
    again = await connect(f"/ws/support/?last_seq={first['seq'] - 1}", agent)
    assert await again.frame() == first
    assert (await again.frame())["recovered"]


async def test_a_message_of_a_trip_is_told_and_takes_no_lock(trip, agent, connect):
    socket = await connect("/ws/support/", agent)
    message = await sync_to_async(say)(trip, trip.rider, "Call +998 90 123 45 67")
    frame = await socket.frame()
    assert (frame["type"], frame["kind"], frame["conversation_id"]) == (
        "conversation_activity",
        "trip",
        trip.pk,
    )
    assert frame["last_message"]["message_id"] == message.pk
    assert "90" not in frame["last_message"]["message"]
    assert await sync_to_async(queue)() == []


async def test_what_an_agent_reads_is_told_to_their_lists_and_a_riders_is_not(
    asked, agent, connect
):
    message = await sync_to_async(say)(asked, asked.rider)
    socket = await connect("/ws/support/", agent)
    for user in (asked.rider, agent, agent):
        await sync_to_async(services.mark_read)(
            user=user, conversation_id=asked.pk, up_to_id=message.pk
        )
    expected = {"conversation_id": asked.pk, "user_id": agent.pk, "up_to_id": message.pk}
    assert await socket.frame() == {"type": "conversation_read", **expected}
    await socket.quiet()


async def test_a_deleted_text_leaves_the_list_as_well(asked, agent, connect):
    message = await sync_to_async(say)(asked, asked.rider, "secret")
    socket = await connect("/ws/support/", agent)
    await sync_to_async(services.delete_message)(
        user=asked.rider, conversation_id=asked.pk, message_id=message.pk
    )
    shown = (await socket.frame("conversation_activity"))["last_message"]
    assert shown["message"] == ""
    assert shown["deleted_at"]


async def test_who_loses_the_permission_leaves_the_queue(agent, connect):
    socket = await connect("/ws/support/", agent)
    await sync_to_async(agent.user_permissions.clear)()
    assert await socket.closed() == 4404


async def test_a_new_conversation_is_told_of_with_its_rider(agent, connect, make_user):
    rider = await sync_to_async(make_user)("rider")
    socket = await connect("/ws/support/", agent)
    await sync_to_async(services.open_support)(user=rider, subject="Lost phone")
    frames = [await socket.frame() for _ in range(2)]
    assert [frame["conversation"]["subject"] for frame in frames] == ["Lost phone"] * 2
    assert [one["user_id"] for one in frames[1]["conversation"]["participants"]] == [rider.pk]


# The audit log


def test_an_opened_conversation_is_in_the_audit_log_once(asked, agent, rest_of):
    client = rest_of(agent)
    for _ in range(2):
        client.get(f"/api/conversations/{asked.pk}/messages/")
    rest_of(asked.rider).get(f"/api/conversations/{asked.pk}/messages/")
    assert entries() == [(agent.pk, "viewed", asked.pk, {})]
    past = timezone.now() - timedelta(minutes=16)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_auditentry SET at = %s", [past])
    client.get(f"/api/conversations/{asked.pk}/messages/")
    assert len(entries()) == 2


async def test_an_agents_socket_is_a_look_as_well(asked, agent, connect):
    await connect(f"/ws/chat/{asked.pk}/", agent)
    await connect(f"/ws/chat/{asked.pk}/", asked.rider)
    assert await sync_to_async(entries)() == [(agent.pk, "viewed", asked.pk, {})]


def viewed():
    rows = AuditEntry.objects.filter(action="viewed").order_by("conversation")
    return list(rows.values_list("actor", "conversation"))


def test_a_search_is_a_look_at_each_conversation_that_it_shows(
    asked, agent, rest_of, trip, make_user
):
    other = services.open_support(user=make_user("rider")).conversation
    for conversation, sender, text in (
        (asked, asked.rider, "my phone"),
        (asked, asked.rider, "my phone!"),
        (trip, trip.rider, "your phone"),
        (other, other.participants.get().user, "my keys"),
    ):
        say(conversation, sender, text)
    search = "/api/messages/search/?q=phone"
    assert len(rest_of(agent).get(search).json()["results"]) == 3
    assert viewed() == sorted([(agent.pk, asked.pk), (agent.pk, trip.pk)])
    assert len(rest_of(asked.rider).get(search).json()["results"]) == 2
    rest_of(agent).get(search)
    assert len(viewed()) == 2


def test_a_look_takes_two_queries_however_many_conversations_it_is_at(agent, make_user):
    for count in (1, 30):
        rows = [services.open_support(user=make_user("rider")).conversation for _ in range(count)]
        with CaptureQueriesContext(connection) as caught:
            audit.looked(agent, *(row.pk for row in rows))
        asked_for = [query for query in caught if "chat_auditentry" in query["sql"]]
        assert len(asked_for) == 2
    assert len(viewed()) == 31


def test_reading_the_notes_is_a_look_as_well(asked, agent, rest_of, make_agent):
    path = f"/api/conversations/{asked.pk}/notes/"
    assert rest_of(make_agent("view_conversation")).get(path).status_code == 403
    assert viewed() == []
    assert rest_of(agent).get(path).status_code == 200
    assert viewed() == [(agent.pk, asked.pk)]


async def test_a_socket_of_notes_is_a_look_as_well(asked, agent, connect):
    await connect(f"/ws/support/notes/{asked.pk}/", agent)
    assert await sync_to_async(viewed)() == [(agent.pk, asked.pk)]


@pytest.fixture
def full(monkeypatch):
    """Call it, and the audit log takes nothing any more."""

    def refuse(*args, **kwargs):
        raise OperationalError("database or disk is full")

    return lambda: monkeypatch.setattr(audit, "_entry", refuse)


async def test_what_cannot_be_audited_is_not_read(asked, agent, connect, full):
    full()
    socket = await connect(f"/ws/chat/{asked.pk}/", agent, first_frame=False)
    assert (await socket.frame())["code"] == "unavailable"
    assert await socket.closed() == 1013
    await connect(f"/ws/chat/{asked.pk}/", asked.rider)


async def test_a_judgement_and_a_resume_are_no_look_and_need_no_audit(
    asked, agent, connect, full, monkeypatch
):
    socket = await connect(f"/ws/chat/{asked.pk}/", agent)
    monkeypatch.setattr(audit, "_ONE_LOOK", timedelta(0))  # each look would be one more
    full()
    (consumer,) = socket_hub().users[agent.pk]
    consumer.judge()
    await asyncio.wait_for(consumer._judgement, PATIENCE)  # which ends with a verdict
    socket.send({"type": "resume", "last_seq": 0})
    assert (await socket.frame())["type"] == "resumed"
    assert await sync_to_async(entries)() == [(agent.pk, "viewed", asked.pk, {})]


def test_the_audit_log_is_append_only_and_outlives_all(asked, agent):
    audit.record(agent, audit.Action.UNMASKED, asked.pk, message_id=1)
    entry = AuditEntry.objects.get()
    for attempt in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(actor_name="x"),
    ):
        with pytest.raises(AppendOnlyError):
            attempt()
    Conversation.objects.all().delete()
    type(agent).objects.filter(pk=agent.pk).delete()
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.actor_name) == (agent.pk, agent.get_full_name())
    assert entry.conversation_id == asked.pk


def test_another_process_hears_of_a_claim(asked, agent, server, dial):
    socket = dial(server, "/ws/support/", agent)
    workflow.claim(user=agent, conversation_id=asked.pk)  # in this process
    frame = socket.frame("conversation_updated")
    assert frame["seq"] == socket.welcome["last_seq"] + 1
    assert frame["conversation"]["assignee"]["user_id"] == agent.pk
