"""Me."""

import pytest
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rest(make_user):
    client = APIClient()
    client.user = make_user()
    client.force_authenticate(client.user)
    return client


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


def test_nobody_is_told_without_credentials():
    answer = APIClient().get("/api/me/")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
