"""Places are shared by turns, and a user's budget of REST is spent by what things cost."""

import threading

import pytest

from holodrive.realtime import hashing, rest_budget
from holodrive.realtime.places import Places
from holodrive.realtime.rest_budget import Budgets
from holodrive.realtime.tests.test_limits import Clock
from holodrive.realtime.wire import RateLimited, Unavailable
from testing.client import access_token, bearer


def taker(places, begun):
    def take(key, name):
        places.take(key, lambda: begun.append(name))

    return take


def test_no_more_than_there_are_places_begin():
    places, begun = Places(2, 2), []
    take = taker(places, begun)
    for name in "abc":
        take("one", name)
    assert (begun, places.taken, places.waiting) == (["a", "b"], 2, 1)
    places.give_back("one")
    assert (begun, places.taken, places.waiting) == (["a", "b", "c"], 2, 0)


def test_whoever_waits_takes_turns_by_address():
    places, begun = Places(1, 1), []
    take = taker(places, begun)
    for name in ("a1", "a2", "a3"):
        take("a", name)
    take("b", "b1")
    for key in "aab":
        places.give_back(key)
    assert begun == ["a1", "a2", "b1", "a3"]


def test_one_address_never_has_all():
    places, begun = Places(4, 3), []
    take = taker(places, begun)
    for name in ("a1", "a2", "a3", "a4"):
        take("a", name)
    take("b", "b1")
    assert begun == ["a1", "a2", "a3", "b1"]
    places.give_back("b")
    assert begun == ["a1", "a2", "a3", "b1"]
    places.give_back("a")
    assert begun[-1] == "a4"


def test_whoever_no_longer_waits_gets_none():
    places = Places(1, 1)
    begun = []
    first, second = begun.append, threading.Event().set
    places.take("a", lambda: first("a"))
    places.take("b", second)
    assert places.withdraw("b", second)
    assert not places.withdraw("b", second)
    places.give_back("a")
    assert (places.taken, places.waiting) == (0, 0)


# Passwords


def test_too_many_passwords_at_once_are_refused_first_of_an_address_then_of_all(monkeypatch):
    turns = Places(1, 1)
    turns.take("", bool)  # somebody hashes
    monkeypatch.setattr(hashing, "_WAITING_OF_ONE", 2)
    monkeypatch.setattr(hashing, "_WAITING", 3)
    for _ in range(2):
        turns.take("", bool)
    with pytest.raises(RateLimited), hashing._turn(turns):
        pass
    turns.take("elsewhere", bool)
    monkeypatch.setattr(hashing, "_WAITING_OF_ONE", 9)
    with pytest.raises(Unavailable), hashing._turn(turns):
        pass


def test_who_waits_too_long_for_a_turn_gives_up_its_place_in_the_queue(monkeypatch):
    turns = Places(1, 1)
    turns.take("", bool)
    monkeypatch.setattr(hashing, "_PATIENCE", 0.01)
    with pytest.raises(RateLimited), hashing._turn(turns):
        pass
    turns.give_back("")
    assert (turns.taken, turns.waiting) == (0, 0)


def test_every_way_to_a_hash_takes_a_turn(monkeypatch):
    from django.contrib.auth.hashers import check_password, make_password

    taken = []
    take = Places.take
    monkeypatch.setattr(Places, "take", lambda self, *args: (taken.append(1), take(self, *args)))
    encoded = make_password("right")
    assert len(taken) == 1
    assert check_password("right", encoded)
    assert len(taken) == 2
    assert not check_password("wrong", encoded)
    assert not check_password("wrong", "!unusable")  # of a user without a password
    assert len(taken) == 4


# REST


def allowed(budgets, clock, key, rate, cost=1):
    count = 0
    while not budgets.seconds_until_allowed(key, rate) and count < 1000:
        budgets.charge(key, rate, cost)
        count += 1
    return count


def test_four_seconds_may_be_spent_at_once_and_then_the_rate():
    clock = Clock()
    budgets = Budgets(clock)
    assert allowed(budgets, clock, "a", 20) == 80
    assert budgets.seconds_until_allowed("a", 20) == pytest.approx(0.05)
    clock.now += 1
    assert allowed(budgets, clock, "a", 20) == 20
    assert allowed(budgets, clock, "b", 20) == 80
    clock.now += 3600
    assert allowed(budgets, clock, "a", 20) == 80


def test_what_is_dear_leaves_a_debt():
    clock = Clock()
    budgets = Budgets(clock)
    budgets.charge("a", 20, 200)
    assert budgets.seconds_until_allowed("a", 20) == pytest.approx(121 / 20)
    clock.now += 7
    assert not budgets.seconds_until_allowed("a", 20)


def test_whoever_rests_is_forgotten():
    clock = Clock()
    budgets = Budgets(clock)
    for key in range(1000):
        budgets.charge(key, 20, 1)
        clock.now += 1
    assert len(budgets._buckets) < 130


@pytest.fixture
def clock(monkeypatch, settings):
    settings.REALTIME_REQUESTS_PER_SECOND = 2
    clock = Clock()
    monkeypatch.setattr(rest_budget, "_budgets", Budgets(clock))
    return clock


def test_a_user_over_the_budget_is_told_when_and_nobody_else(clock, client, make_user):
    mine, others = [bearer(access_token(make_user())) for _ in range(2)]
    for _ in range(8):
        assert client.get("/api/me/", headers=mine).status_code == 200
    refused = client.get("/api/me/", headers=mine)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["Retry-After"] == "1"
    assert client.get("/api/me/", headers=others).status_code == 200
    clock.now += 1
    assert client.get("/api/me/", headers=mine).status_code == 200


def test_a_session_counts_as_its_user_and_staff_may_more(clock, client, make_user):
    client.force_login(make_user("admin"))
    statuses = [client.get("/api/conversations/").status_code for _ in range(41)]
    assert statuses == [200] * 40 + [429]


def test_rows_and_searches_cost_more(clock, client, make_user):
    from notifications.models import Notification

    user = make_user()
    client.force_login(user)
    for _ in range(100):
        Notification.objects.create(recipient=user, title="Here", message="x")
    assert client.get("/api/notifications/?limit=100").status_code == 200  # 1 + 4 of 8
    assert client.get("/api/notifications/?limit=100").status_code == 200
    assert client.get("/api/notifications/?limit=1").status_code == 429
    searching = make_user()
    client.force_login(searching)
    assert client.get("/api/messages/search/?q=here").status_code == 200
    assert client.get("/api/messages/search/?q=here").status_code == 429


def test_without_a_login_the_address_counts_for_each_view(clock, client, transactional_db):
    wrong = {"username": "nobody", "password": "x"}

    def post(path, **headers):
        return client.post(path, wrong, "application/json", headers=headers).status_code

    assert [post("/api/token/") for _ in range(5)] == [401, 401, 401, 401, 429]
    assert post("/api/token/refresh/") == 400
    assert post("/api/token/", **{"X-Real-IP": "203.0.113.7"}) == 401


def test_zero_is_no_limit(clock, client, make_user, settings):
    settings.REALTIME_REQUESTS_PER_SECOND = 0
    client.force_login(make_user())
    assert all(client.get("/api/me/").status_code == 200 for _ in range(50))


def test_too_many_parameters_are_told_in_the_shape_of_all_errors(client, make_user):
    client.force_login(make_user())
    answer = client.get("/api/notifications/?" + "a&" * 7000)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


def test_the_admins_login_is_refused_with_429(client, monkeypatch, transactional_db):
    def busy(*args):
        raise RateLimited("Too many logins at once: try again in a moment.")

    monkeypatch.setattr(hashing.Places, "waiting_of", busy)
    answer = client.post("/admin/login/", {"username": "nobody", "password": "x"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
