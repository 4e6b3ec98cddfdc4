"""What answers carry so that browsers keep and run nothing that they should not."""

import re
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import get_resolver, reverse

from testing.browser import PATIENCE, expect_nothing_refused
from testing.client import access_token

pytestmark = pytest.mark.django_db

JSON = "application/json"
POLICY = {
    "default-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "img-src 'self' data:",
}


@pytest.fixture
def superuser(db: None) -> Any:
    """Without a password: hashing one takes longer than all that is asked here."""
    return get_user_model().objects.create(username="a", is_staff=True, is_superuser=True)


@pytest.fixture
def staff(superuser: Any, client: Client) -> Client:
    client.force_login(superuser)
    return client


def policy(response: Any) -> set[str]:
    return set(response.headers.get("Content-Security-Policy", "").split("; "))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/admin/",
        "/admin/login/",
        "/admin/chat/console/",
        "/admin/chat/conversation/",
        "/admin/nowhere/",
        "/nowhere",
        "/api/docs/",
        "/api/schema/",
        "/api/me/",
        "/api/token/",
        "/api/nowhere/",
        "/api/notifications/texts.js",
    ],
)
@pytest.mark.parametrize("role", ["nobody", "admin"])
def test_every_answer_has_a_policy_without_anything_inline_or_foreign(path, role, superuser):
    client = Client()
    if role == "admin":
        client.force_login(superuser)
    found = policy(client.get(path))
    assert found >= POLICY
    assert "unsafe" not in str(found)
    sockets = f"ws://{settings.WEBSOCKET_URL} wss://{settings.WEBSOCKET_URL}"
    assert found - POLICY == {f"connect-src 'self' {sockets}"}


# What is personal is not stored


PUBLIC = {"schema", "docs", "realtime-docs", "asyncapi"}  # the same for everybody
SCRIPTS = {"notification-texts", "chat-texts", "push-worker"}  # say themselves how long they last


def rest_paths() -> dict[str, str]:
    """The name and a path of everything under /api/."""
    found = {}
    for pattern in get_resolver().url_patterns:
        for inner in getattr(pattern, "url_patterns", [pattern]):
            prefix = str(pattern.pattern) if inner is not pattern else ""
            path = "/" + re.sub(r"<.*?>", "1", prefix + str(inner.pattern))
            if path.startswith("/api/"):
                found[inner.name] = path
    return found


PATHS = {name: path for name, path in rest_paths().items() if name not in PUBLIC | SCRIPTS}
PATHS |= {"": "/api/nowhere/", "no slash": "/api/me", "root": "/api/"}


def test_the_table_has_all_of_rest() -> None:
    assert {"me", "token", "token-refresh", "realtime-ticket", "devices", "note"} <= PATHS.keys()
    assert rest_paths().keys() >= PUBLIC | SCRIPTS


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("method", ["get", "head", "post", "patch", "put", "delete", "options"])
def test_no_answer_of_rest_is_stored_whatever_its_status(name, method, superuser):
    """Without credentials, with wrong ones, and with good ones: 200 to 500."""
    token = access_token(superuser)
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer {token}"}):
        for body in ("{}", "{"):
            answer = Client(raise_request_exception=False).generic(
                method.upper(), PATHS[name], body, "application/json", headers=headers
            )
            assert answer.headers.get("Cache-Control") == "no-store", answer.status_code


def test_a_login_a_refresh_and_a_fault_are_not_stored(monkeypatch):
    user = get_user_model().objects.create_user("rider", password="good enough")
    client = Client(raise_request_exception=False)
    login = client.post("/api/token/", {"username": "rider", "password": "good enough"}, JSON)
    refresh = client.post("/api/token/refresh/", {"refresh": login.json()["refresh"]}, JSON)
    bad = client.post("/api/token/", {"username": "rider", "password": "wrong"}, JSON)

    def fail(self: Any, request: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("holodrive.accounts.api.Me.get", fail)
    fault = client.get("/api/me/", headers={"Authorization": f"Bearer {access_token(user)}"})
    answers = {answer.status_code: answer.headers.get("Cache-Control") for answer in (bad, fault)}
    assert answers == {401: "no-store", 500: "no-store"}
    for answer in (login, refresh):
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/admin/", 200),
        ("/admin/chat/console/", 200),
        ("/admin/chat/message/", 200),
        ("/admin/password_change/", 200),
        ("/admin/password_change/done/", 200),
        ("/admin/chat/message/?nowhere__x=1", 400),
        ("/admin/chat/message/1/delete/", 403),
        ("/admin/nowhere/", 404),
    ],
)
def test_no_page_of_staff_is_stored(staff, path, status):
    answer = staff.get(path)
    assert answer.status_code == status
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("name", sorted(PUBLIC))
@pytest.mark.parametrize("method", ["get", "head", "post", "put", "delete", "options", "trace"])
def test_a_document_answers_every_method(name, method):
    assert Client().generic(method.upper(), reverse(name)).status_code in (200, 405)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_scripts_and_their_texts_may_be_kept(name, client):
    kept = client.get(rest_paths()[name]).headers["Cache-Control"]
    assert "no-store" not in kept


# In a browser


@pytest.fixture
def watched(site, log_in, make_user):
    """A profile of a superuser whose pages remember what their policy refused."""
    context = log_in(make_user("admin"))
    context.add_init_script(
        "window.refused = []; document.addEventListener('securitypolicyviolation', "
        "event => window.refused.push(`${event.violatedDirective} ${event.blockedURI}`))"
    )
    return context


def pages() -> list[str]:
    """Of the admin: lists and forms of all models. And those for developers."""
    found = ["/admin/", "/admin/login/", "/admin/password_change/", "/admin/chat/console/"]
    for model in admin.site._registry:
        place = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        found += [place, f"{place}add/"]
    return [*found, "/admin/auth/group/1/delete/", "/api/docs/", "/api/docs/realtime/"]


@pytest.mark.django_db(transaction=True)
def test_the_policy_refuses_nothing_that_our_pages_need(watched, site, trip):
    """The console says what it was refused as well: a source that it cannot read, for one."""
    from chat.models import Message

    message = Message(conversation=trip, sender=trip.rider, text="Here")
    message.save()
    Group.objects.create(pk=1, name="Agents")
    page, said = watched.new_page(), []
    page.on("console", lambda told: said.append(told.text))
    page.on("pageerror", lambda problem: said.append(str(problem)))
    changes = (reverse("admin:accounts_user_change", args=(trip.rider.pk,)),
               reverse("admin:chat_conversation_change", args=(trip.pk,)),
               reverse("admin:chat_message_change", args=(message.pk,)))  # fmt: skip
    for path in (*pages(), *changes):
        page.goto(path)
        refused = page.evaluate("window.refused")
        blamed = [text for text in said if "Content Security Policy" in text or "CSP" in text]
        assert (refused, blamed) == ([], []), path
    page.goto(changes[0])
    page.locator(".vDateField").first.locator("xpath=..").locator("a").last.click()
    page.goto("/api/docs/")
    page.get_by_text("/api/me/", exact=True).click(timeout=PATIENCE)
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.get_by_text("is_support").first.wait_for(timeout=PATIENCE)
    page.goto("/admin/chat/console/")
    page.locator("#bell[data-state=live]").wait_for(timeout=PATIENCE)
    expect_nothing_refused(page)


def test_browsers_find_an_icon_on_every_page(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 302
    assert finders.find(answer["Location"].removeprefix(settings.STATIC_URL))
