"""Notifications over REST."""

import pytest
from rest_framework.test import APIClient

from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user(make_user):
    return make_user()


@pytest.fixture
def rest(user):
    client = APIClient()
    client.force_authenticate(user)
    return client


def test_the_list_has_the_frames_own_items(rest, user):
    row = Notification.objects.create(recipient=user, title="Hi", data={"a": 1})
    assert rest.get("/api/notifications/").json() == {
        "results": [
            {
                "id": row.pk,
                "title": "Hi",
                "message": "",
                "notification_type": "general",
                "related_object_type": "",
                "related_object_id": None,
                "data": {"a": 1},
                "created_at": row.created_at.isoformat(timespec="microseconds"),
                "status": "unread",
            }
        ],
        "has_more": False,
        "last_seq": 1,
        "unread_count": 1,
    }


def test_an_empty_list_is_a_list(rest):
    empty = {"results": [], "has_more": False, "last_seq": 0, "unread_count": 0}
    assert rest.get("/api/notifications/").json() == empty


def test_one_is_marked_read(rest, user):
    row = Notification.objects.create(recipient=user, title="Hi")
    assert rest.post(f"/api/notifications/{row.pk}/read/").json() == {"unread_count": 0}
    row.refresh_from_db()
    assert row.status == "read"
    assert row.read_at is not None


def test_all_up_to_an_id_are_marked_read(rest, user):
    rows = [Notification.objects.create(recipient=user, title=str(n)) for n in range(3)]
    body = {"up_to_id": rows[1].pk}
    answer = rest.post("/api/notifications/read-all/", body, format="json")
    assert answer.json() == {"unread_count": 1}
    assert rest.post("/api/notifications/read-all/").json() == {"unread_count": 0}


def test_anothers_notification_is_not_there(rest, make_user):
    row = Notification.objects.create(recipient=make_user("driver"), title="Hi")
    answer = rest.post(f"/api/notifications/{row.pk}/read/")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert rest.get("/api/notifications/").json()["results"] == []


@pytest.mark.parametrize("id", [0, 2**63, 10**30])
def test_an_id_that_cannot_be_is_not_there(rest, id):
    assert rest.post(f"/api/notifications/{id}/read/").status_code == 404
