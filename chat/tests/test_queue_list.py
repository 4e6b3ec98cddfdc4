"""The list of conversations as support sees it: filters, order, search, and what it costs."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat import services, workflow
from chat.models import Conversation, Message, Participant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def agent(make_agent):
    return make_agent("view_conversation", "assign_conversation", "change_conversation")


@pytest.fixture
def ask(make_user):
    """Opens a support conversation of a new rider, with this message."""

    def ask(text="Hi", subject="", **rider):
        user = make_user("rider", **rider)
        conversation = services.open_support(user=user, subject=subject).conversation
        Message(conversation=conversation, sender=user, text=text).save()
        conversation.rider = user
        return conversation

    return ask


def listed(client, **query):
    answer = client.get("/api/conversations/", query)
    assert answer.status_code == 200, answer.json()
    return [item["id"] for item in answer.json()["results"]]


def read(user, conversation):
    newest = Message.objects.filter(conversation=conversation).latest("id")
    services.mark_read(user=user, conversation_id=conversation.pk, up_to_id=newest.pk)


def test_a_trip_that_one_only_looks_at_is_not_put_first(agent, ask, trip, rest_of):
    asked, older = ask(), ask()
    for conversation, sender in ((older, older.rider), (asked, asked.rider), (trip, trip.rider)):
        Message(conversation=conversation, sender=sender, text="Hi").save()
    client = rest_of(agent)
    assert listed(client, filter="all") == [asked.pk, older.pk, trip.pk]
    read(agent, older)
    assert listed(client, filter="all") == [asked.pk, trip.pk, older.pk]
    read(agent, trip)  # takes part from now on
    Message(conversation=trip, sender=trip.rider, text="Hi").save()
    assert listed(client, filter="all") == [trip.pk, asked.pk, older.pk]


def test_each_filter_shows_its_part(agent, make_agent, ask, trip, rest_of):
    mine, others, free, over = ask(), ask(), ask(), ask()
    other = make_agent("view_conversation", "assign_conversation")
    workflow.claim(user=agent, conversation_id=mine.pk)
    workflow.claim(user=other, conversation_id=others.pk)
    Conversation.objects.filter(pk=over.pk).update(status="resolved", assignee=agent)
    client = rest_of(agent)
    assert listed(client, filter="mine") == [mine.pk]
    assert listed(client, filter="unassigned") == [free.pk]
    assert set(listed(client, filter="all")) == {mine.pk, others.pk, free.pk, trip.pk}
    assert listed(client, filter="all", kind="trip") == [trip.pk]
    assert listed(client, filter="closed") == [over.pk]
    assert len(listed(client)) == 5


def test_unread_come_first_then_the_newest(agent, ask, rest_of):
    rows = [ask() for _ in range(4)]
    for row in (rows[3], rows[1]):
        read(agent, row)
    client = rest_of(agent)
    expected = [rows[number].pk for number in (2, 0, 3, 1)]
    assert listed(client, filter="all") == expected
    Message(conversation=rows[1], sender=rows[1].rider, text="Still here").save()
    assert listed(client, filter="all")[0] == rows[1].pk


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_the_pages_are_the_whole_list(agent, ask, rest_of, limit):
    rows = [ask() for _ in range(5)]
    for row in rows[1:4]:
        read(agent, row)
    empty = Conversation.objects.create()
    client, found, cursor = rest_of(agent), [], None
    while True:
        query = {"filter": "all", "limit": limit} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/conversations/", query).json()
        found += [item["id"] for item in page["results"]]
        cursor = page["next"]
        if cursor is None:
            break
    order = [rows[4], rows[0], empty, rows[3], rows[2], rows[1]]
    assert found == [row.pk for row in order]


@pytest.mark.parametrize("cursor", ["", "x", "1", "1_", "2_1_1", "1_x_1", "_1_1"])
def test_a_wrong_cursor_is_refused(agent, rest_of, cursor):
    answer = rest_of(agent).get("/api/conversations/", {"filter": "all", "cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


@pytest.mark.parametrize(
    "query", [{"filter": "none"}, {"kind": "x"}, {"q": "x"}, {"q": "x" * 201}, {"q": "a\x00"}]
)
def test_a_wrong_choice_is_refused(agent, rest_of, query):
    answer = rest_of(agent).get("/api/conversations/", query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


def test_a_search_looks_at_names_subjects_and_texts(agent, ask, rest_of):
    one = ask("My umbrella is blue", first_name="Sobirjon", last_name="Bobojonov")
    two = ask("Hello", subject="A blue bag", first_name="Dilshod", last_name="Rahimov")
    client = rest_of(agent)
    assert set(listed(client, q="BLUE")) == {one.pk, two.pk}
    assert listed(client, q="umbrella") == [one.pk]
    assert listed(client, q="bobojonov sobir") == [one.pk]
    assert listed(client, q="sobirjon rahimov") == []
    assert listed(client, q=two.rider.username) == [two.pk]
    assert listed(client, q="blue", filter="mine") == []
    assert listed(client, q="100%") == []


def test_items_for_support_say_who_works_on_it(agent, ask, rest_of):
    row = ask()
    workflow.claim(user=agent, conversation_id=row.pk)
    (item,) = rest_of(agent).get("/api/conversations/", {"filter": "mine"}).json()["results"]
    assert item["assignee"] == {"user_id": agent.pk, "name": agent.get_full_name()}
    assert (item["priority"], item["snoozed_until"]) == ("normal", None)
    assert item["waiting_since"] == item["last_message_at"]
    assert item["unread_count"] == 1


# What it costs


def fill(conversations, messages):
    """Conversations of 50 riders and messages in them, by bulk: rows, without events."""
    users = get_user_model()._default_manager
    known = users.count()
    riders = users.bulk_create(
        users.model(username=f"bulk{known + n}", first_name="Bulk", last_name=str(n))
        for n in range(50)
    )
    now = timezone.now()
    rows = Conversation._base_manager.bulk_create(
        Conversation(subject=f"Subject {n}", last_message_at=now - timedelta(seconds=n))
        for n in range(conversations)
    )
    Participant.objects.bulk_create(
        Participant(conversation=row, user=riders[n % 50], role="rider")
        for n, row in enumerate(rows)
    )
    Message._base_manager.bulk_create(
        (
            Message(
                conversation=rows[n % conversations],
                sender=riders[n % conversations % 50],
                text=f"Message {n} about an umbrella",
                seq=n // conversations + 1,
            )
            for n in range(messages)
        ),
        batch_size=5_000,
    )


REQUESTS = [
    {"filter": "all"},
    {"filter": "unassigned"},
    {"filter": "mine"},
    {"filter": "closed"},
    {"filter": "all", "q": "umbrella"},
    {"filter": "all", "q": "message 99999"},
]


def test_the_list_takes_as_many_queries_for_100_000_messages_as_for_one(agent, ask, rest_of):
    ask()

    def queries():
        counts = []
        for query in REQUESTS:
            client = rest_of(get_user_model()._default_manager.get(pk=agent.pk))
            with CaptureQueriesContext(connection) as caught:
                assert client.get("/api/conversations/", query).status_code == 200
            counts.append(len(caught))
        return counts

    few = queries()
    fill(conversations=5_000, messages=100_000)
    many = queries()
    assert max(many) <= 12
    # Nothing found takes the queries for members and messages away, never adds one.
    assert all(after <= max(few) for after in many)
    page = rest_of(agent).get("/api/conversations/", {"filter": "all"}).json()
    assert len(page["results"]) == 50
    assert page["results"][0]["unread_count"] >= 1
