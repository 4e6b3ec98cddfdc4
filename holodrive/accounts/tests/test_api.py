"""Tokens over REST: log in, refresh, log out one device."""

import pytest
from rest_framework.test import APIClient

from testing.client import bearer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user(make_user):
    return make_user(password="holodrive-demo")


def log_in(user):
    answer = APIClient().post(
        "/api/token/", {"username": user.username, "password": "holodrive-demo"}, format="json"
    )
    assert answer.status_code == 200
    return answer.json()


def can_read(access):
    client = APIClient(headers=bearer(access))
    return client.get("/api/notifications/").status_code == 200


def refreshed(refresh):
    return APIClient().post("/api/token/refresh/", {"refresh": refresh}, format="json")


def log_out(refresh):
    return APIClient().post("/api/token/logout/", {"refresh": refresh}, format="json")


def test_a_wrong_password_is_refused_with_a_reason(user):
    body = {"username": user.username, "password": "wrong"}
    answer = APIClient().post("/api/token/", body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.json()["message"]


def test_a_refresh_rotates_and_the_old_one_is_refused(user):
    tokens = log_in(user)
    again = refreshed(tokens["refresh"])
    assert can_read(again.json()["access"])
    assert refreshed(tokens["refresh"]).status_code == 401


def test_a_logout_ends_that_login_and_no_other(user):
    phone, tablet = log_in(user), log_in(user)
    phone_again = refreshed(phone["refresh"]).json()
    assert can_read(phone["access"])
    assert log_out(phone_again["refresh"]).status_code == 204
    assert not can_read(phone["access"])
    assert not can_read(phone_again["access"])
    assert refreshed(phone_again["refresh"]).status_code == 401
    assert can_read(tablet["access"])
    assert refreshed(tablet["refresh"]).status_code == 200


@pytest.mark.parametrize("body", [{}, {"refresh": "x"}, {"refresh": ""}])
def test_a_bad_logout_is_refused_with_a_reason(body):
    answer = APIClient().post("/api/token/logout/", body, format="json")
    assert answer.status_code in (400, 401)
    assert answer.json()["message"]


def test_a_changed_password_ends_every_login(user):
    tokens = log_in(user)
    user.set_password("another-one")
    user.save()
    assert not can_read(tokens["access"])


def test_a_deactivated_user_is_out(user):
    tokens = log_in(user)
    user.is_active = False
    user.save()
    assert not can_read(tokens["access"])
    assert refreshed(tokens["refresh"]).status_code == 401
