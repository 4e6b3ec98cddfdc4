"""Devices over REST, and whose they are."""

from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.test import Client
from rest_framework.test import APIClient

from holodrive.accounts.models import Device as OldDevice
from holodrive.realtime.tests.test_characters import TABLE
from push.models import Device
from push.services import MOST_DEVICES

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


def test_a_token_is_registered_once(rest):
    first, second = register(rest), register(rest, platform="ios", name="Mine")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json().keys() == {"id", "platform", "token", "name", "created_at"}
    assert second.json() == first.json() | {"platform": "ios", "name": "Mine"}
    assert rest.get("/api/devices/").json() == {"results": [second.json()]}


def test_a_name_that_shows_nothing_is_none(rest):
    for blank in TABLE["blank"].values():
        assert register(rest, name=blank).json()["name"] == "", ascii(blank)
        assert Device.objects.get().name == ""
    assert register(rest, name="\u3164👩‍🚒").json()["name"] == "\u3164👩‍🚒"


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


def test_who_logs_in_on_somebodys_phone_has_it_from_then_on(rest, make_user):
    register(rest)
    other = APIClient()
    other.force_authenticate(make_user())
    assert register(other).status_code == 201
    assert rest.get("/api/devices/").json() == {"results": []}


def test_the_oldest_beyond_twenty_are_forgotten(rest):
    for number in range(MOST_DEVICES + 2):
        register(rest, token=f"push-{number}")
    tokens = [item["token"] for item in rest.get("/api/devices/").json()["results"]]
    assert tokens == [f"push-{number}" for number in range(2, MOST_DEVICES + 2)]


@pytest.mark.parametrize(
    "change",
    [
        {"token": ""},
        {"token": "x" * 1001},
        {"token": "\x00"},
        {"token": None},
        {"platform": "tv"},
        {"keys": {"auth": "\x00"}},
        {"keys": {str(number): "x" for number in range(6)}},
        {"name": "x" * 101},
        {"token": "bad"},
    ],
)
def test_a_wrong_device_is_refused_with_a_reason(rest, change, recorder):
    answer = register(rest, **change)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


def test_nobody_is_told_without_credentials():
    answer = APIClient().get("/api/devices/")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_a_logout_over_rest_forgets_the_phone_and_no_other(make_user):
    user = make_user(password="secret")
    phones = []
    for token in ("one", "two"):
        client = APIClient()
        login = {"username": user.username, "password": "secret"}
        tokens = client.post("/api/token/", login, format="json").json()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens['access']}")
        assert register(client, token=token).status_code == 201
        phones.append((client, tokens))
    client, tokens = phones[0]
    client.post("/api/token/logout/", {"refresh": tokens["refresh"]}, format="json")
    assert [row.token for row in Device.objects.all()] == ["two"]


def test_a_logout_of_the_admin_forgets_that_browser_and_no_other(make_user):
    user, browsers = make_user("admin"), []
    for token in ("one", "two"):
        browser = Client()
        browser.force_login(user)
        body = {"platform": "web", "token": token}
        answer = browser.post("/api/devices/", body, content_type="application/json")
        assert answer.status_code == 201
        browsers.append(browser)
    browsers[0].post("/admin/logout/")
    assert [row.token for row in Device.objects.all()] == ["two"]


def test_the_devices_of_before_are_taken_over(make_user):
    first, second = make_user(), make_user()
    for user, platform, token in (
        (first, "android", "a"),
        (second, "ios", "a"),
        (first, "android", "b"),
        (first, "web", "no keys"),
    ):
        OldDevice.objects.create(user=user, platform=platform, token=token)
    loader = MigrationLoader(None)
    migration = loader.get_migration("push", "0002_devices_of_accounts")
    migration.operations[0].code(apps, SimpleNamespace(connection=connection))
    found = Device.objects.order_by("token").values_list("token", "platform", "user")
    assert list(found) == [("a", "ios", second.pk), ("b", "android", first.pk)]
    assert get_user_model().objects.count() == 2


@pytest.mark.parametrize("page", ["device", "preference", "quiethours"])
def test_the_admin_shows_it_and_no_token(page, make_user, add_device):
    device = add_device(make_user(), "a-secret-token")
    browser = Client()
    browser.force_login(make_user("admin"))
    for path in (f"/admin/push/{page}/", f"/admin/push/device/{device.pk}/change/"):
        answer = browser.get(path, follow=True)
        assert answer.status_code == 200
        assert "a-secret-token" not in answer.content.decode()
