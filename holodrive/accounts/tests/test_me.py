"""Me and my devices."""

import pytest
from rest_framework.test import APIClient

from holodrive.accounts.models import Device
from holodrive.accounts.services import MOST_DEVICES

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rest(make_user):
    client = APIClient()
    client.user = make_user()
    client.force_authenticate(client.user)
    return client


def register(client, **changes):
    body = {"platform": "android", "token": "push-1", **changes}
    return client.post("/api/devices/", body, format="json")


def test_a_rider_is_told_who_he_is(rest):
    assert rest.get("/api/me/").json() == {
        "id": rest.user.pk,
        "username": rest.user.username,
        "name": rest.user.get_full_name(),
        "role": "rider",
        "is_support": False,
    }


def test_support_is_told_that_it_is(make_user):
    client = APIClient()
    client.force_authenticate(make_user("admin"))
    answer = client.get("/api/me/").json()
    assert (answer["role"], answer["is_support"]) == ("admin", True)


def test_a_push_token_is_registered_once(rest):
    first, second = register(rest), register(rest, platform="web")
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json() | {"platform": "web"}
    assert rest.get("/api/devices/").json() == {"results": [second.json()]}


def test_a_device_is_removed(rest):
    id = register(rest).json()["id"]
    assert rest.delete(f"/api/devices/{id}/").status_code == 204
    assert rest.get("/api/devices/").json() == {"results": []}
    assert rest.delete(f"/api/devices/{id}/").json()["code"] == "not_found"


def test_devices_are_their_users(rest, make_user):
    id = register(rest).json()["id"]
    other = APIClient()
    other.force_authenticate(make_user())
    assert other.get("/api/devices/").json() == {"results": []}
    assert other.delete(f"/api/devices/{id}/").status_code == 404
    assert register(other).status_code == 201
    assert Device.objects.count() == 2


def test_the_oldest_beyond_twenty_are_forgotten(rest):
    for number in range(MOST_DEVICES + 2):
        register(rest, token=f"push-{number}")
    tokens = [item["token"] for item in rest.get("/api/devices/").json()["results"]]
    assert tokens == [f"push-{number}" for number in range(2, MOST_DEVICES + 2)]


@pytest.mark.parametrize(
    "change",
    [{"token": ""}, {"token": "x" * 513}, {"token": "\x00"}, {"token": None}, {"platform": "tv"}],
)
def test_a_wrong_device_is_refused_with_a_reason(rest, change):
    answer = register(rest, **change)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


@pytest.mark.parametrize("path", ["me/", "devices/"])
def test_nobody_is_told_without_credentials(path):
    answer = APIClient().get(f"/api/{path}")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
