"""Guessing passwords: failures are counted, successes are not."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from django.core.cache import caches
from django.db import connection
from rest_framework.test import APIClient

from holodrive.accounts import throttle
from holodrive.realtime.addresses import client_address

pytestmark = pytest.mark.django_db(transaction=True)
_numbers = count(1)


@pytest.fixture(autouse=True)
def limits(settings, monkeypatch):
    """Three failures by name and address, six by address; and never the next window."""
    settings.LOGIN_FAILURES_PER_USER = 3
    settings.LOGIN_FAILURES_PER_ADDRESS = 6
    monkeypatch.setattr(throttle.time, "time", lambda: 1_800_000_000.0)


@pytest.fixture
def address():
    """One that no other test has used: the counters outlive a test."""
    return f"198.51.100.{next(_numbers)}"


@pytest.fixture
def user(make_user):
    return make_user(password="holodrive-demo")


def log_in(username, password, address, **headers):
    body = {"username": username, "password": password}
    client = APIClient(REMOTE_ADDR=address, headers=headers)
    return client.post("/api/token/", body, format="json")


def codes(*answers):
    return [answer.status_code for answer in answers]


def fail(username, address, times, **headers):
    return codes(*(log_in(username, "wrong", address, **headers) for _ in range(times)))


def test_after_three_failures_even_the_right_password_has_to_wait(user, address):
    assert fail(user.username, address, 3) == [401] * 3
    answer = log_in(user.username, "holodrive-demo", address)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.json()["message"]
    assert 0 < int(answer["Retry-After"]) <= 900


def test_the_next_window_begins_anew(user, address, monkeypatch):
    assert fail(user.username, address, 4) == [401, 401, 401, 429]
    monkeypatch.setattr(throttle.time, "time", lambda: 1_800_000_000.0 + throttle.WINDOW)
    assert log_in(user.username, "holodrive-demo", address).status_code == 200


def test_successes_do_not_count(user, address):
    answers = [log_in(user.username, "holodrive-demo", address) for _ in range(8)]
    assert codes(*answers) == [200] * 8
    assert fail(user.username, address, 3) == [401] * 3


def test_a_malformed_login_does_not_count(address):
    client = APIClient(REMOTE_ADDR=address)
    for body in ({}, {"username": "x"}, [], {"username": 1, "password": []}):
        for _ in range(7):
            assert client.post("/api/token/", body, format="json").status_code == 400


def test_failures_elsewhere_do_not_lock_a_user_out(user, address):
    assert fail(user.username, address, 4) == [401, 401, 401, 429]
    assert log_in(user.username, "holodrive-demo", f"{address[:-1]}250").status_code == 200


def test_an_address_that_tries_many_names_has_to_wait(user, address):
    assert [fail(f"nobody{n}", address, 1) for n in range(6)] == [[401]] * 6
    assert log_in(user.username, "holodrive-demo", address).status_code == 429


def test_one_who_is_over_his_limit_does_not_lock_his_carrier_out(user, address):
    fail("nobody", address, 20)
    assert log_in(user.username, "holodrive-demo", address).status_code == 200


def test_many_attempts_at_once_do_not_slip_through(user, address):
    def attempt(_):
        try:
            return log_in(user.username, "wrong", address).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(attempt, range(6))) == [401] * 3 + [429] * 3


def test_zero_switches_a_limit_off(user, address, settings):
    settings.LOGIN_FAILURES_PER_USER = settings.LOGIN_FAILURES_PER_ADDRESS = 0
    assert fail(user.username, address, 10) == [401] * 10


def test_without_redis_the_process_counts(user, address, monkeypatch):
    def away(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(type(caches["default"]), "add", away)
    assert fail(user.username, address, 4) == [401, 401, 401, 429]


def test_the_admins_login_counts_too(make_user, client, address):
    admin = make_user("admin", password="holodrive-demo")
    form = {"username": admin.username, "password": "wrong"}
    for _ in range(3):
        page = client.post("/admin/login/", form, REMOTE_ADDR=address).content.decode()
        assert "Too many" not in page
    right = form | {"password": "holodrive-demo"}
    page = client.post("/admin/login/", right, REMOTE_ADDR=address)
    assert "Too many failed logins" in page.content.decode()
    assert client.post("/admin/login/", right, REMOTE_ADDR=f"{address[:-1]}251").status_code == 302


def test_behind_a_proxy_of_ours_the_client_counts(user, address):
    for other in (1, 2):
        real = f"203.0.113.{other}{next(_numbers)}"
        headers = {"X-Real-IP": real}
        assert fail(user.username, "127.0.0.1", 4, **headers) == [401, 401, 401, 429]


@pytest.mark.parametrize(
    ("peer", "real_ip", "address"),
    [
        ("198.51.100.1", "203.0.113.1", "198.51.100.1"),  # anybody can write that header
        ("127.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("10.1.2.3", "203.0.113.1", "203.0.113.1"),
        (None, "203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "nonsense", "nonsense"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.1", None, "198.51.100.1"),
        (None, None, ""),
    ],
)
def test_whose_address_it_is(settings, peer, real_ip, address):
    settings.TRUSTED_PROXIES = ["127.0.0.1", "10.0.0.0/8"]
    assert client_address(peer, real_ip) == address
