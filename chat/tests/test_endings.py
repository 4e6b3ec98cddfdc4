"""The right to be of support ends, by whichever road: from then on nothing of conversations is
notified, shown, counted or pushed, and what was assigned is back in the queue.
"""

import json
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from chat import endings, services, workflow
from chat.models import AuditEntry, Conversation, Note, Participant, SupportMember
from holodrive.realtime import hub
from holodrive.realtime.models import Event
from notifications import services as notifications
from notifications.models import Notification
from push.models import Device, Push
from push.tests.backend import Recorder
from push.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "the white suitcase"
VIEW = "view_conversation"


@pytest.fixture
def group():
    group = Group.objects.create(name="Support")
    group.permissions.add(Permission.objects.get(codename=VIEW))
    return group


@pytest.fixture
def agent(make_user, group):
    """Of support by a group."""
    user = make_user("rider", is_staff=True)
    user.groups.add(group)
    return type(user).objects.get(pk=user.pk)


def say(asked, text=SECRET):
    return services.send_message(user=asked.rider, conversation_id=asked.pk, text=text).message


@pytest.fixture
def given(asked, agent):
    """A conversation of that agent, with a message that they were notified of."""
    asked.assignee = agent
    asked.save()
    say(asked)
    assert SECRET in agent.notifications.get(notification_type="chat_message").message
    return asked


def save(**fields):
    def change(user, group):
        for name, value in fields.items():
            setattr(user, name, value)
        user.save()

    return change


def unpermitted(user, group):
    group.permissions.clear()


ROADS = {
    "no staff": save(is_staff=False),
    "inactive": save(is_active=False),
    "out of the group": lambda user, group: user.groups.remove(group),
    "no groups": lambda user, group: user.groups.clear(),
    "other groups": lambda user, group: user.groups.set([]),
    "the group leaves the user": lambda user, group: group.user_set.remove(user),
    "an empty group": lambda user, group: group.user_set.clear(),
    "a group that may no more": unpermitted,
    "a permission that leaves its groups": lambda user, group: Permission.objects.get(
        codename=VIEW
    ).group_set.clear(),
    "no group": lambda user, group: group.delete(),
    "no groups at all": lambda user, group: Group.objects.all().delete(),
}
SILENT = {
    "an UPDATE": lambda user, group: type(user).objects.filter(pk=user.pk).update(is_staff=False),
    "an UPDATE of whether active": lambda user, group: (
        type(user).objects.filter(pk=user.pk).update(is_active=False)
    ),
    "rows of the group": lambda user, group: user.groups.through.objects.all().delete(),
}


def shown_to(user, rest_of):
    client = rest_of(get_user_model().objects.get(pk=user.pk))
    page = client.get("/api/notifications/").json()
    counts = client.get("/api/unread/").json()
    first = notifications.welcome(user)
    return page, (
        page["unread_count"],
        counts["notifications"],
        counts["messages"],
        first.unread_count,
    )


def log_of(user):
    found = Event.objects.filter(stream__name=f"user.{user.pk}").order_by("seq")
    return [json.loads(text) for text in found.values_list("text", flat=True)]


@pytest.mark.parametrize("road", ROADS)
def test_all_that_was_had_as_support_ends_with_the_right(road, given, agent, group, rest_of):
    ROADS[road](agent, group)
    given.refresh_from_db()
    assert given.assignee is None
    entry = AuditEntry.objects.get(action="assigned")
    assert (entry.conversation_id, entry.detail["from"], entry.detail["to"]) == (
        given.pk,
        agent.pk,
        None,
    )
    queue = Event.objects.filter(stream__name="support").order_by("-seq").first()
    assert json.loads(queue.text)["conversation"]["assignee"] is None
    page, counts = shown_to(agent, rest_of)
    assert SECRET not in json.dumps([page, log_of(agent)])
    assert given.rider.first_name not in json.dumps([page, log_of(agent)])
    assert counts == (0, 0, 0, 0)
    assert {one["status"] for one in page["results"]} == {"read"}
    before = len(log_of(agent))
    say(given, f"{SECRET} again")
    assert len(log_of(agent)) == before


@pytest.mark.parametrize("road", SILENT)
def test_what_sends_no_signal_is_found_before_anything_is_shown(road, given, agent, group, rest_of):
    SILENT[road](agent, group)
    page, counts = shown_to(agent, rest_of)
    assert SECRET not in json.dumps([page, log_of(agent)])
    assert counts == (0, 0, 0, 0)
    given.refresh_from_db()
    assert given.assignee is None


@pytest.mark.parametrize("road", SILENT)
def test_a_message_asks_for_the_right_of_who_it_would_be_told(
    road, given, agent, group, make_agent
):
    other = make_agent(VIEW)
    SILENT[road](agent, group)
    before = len(log_of(agent))
    say(given, "Is anybody there?")
    assert len(log_of(agent)) == before
    given.refresh_from_db()
    assert given.assignee is None
    assert "anybody" in other.notifications.get().message  # nobody waits for who is gone
    assert AuditEntry.objects.filter(action="assigned", conversation=given.pk).count() == 1


def test_prune_finds_them(given, agent, group):
    SILENT["an UPDATE"](agent, group)
    call_command("prune", verbosity=0)
    assert SECRET not in json.dumps(log_of(agent))
    given.refresh_from_db()
    assert given.assignee is None
    assert SupportMember.objects.get(pk=agent.pk).ended_at


def test_prune_finds_an_assignee_nobody_ever_notified(asked, agent, group):
    Conversation.objects.filter(pk=asked.pk).update(assignee=agent)
    ROADS["no staff"](agent, group)
    call_command("prune", "former_support", verbosity=0)
    asked.refresh_from_db()
    assert asked.assignee is None


def test_who_looks_at_the_queue_finds_them(given, agent, group, make_agent):
    SILENT["an UPDATE"](agent, group)
    workflow.welcome(make_agent(VIEW))
    given.refresh_from_db()
    assert given.assignee is None


@pytest.mark.parametrize("mark", [notifications.mark_read, notifications.mark_all_read])
def test_a_mark_counts_nothing_of_before(mark, given, agent, group):
    more = Notification.objects.create(recipient=agent, title="Holiday")
    Notification.objects.create(recipient=agent, title="Payday")
    SILENT["an UPDATE"](agent, group)
    options = (
        {"notification_id": more.pk} if mark is notifications.mark_read else {"up_to_id": more.pk}
    )
    mark(user=agent, **options)
    assert notifications.unread_count(agent) == 1
    assert log_of(agent)[-1]["unread_count"] == 1


def test_a_push_that_is_due_is_not_sent(given, agent, group, settings):
    settings.PUSH_BACKENDS = {"mobile": "push.tests.backend.Recorder"}
    Recorder.reset()
    Device.objects.create(user=agent, platform="ios", token="t")
    say(given, f"{SECRET} once more")
    assert Push.objects.count() == 1
    SILENT["an UPDATE"](agent, group)
    Worker(now=lambda: timezone.now() + timedelta(minutes=1)).work()
    assert Recorder.told == []
    assert not Push.objects.filter(is_read=False).exists()


def test_a_push_that_falls_due_while_others_are_taken_is_not_sent(
    given, agent, group, settings, make_user
):
    settings.PUSH_BACKENDS = {"mobile": "push.tests.backend.Recorder"}
    Recorder.reset()
    other = make_user("rider")
    for user, token in ((other, "other"), (agent, "t")):
        Device.objects.create(user=user, platform="ios", token=token)
    Notification.objects.create(recipient=other, title="Holiday")
    say(given, f"{SECRET} once more")
    SILENT["an UPDATE"](agent, group)
    now = timezone.now()
    Push.objects.filter(user=agent).update(due_at=now + timedelta(minutes=2))
    clock = now + timedelta(minutes=1)
    worker = Worker(now=lambda: clock)
    take = worker._take

    def take_later():
        nonlocal clock
        clock = now + timedelta(minutes=3)
        return take()

    worker._take = take_later
    worker.work()
    assert [address for address, _ in Recorder.told] == ["other"]


def test_whoever_was_of_support_opens_a_conversation_of_their_own(asked, agent, group, rest_of):
    """Not what they answered in as support, which is not theirs to see."""
    services.send_message(user=agent, conversation_id=asked.pk, text="How can I help?")
    ROADS["no staff"](agent, group)
    client = rest_of(get_user_model().objects.get(pk=agent.pk))
    opened = client.post("/api/conversations/", {"kind": "support"}, format="json")
    assert opened.status_code == 201
    assert opened.json()["id"] != asked.pk


def test_what_is_not_of_support_stays(given, agent, group, make_user, rest_of):
    trip = services.open_trip(rider=agent, driver=(driver := make_user("driver")))
    services.send_message(user=driver, conversation_id=trip.pk, text="On my way")
    Notification.objects.create(recipient=agent, title="Holiday")
    ROADS["no staff"](agent, group)
    page, counts = shown_to(agent, rest_of)
    texts = json.dumps(page)
    assert "On my way" in texts
    assert "Holiday" in texts
    assert counts == (2, 2, 1, 2)


def test_unread_messages_of_where_one_only_answered_are_not_counted(asked, agent, group, rest_of):
    services.send_message(user=agent, conversation_id=asked.pk, text="How can I help?")
    say(asked)
    assert Participant.objects.get(user=agent).role == "support"
    ROADS["no staff"](agent, group)
    assert shown_to(agent, rest_of)[1] == (0, 0, 0, 0)


def test_what_came_at_the_same_moment_is_found_when_it_would_be_shown(given, agent, group, rest_of):
    ROADS["no staff"](agent, group)
    content = {"notification_type": "chat_message", "related_object_type": "conversation"}
    Notification.objects.create(
        recipient=agent, title="Late", message=SECRET, related_object_id=given.pk, **content
    )
    page, counts = shown_to(agent, rest_of)
    assert SECRET not in json.dumps([page, log_of(agent)])
    assert counts == (0, 0, 0, 0)


def test_who_is_of_support_again_is_notified_again(given, agent, group):
    ROADS["no staff"](agent, group)
    save(is_staff=True)(agent, group)
    say(given, f"{SECRET} again")
    assert notifications.welcome(agent).unread_count == 1
    assert SupportMember.objects.get(pk=agent.pk).ended_at is None


def test_who_is_not_of_support_is_not_told_of_an_assignment(asked, make_user):
    asked.assignee = make_user("rider")
    asked.save()
    assert Notification.objects.count() == 0


def test_years_of_notifications_are_taken_back_by_few_statements(
    given, agent, group, django_assert_max_num_queries
):
    for number in range(40):
        say(given, f"{SECRET} {number}")
    with django_assert_max_num_queries(120):  # of which one for each frame of the log
        ROADS["no staff"](agent, group)
    assert not agent.notifications.filter(message__contains=SECRET).exists()
    assert not agent.notifications.filter(read_at=None).exists()
    assert SECRET not in json.dumps(log_of(agent))
    shown = {frame["notification"]["id"]: frame for frame in log_of(agent)}
    assert len(shown) == agent.notifications.count() >= 41
    assert {frame["notification"]["status"] for frame in shown.values()} == {"read"}
    assert log_of(agent)[-1]["unread_count"] == 0


def test_a_change_that_takes_no_right_takes_nothing(given, agent, group, rest_of):
    save(first_name="Bea")(agent, group)
    endings.sweep()
    given.refresh_from_db()
    assert given.assignee == agent
    assert SECRET in json.dumps(shown_to(agent, rest_of)[0])


def test_a_change_that_is_rolled_back_ends_nothing(given, agent):
    with transaction.atomic():
        save(is_staff=False)(agent, None)
        transaction.set_rollback(True)
    given.refresh_from_db()
    assert given.assignee == agent


async def test_open_sockets_get_nothing_between_the_change_and_their_end(
    given, agent, group, connect
):
    chat = await connect(f"/ws/chat/{given.pk}/", agent)
    queue = await connect("/ws/support/", agent)
    bell = await connect("/ws/notifications/", agent)
    here = hub.here()

    @sync_to_async
    def change_and_say():
        Group.objects.all().delete()
        say(given, f"{SECRET} again")

    await change_and_say()
    assert await chat.closed() == 4404
    assert await queue.closed() == 4404
    await sync_to_async(Notification.objects.create)(recipient=agent, title="Holiday")
    seen = []
    while (frame := await bell.frame("notification"))["notification"]["title"] != "Holiday":
        seen.append(frame)
    assert SECRET not in json.dumps(seen)
    assert here.users[agent.pk]


@pytest.mark.parametrize("road", ROADS)
async def test_nor_do_sockets_of_who_was_never_notified(road, trip, agent, group, connect):
    chat = await connect(f"/ws/chat/{trip.pk}/", agent)

    @sync_to_async
    def change_and_say():
        ROADS[road](agent, group)
        services.send_message(user=trip.rider, conversation_id=trip.pk, text=SECRET)

    await change_and_say()
    assert (await chat.frame())["type"] == "error"
    assert await chat.closed() in (4401, 4404)


async def test_nor_do_those_of_notes_when_only_the_right_to_notes_ends(trip, agent, group, connect):
    right = await Permission.objects.aget(codename="view_note")
    await sync_to_async(group.permissions.add)(right)
    notes = await connect(f"/ws/support/notes/{trip.pk}/", agent)

    @sync_to_async
    def change_and_write():
        group.permissions.remove(right)
        Note(conversation=trip, author=trip.rider, text=SECRET).save()

    await change_and_write()
    assert (await notes.frame())["type"] == "error"
    assert await notes.closed() == 4404


async def test_nothing_goes_out_while_a_changed_user_is_judged(given, agent, connect):
    """As long as the database is asked, what is committed meanwhile waits."""
    chat = await connect(f"/ws/chat/{given.pk}/", agent)
    (socket,) = hub.here().users[agent.pk]
    socket.doubt()
    assert socket.subscription.held is not None
    await sync_to_async(say)(given, "Still here?")
    assert (await chat.frame("chat_message"))["message"] == "Still here?"  # for the right is there


async def test_a_resume_brings_nothing_of_before(given, agent, group, connect):
    await sync_to_async(SILENT["rows of the group"])(agent, group)
    bell = await connect("/ws/notifications/?last_seq=0", agent)
    seen = []
    while (frame := await bell.frame())["type"] != "resumed":
        seen.append(frame)
    assert frame["recovered"]
    assert SECRET not in json.dumps(seen)


def test_a_message_costs_no_statement_more_for_it(
    asked, agent, trip, django_assert_max_num_queries
):
    """Beyond two of a support conversation: the right of who is told, and what the audit has."""
    counted = {}
    for name, conversation, user in (("trip", trip, trip.rider), ("asked", asked, asked.rider)):
        services.send_message(user=user, conversation_id=conversation.pk, text="1")
        with django_assert_max_num_queries(30) as statements:
            services.send_message(user=user, conversation_id=conversation.pk, text="2")
        counted[name] = len(statements)
    asked.assignee = agent
    asked.save()
    say(asked)
    with django_assert_max_num_queries(30) as statements:
        say(asked)
    assert len(statements) == counted["asked"]
    assert len(statements) <= counted["trip"] + 2
