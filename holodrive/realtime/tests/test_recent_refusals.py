"""What a user over their budget still costs: a refusal made before Django sees the request."""

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator

import holodrive.asgi
from holodrive.realtime import requests, rest_budget
from holodrive.realtime.recent_refusals import RecentRefusals
from testing.client import access_token
from testing.patience import PATIENCE

TOKEN, OTHER = (b"authorization", b"Bearer one"), (b"authorization", b"Bearer two")
COOKIE = (b"cookie", b"sessionid=one")
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def scope(path, *headers):
    return {"type": "http", "path": path, "headers": [*headers]}


@pytest.mark.parametrize(
    ("refused", "address", "asked", "seconds"),
    [
        (scope("/api/messages/", TOKEN), HERE, scope("/api/messages/", TOKEN), 3),
        (scope("/api/messages/", TOKEN), HERE, scope("/api/conversations/7/", TOKEN), 3),
        (scope("/api/messages/", COOKIE), HERE, scope("/api/me/", COOKIE), 3),
        (scope("/api/messages/", TOKEN), HERE, scope("/api/messages/", OTHER), 0),
        (scope("/api/messages/", TOKEN), HERE, scope("/api/messages/"), 0),
        (scope("/api/messages/", TOKEN), ELSEWHERE, scope("/api/messages/", TOKEN), 0),
        (scope("/api/messages/", TOKEN), HERE, scope("/healthz", TOKEN), 0),
        (scope("/api/messages/", COOKIE), HERE, scope("/admin/", COOKIE), 0),
        (scope("/api/token/"), HERE, scope("/api/token/"), 3),
        (scope("/api/token/"), HERE, scope("/api/token/refresh/"), 0),
        (scope("/api/token/"), ELSEWHERE, scope("/api/token/"), 0),
    ],
)
def test_a_refusal_counts_for_the_same_client_alone(refused, address, asked, seconds):
    refusals = RecentRefusals(Clock())
    refusals.note(HERE, refused, 2.5)
    assert refusals.seconds_left(address, asked) == seconds


def test_it_ends_with_the_debt_and_after_ten_seconds_at_most():
    clock = Clock()
    refusals = RecentRefusals(clock)
    asked = scope("/api/me/", TOKEN)
    refusals.note(HERE, asked, 0.3)
    assert refusals.seconds_left(HERE, asked) == 1
    clock.now += 0.3
    assert refusals.seconds_left(HERE, asked) == 0
    refusals.note(HERE, asked, 3600)
    clock.now += 9.9
    assert refusals.seconds_left(HERE, asked) == 1
    clock.now += 0.2
    assert refusals.seconds_left(HERE, asked) == 0


def test_refusals_of_many_clients_stay_bounded_and_make_room_again():
    clock = Clock()
    refusals = RecentRefusals(clock)
    for number in range(20_000):
        refusals.note(HERE, scope(f"/api/{number}/"), 5)
    assert len(refusals._until) == 10_000
    clock.now += 6
    refusals.note(HERE, scope("/api/me/", TOKEN), 5)
    assert len(refusals._until) == 1


async def get(path, *headers):
    """Return the status and headers of a request through the whole application."""
    application = ApplicationCommunicator(
        holodrive.asgi.application,
        {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"testserver"), *headers],
            "client": (HERE, 40000),
        },
    )
    await application.send_input({"type": "http.request", "body": b""})
    start = await application.receive_output(PATIENCE)
    await application.receive_output(PATIENCE)
    await application.wait(PATIENCE)
    return start["status"], dict(start["headers"])


@pytest.mark.django_db(transaction=True)
async def test_a_user_over_budget_reaches_no_view_until_the_debt_is_paid(
    make_user, settings, monkeypatch
):
    settings.REALTIME_REQUESTS_PER_SECOND = 1
    clock = Clock()
    monkeypatch.setattr(rest_budget, "_budgets", rest_budget.Budgets(clock))
    refusals = RecentRefusals(clock)
    for module in (requests, rest_budget):
        monkeypatch.setattr(module, "recent_refusals", refusals)
    asked = []
    allow = rest_budget.WithinBudget.allow_request
    monkeypatch.setattr(
        rest_budget.WithinBudget,
        "allow_request",
        lambda *args: asked.append(1) or allow(*args),
    )
    token = await sync_to_async(access_token)(await sync_to_async(make_user)())
    header = (b"authorization", f"Bearer {token}".encode())
    statuses = [(await get("/api/me/", header))[0] for _ in range(10)]
    assert statuses == [200] * 4 + [429] * 6
    assert len(asked) == 5  # four that passed, and the one refusal that the view made
    status, headers = await get("/api/notifications/", header)
    assert (status, headers[b"retry-after"], len(asked)) == (429, b"1", 5)
    assert (await get("/healthz", header))[0] == 200
    clock.now += 1
    assert (await get("/api/me/", header))[0] == 200
