"""Settings of a host project that change where a session is kept, or where the site is."""

from importlib import import_module

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.test import Client
from django.urls import set_script_prefix

BACKEND = "django.contrib.auth.backends.ModelBackend"


def session_of(user, engine):
    session = import_module(engine).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = BACKEND
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session.session_key


@pytest.mark.parametrize("engine", ["db", "cache", "cached_db", "file", "signed_cookies"])
async def test_a_session_of_any_engine_opens_a_socket(
    connect, make_user, settings, tmp_path, engine
):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    user = await sync_to_async(make_user)("admin")
    key = await sync_to_async(session_of)(user, settings.SESSION_ENGINE)
    headers = {"Origin": "http://testserver"}
    cookie = f"{settings.SESSION_COOKIE_NAME}={key}"
    socket = await connect("/ws/notifications/", headers=headers | {"Cookie": cookie})
    assert (await socket.frame("connection_established"))["user_id"] == str(user.pk)
    wrong = await connect("/ws/notifications/", headers=headers | {"Cookie": f"{cookie[:-4]}AAAA"})
    assert await wrong.closed() == 4401


@pytest.mark.django_db(transaction=True)
def test_under_a_sub_path_every_link_and_request_goes_there(make_user, settings):
    settings.FORCE_SCRIPT_NAME = "/site"
    browser = Client()
    browser.force_login(make_user("admin"))
    set_script_prefix("/site/")  # as the handlers of WSGI and ASGI do
    try:
        page = browser.get("/admin/").content.decode()
        console = browser.get("/admin/chat/console/").content.decode()
    finally:
        set_script_prefix("/")
    for text in (page, console):
        assert 'href="/site/admin/' in text
        assert 'href="/admin/' not in text
        assert '"/api/' not in text
