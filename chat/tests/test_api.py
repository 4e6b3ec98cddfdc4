"""Messages over REST: the same rules as on the socket."""

import pytest
from rest_framework.test import APIClient

from chat import events
from chat.models import Conversation, Message

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rest(trip):
    """The rider's client, and the path of the trip's messages."""
    client = APIClient()
    client.force_authenticate(trip.rider)
    client.path = f"/api/conversations/{trip.pk}/messages/"
    return client


def test_a_message_is_created_once(rest):
    body = {"message": "Hi", "client_message_id": "a1"}
    first, second = (rest.post(rest.path, body, format="json") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert first.json()["type"] == "chat_message"
    assert Message.objects.count() == 1


def test_another_text_under_the_same_id_is_a_conflict(rest):
    rest.post(rest.path, {"message": "Hi", "client_message_id": "a1"}, format="json")
    answer = rest.post(rest.path, {"message": "Bye", "client_message_id": "a1"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize(
    "body", [{}, {"message": ""}, {"message": 5}, {"message": "x" * 4001}, {"message": "\x00"}, []]
)
def test_a_bad_body_is_refused_with_a_reason(rest, body):
    answer = rest.post(rest.path, body, format="json")
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_message"
    assert answer.json()["message"]


def test_what_is_not_json_is_refused_with_a_reason(rest):
    answer = rest.post(rest.path, "{", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("id", ["999999", "abc", "0", "9223372036854775808", "-1"])
def test_what_is_not_this_users_conversation_looks_like_none(rest, id):
    foreign = Conversation.objects.create()
    answers = [rest.get(f"/api/conversations/{name}/messages/") for name in (id, foreign.pk)]
    assert {answer.status_code for answer in answers} == {404}
    assert answers[0].content == answers[1].content
    post = rest.post(f"/api/conversations/{foreign.pk}/messages/", {"message": "Hi"}, format="json")
    assert (post.status_code, post.json()["code"]) == (404, "not_found")


def test_a_closed_trip_takes_no_message(rest, trip):
    Conversation.objects.filter(pk=trip.pk).update(closes_at="2020-01-01T00:00:00+00:00")
    answer = rest.post(rest.path, {"message": "Hi"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "conversation_closed")


def test_nobody_reads_without_credentials(trip):
    answer = APIClient().get(f"/api/conversations/{trip.pk}/messages/")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_pages_go_by_id_in_both_directions(rest, trip):
    for number in range(7):
        Message(conversation=trip, sender=trip.driver, text=str(number)).save()

    def texts(**query):
        answer = rest.get(rest.path, {"limit": 3, **query}).json()
        return [item["message"] for item in answer["results"]], answer["has_more"]

    ids = list(Message.objects.order_by("id").values_list("id", flat=True))
    assert texts() == (["4", "5", "6"], True)
    assert texts(before_id=ids[4]) == (["1", "2", "3"], True)
    assert texts(before_id=ids[1]) == (["0"], False)
    assert texts(after_id=ids[1]) == (["2", "3", "4"], True)
    assert texts(after_id=ids[4]) == (["5", "6"], False)
    assert texts(limit=1000) == (["0", "1", "2", "3", "4", "5", "6"], False)
    assert rest.get(rest.path, {"before_id": "x"}).status_code == 400


def test_what_is_said_while_a_page_is_read_is_behind_its_last_seq(rest, trip, monkeypatch):
    """Else a client that resumes from there would never hear of it."""
    Message(conversation=trip, sender=trip.driver, text="one").save()
    make = events.chat_message

    def be_overtaken(row):
        monkeypatch.setattr(events, "chat_message", make)
        Message(conversation=trip, sender=trip.driver, text="two").save()
        return make(row)

    monkeypatch.setattr(events, "chat_message", be_overtaken)
    page = rest.get(rest.path).json()
    assert [item["message"] for item in page["results"]] == ["one"]
    assert page["last_seq"] == 1


def test_a_page_takes_the_same_queries_for_one_message_as_for_fifty(
    rest, trip, django_assert_num_queries
):
    Message(conversation=trip, sender=trip.driver, text="one").save()
    with django_assert_num_queries(3):
        rest.get(rest.path)
    for number in range(49):
        Message(conversation=trip, sender=trip.driver, text=str(number)).save()
    with django_assert_num_queries(3):
        assert len(rest.get(rest.path).json()["results"]) == 50
