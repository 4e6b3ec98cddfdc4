"""Conversations over REST: the list, opening one, unread counts, search."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from rest_framework.test import APIClient

from chat import services
from chat.models import Conversation, Message, Participant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client_of():
    def client(user):
        client = APIClient()
        client.force_authenticate(user)
        return client

    return client


@pytest.fixture
def rest(trip, client_of):
    """The rider's client."""
    return client_of(trip.rider)


def say(conversation, sender, text="Hi"):
    message = Message(conversation=conversation, sender=sender, text=text)
    message.save()
    return message


# The list


def test_an_item_says_who_takes_part_and_what_was_said_last(rest, trip):
    say(trip, trip.driver, "one")
    last = say(trip, trip.driver, "x" * 200)
    (item,) = rest.get("/api/conversations/").json()["results"]
    at = last.created_at.isoformat(timespec="microseconds")
    assert item == {
        "id": trip.pk,
        "kind": "trip",
        "subject": "",
        "status": "open",
        "created_at": trip.created_at.isoformat(timespec="microseconds"),
        "closes_at": None,
        "last_message_at": at,
        "unread_count": 2,
        "participants": [
            {
                "user_id": trip.rider.pk,
                "name": "Rider No1",
                "role": "rider",
                "last_read_id": 0,
                "last_delivered_id": 0,
            },
            {
                "user_id": trip.driver.pk,
                "name": "Driver No2",
                "role": "driver",
                "last_read_id": last.pk,
                "last_delivered_id": last.pk,
            },
        ],
        "last_message": {
            "message_id": last.pk,
            "message": "x" * 100,
            "sender_id": trip.driver.pk,
            "sender_name": "Driver No2",
            "created_at": at,
            "deleted_at": None,
        },
    }
    assert rest.get(f"/api/conversations/{trip.pk}/").json() == item


def test_an_empty_conversation_has_no_last_message(rest, trip):
    item = rest.get(f"/api/conversations/{trip.pk}/").json()
    assert (item["last_message"], item["last_message_at"], item["unread_count"]) == (None, None, 0)


def test_riders_see_theirs_and_support_sees_all(rest, trip, make_user, client_of):
    foreign = Conversation.objects.create()

    def seen(client):
        return {item["id"] for item in client.get("/api/conversations/").json()["results"]}

    assert seen(rest) == {trip.pk}
    assert seen(client_of(make_user("rider"))) == set()
    assert seen(client_of(make_user("admin"))) == {trip.pk, foreign.pk}


@pytest.mark.parametrize("id", ["999999", "abc", "0", "9223372036854775808", "-1"])
def test_what_is_not_this_users_conversation_looks_like_none(rest, id):
    foreign = Conversation.objects.create()
    answers = [rest.get(f"/api/conversations/{name}/") for name in (id, foreign.pk)]
    assert {answer.status_code for answer in answers} == {404}
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_the_pages_of_the_list_are_the_whole_list(make_user, client_of, limit):
    rider, driver = make_user("rider"), make_user("driver")
    trips = [services.open_trip(rider=rider, driver=driver) for _ in range(6)]
    for number in (3, 0, 4):
        say(trips[number], driver)
    same = Message.objects.latest("id").created_at
    Conversation.objects.filter(pk__in=[trips[0].pk, trips[4].pk]).update(last_message_at=same)
    client, found, cursor = client_of(rider), [], None
    while True:
        query = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
        page = client.get("/api/conversations/", query).json()
        found += [item["id"] for item in page["results"]]
        assert page["has_more"] == (page["next"] is not None)
        if not page["has_more"]:
            break
        cursor = page["next"]
    assert found == [trips[number].pk for number in (5, 2, 1, 4, 0, 3)]


def test_a_conversation_that_moves_up_between_two_pages_hides_none(make_user, client_of):
    rider, driver = make_user("rider"), make_user("driver")
    trips = [services.open_trip(rider=rider, driver=driver) for _ in range(4)]
    for trip in trips:
        say(trip, driver)
    client = client_of(rider)
    first = client.get("/api/conversations/", {"limit": 2}).json()
    say(trips[0], driver)
    second = client.get("/api/conversations/", {"limit": 2, "cursor": first["next"]}).json()
    seen = {item["id"] for item in first["results"] + second["results"]}
    assert seen == {trip.pk for trip in trips[1:]}  # and the moved one is at the top


@pytest.mark.parametrize("cursor", ["", "x", "_", "1_", "_x", "9" * 19 + "_1", "9" * 18 + "_1"])
def test_a_wrong_cursor_is_refused(rest, cursor):
    answer = rest.get("/api/conversations/", {"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


def test_the_list_takes_the_same_queries_for_one_as_for_fifty(
    make_user, client_of, django_assert_num_queries
):
    rider, driver = make_user("rider"), make_user("driver")
    client = client_of(rider)

    def open_trips(count):
        for _ in range(count):
            say(services.open_trip(rider=rider, driver=driver), driver)

    open_trips(1)
    with django_assert_num_queries(3):
        client.get("/api/conversations/")
    open_trips(49)
    with django_assert_num_queries(3):
        assert len(client.get("/api/conversations/").json()["results"]) == 50


# Opening


def opened(client, **body):
    return client.post("/api/conversations/", body, format="json")


@pytest.mark.parametrize("role", ["rider", "driver"])
def test_the_open_support_conversation_is_opened_once(make_user, client_of, role):
    client = client_of(make_user(role))
    first, second = opened(client, subject="Lost phone"), opened(client)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert first.json()["kind"] == "support"
    assert first.json()["subject"] == "Lost phone"
    assert [member["role"] for member in first.json()["participants"]] == [role]


@pytest.mark.parametrize(
    ("status", "code"),
    [("open", 200), ("pending", 200), ("snoozed", 200), ("resolved", 201), ("closed", 201)],
)
def test_one_that_is_over_is_followed_by_another(make_user, client_of, status, code):
    client = client_of(make_user())
    opened(client)
    Conversation.objects.update(status=status)
    assert opened(client).status_code == code


def test_many_requests_at_once_open_one(make_user, client_of):
    user = make_user()

    def attempt(_):
        try:
            return opened(client_of(user)).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        codes = sorted(threads.map(attempt, range(6)))
    assert codes == [200] * 5 + [201]
    assert Conversation.objects.count() == 1


def test_staff_opens_a_trip(make_user, client_of):
    rider, driver = make_user("rider"), make_user("driver")
    body = {"rider": rider.pk, "driver": driver.pk, "closes_at": "2030-01-01T05:00:00+05:00"}
    answer = opened(client_of(make_user("admin")), kind="trip", **body)
    assert answer.status_code == 201
    assert answer.json()["closes_at"] == "2030-01-01T00:00:00.000000+00:00"
    assert [member["user_id"] for member in answer.json()["participants"]] == [rider.pk, driver.pk]
    assert client_of(driver).get(f"/api/conversations/{answer.json()['id']}/").status_code == 200


def test_others_open_no_trip(trip, rest):
    answer = opened(rest, kind="trip", rider=trip.rider.pk, driver=trip.driver.pk)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_staff_opens_no_support_conversation(make_user, client_of):
    answer = opened(client_of(make_user("admin")))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "change",
    [
        {"rider": None},
        {"driver": None},
        {"rider": 999_999},
        {"driver": "x"},
        {"closes_at": "2030-01-01T00:00:00"},
        {"closes_at": "0001-01-01T00:00:00+05:00"},
        {"kind": "party"},
        {"subject": "x" * 201},
        {"subject": "\x00"},
    ],
)
def test_a_wrong_trip_is_refused_with_a_reason(make_user, client_of, change):
    body = {"kind": "trip", "rider": make_user("rider").pk, "driver": make_user("driver").pk}
    client = client_of(make_user("admin"))
    answer = opened(client, **(body | change))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")
    assert answer.json()["message"]
    assert opened(client, **body).status_code == 201  # without the change it is right


def test_a_rider_does_not_drive(make_user, client_of):
    rider, other = make_user("rider"), make_user("rider")
    client = client_of(make_user("admin"))
    answer = opened(client, kind="trip", rider=rider.pk, driver=other.pk)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


# Unread


def test_unread_are_the_others_messages_behind_the_cursor(rest, trip, make_user):
    first = say(trip, trip.driver)
    say(trip, trip.driver)
    gone = say(trip, trip.driver)
    services.delete_message(user=trip.driver, conversation_id=trip.pk, message_id=gone.pk)
    other = services.open_trip(rider=make_user("rider"), driver=trip.driver)
    say(other, trip.driver)
    mine = Message(conversation=trip, sender=trip.rider, text="without a signal", seq=0)
    Message._base_manager.bulk_create([mine])
    expected = {
        "notifications": 3,
        "messages": 2,
        "conversations": [{"conversation_id": trip.pk, "unread_count": 2}],
    }
    assert rest.get("/api/unread/").json() == expected
    assert rest.get(f"/api/conversations/{trip.pk}/").json()["unread_count"] == 2
    Participant.objects.filter(user=trip.rider).update(last_read_id=first.pk)
    assert rest.get("/api/unread/").json()["messages"] == 1
    Participant.objects.filter(user=trip.rider).update(last_read_id=gone.pk)
    assert rest.get("/api/unread/").json()["conversations"] == []


# Search


def found(client, q, **query):
    answer = client.get("/api/messages/search/", {"q": q, **query})
    assert answer.status_code == 200
    return answer.json()


def test_a_search_finds_what_was_said_in_ones_own_conversations(rest, trip, make_user, client_of):
    message = say(trip, trip.driver, "At the MAIN entrance")
    say(trip, trip.driver, "Elsewhere")
    other = services.open_trip(rider=make_user("rider"), driver=make_user("driver"))
    say(other, make_user("admin"), "At the main station")
    (item,) = found(rest, "main")["results"]
    assert (item["message"]["message_id"], item["conversation_id"]) == (message.pk, trip.pk)
    assert item["message"]["type"] == "chat_message"
    assert len(found(client_of(make_user("admin")), "main")["results"]) == 2
    assert found(client_of(make_user("rider")), "main")["results"] == []


def test_a_search_takes_wildcards_to_the_letter(rest, trip):
    say(trip, trip.driver, "100 dollars")
    say(trip, trip.driver, "100% sure")
    assert [item["message"]["message"] for item in found(rest, "100%")["results"]] == ["100% sure"]
    assert found(rest, "__")["results"] == []


def test_found_messages_are_paged_by_id(rest, trip):
    ids = [say(trip, trip.driver, f"note {number}").pk for number in range(5)]
    latest = found(rest, "note", limit=2)
    assert [item["message"]["message_id"] for item in latest["results"]] == ids[3:]
    assert latest["has_more"]
    before = found(rest, "note", limit=3, before_id=ids[3])
    assert [item["message"]["message_id"] for item in before["results"]] == ids[:3]
    assert not before["has_more"]


@pytest.mark.parametrize("q", ["", "x", " x ", "x" * 201, "ab\x00"])
def test_a_search_for_too_little_or_too_much_is_refused(rest, q):
    answer = rest.get("/api/messages/search/", {"q": q})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


@pytest.mark.parametrize(
    "path", ["conversations/", "conversations/1/", "messages/search/?q=main", "unread/"]
)
def test_nobody_sees_anything_without_credentials(path):
    answer = APIClient().get(f"/api/{path}")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
