"""A device ends with the login that registered it, however that ends; and with no other."""

from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.management.commands import changepassword
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from holodrive.realtime import auth
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.tokens import RefreshToken
from push import logins, services
from push.models import Device, Push
from push.worker import _LOOK, Worker

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD, NEW_PASSWORD = "0ld-passw0rd", "n3w-passw0rd"


def rest(access):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
    return client


def log_in(user, device="phone"):
    """An app's login that has registered a device."""
    answer = APIClient().post(
        "/api/token/", {"username": user.username, "password": PASSWORD}, format="json"
    )
    login = SimpleNamespace(user=user, **answer.json())
    body = {"platform": "android", "token": device}
    assert rest(login.access).post("/api/devices/", body, format="json").status_code == 201
    login.sid = RefreshToken(login.refresh)["sid"]
    return login


def refresh(login):
    answer = APIClient().post("/api/token/refresh/", {"refresh": login.refresh}, format="json")
    assert answer.status_code == 200
    vars(login).update(answer.json())


def open_browser(user, device="browser"):
    """A browser in the admin that has registered itself."""
    browser = Client()
    assert browser.login(username=user.username, password=PASSWORD)
    body = {"platform": "web", "token": device}
    answer = browser.post("/api/devices/", body, content_type="application/json")
    assert answer.status_code == 201
    session = browser.session
    return SimpleNamespace(user=user, browser=browser, session=session, key=session.session_key)


@pytest.fixture
def user(make_user, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a fast one
    return make_user("admin", password=PASSWORD)


@pytest.fixture
def told(worker, clock, notify, recorder):
    """`told(user)`: the devices that are told of a new notification, `days` from now."""

    def tell(user, days=0):
        clock.move(days * 24 * 3600)
        Push.objects.all().delete()
        notify(user)
        Push.objects.update(created_at=clock(), due_at=clock())
        recorder.told.clear()
        worker.work()
        return sorted(token for token, _ in recorder.told)

    return tell


# How a login ends


def with_a_new_password(user):
    user = get_user_model().objects.get(pk=user.pk)
    user.set_password(NEW_PASSWORD)
    return user


def by_command(login, monkeypatch, **kwargs):
    command = changepassword.Command()
    monkeypatch.setattr(command, "_get_pass", lambda prompt="": NEW_PASSWORD)
    call_command(command, login.user.username, verbosity=0)


def in_the_admin(login, make_user, **kwargs):
    staff = Client()
    staff.force_login(make_user("admin"))
    form = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"}
    path = f"/admin/accounts/user/{login.user.pk}/password/"
    assert staff.post(path, form).status_code == 302


def by_another_browser(login, **kwargs):
    other = Client()
    other.login(username=login.user.username, password=PASSWORD)
    change_password(other)


def change_password(browser):
    form = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    assert browser.post("/admin/password_change/", form).status_code == 302


def rotate_keys(login, settings, monkeypatch, **kwargs):
    settings.SECRET_KEY = "another" * 8
    monkeypatch.setattr(api_settings, "SIGNING_KEY", settings.SECRET_KEY)


def users(login):
    return get_user_model().objects.filter(pk=login.user.pk)


def update_password(login, **kwargs):
    users(login).update(password=with_a_new_password(login.user).password)


def log_out(login, **kwargs):
    APIClient().post("/api/token/logout/", {"refresh": login.refresh}, format="json")


def revoke(login, **kwargs):
    RevokedSession.objects.create(sid=login.sid, expires_at=timezone.now() + timedelta(30))


def revoke_in_bulk(login, **kwargs):
    row = RevokedSession(sid=login.sid, expires_at=timezone.now() + timedelta(30))
    RevokedSession.objects.bulk_create([row])


def blacklist(login, **kwargs):
    jti = RefreshToken(login.refresh)["jti"]
    row = BlacklistedToken(token=OutstandingToken.objects.get(jti=jti))
    BlacklistedToken.objects.bulk_create([row])


def refresh_and_blacklist(login, **kwargs):
    refresh(login)
    blacklist(login)


def refresh_register_and_blacklist(login, **kwargs):
    refresh(login)
    body = {"platform": "android", "token": "phone"}
    assert rest(login.access).post("/api/devices/", body, format="json").status_code == 200
    blacklist(login)


def blacklist_by_simplejwt(login, **kwargs):
    simplejwt.RefreshToken(login.refresh).blacklist()


def expire(login, **kwargs):
    Session.objects.update(expire_date=timezone.now() - timedelta(1))


def expire_and_clear(login, **kwargs):
    expire(login)
    call_command("clearsessions")


OF_THE_USER = {
    "set_password": lambda login, **_: with_a_new_password(login.user).save(),
    "update": update_password,
    "an unusable password": lambda login, **_: users(login).update(password="!"),
    "changepassword": by_command,
    "the admin": in_the_admin,
    "another browser": by_another_browser,
    "deactivated": lambda login, **_: users(login).update(is_active=False),
    "deleted": lambda login, **_: users(login).get().delete(),
    "another key": rotate_keys,
}
OF_TOKENS = {
    "logout": log_out,
    "revoked": revoke,
    "revoked in bulk": revoke_in_bulk,
    "blacklisted": blacklist,
    "blacklisted by simplejwt": blacklist_by_simplejwt,
    "refreshed and blacklisted": refresh_and_blacklist,
    "refreshed, registered and blacklisted": refresh_register_and_blacklist,
}
OF_SESSIONS = {
    "logout": lambda login, **_: login.browser.post("/admin/logout/"),
    "flush": lambda login, **_: login.session.flush(),
    "cycled": lambda login, **_: login.session.cycle_key(),
    "row deleted": lambda login, **_: Session.objects.filter(pk=login.key).delete(),
    "table emptied": lambda login, **_: connection.cursor().execute("DELETE FROM django_session"),
    "expired": expire,
    "expired and cleared": expire_and_clear,
    "this browser's new password": lambda login, **_: change_password(login.browser),
}


@pytest.mark.parametrize(
    ("log_in", "ending"),
    [
        *[(log_in, ending) for ending in (OF_THE_USER | OF_TOKENS).items()],
        *[(open_browser, ending) for ending in (OF_THE_USER | OF_SESSIONS).items()],
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value.__name__,
)
def test_a_device_ends_with_its_login(log_in, ending, user, told, make_user, monkeypatch, settings):
    login = log_in(user)
    assert len(told(user)) == 1
    ending[1](login, make_user=make_user, monkeypatch=monkeypatch, settings=settings)
    if ending[0] != "deleted":
        assert told(user) == []
    # Who is deactivated may come back with the same password: so may the device.
    assert Device.objects.exists() == (ending[0] == "deactivated")


def test_nobody_who_registered_with_the_old_password_meanwhile_is_told(user, told):
    """The request was authenticated before the change, and stores the device behind it."""
    login = log_in(user)
    Device.objects.all().delete()
    update_password(login)
    claims = RefreshToken(login.refresh).access_token
    services.register(user=user, platform="ios", token="late", login=logins.of_token(user, claims))
    assert told(user) == []


def test_a_login_that_is_not_refreshed_ends_with_its_refresh_token(user, told):
    log_in(user)
    assert told(user, days=29.9) == ["phone"]
    assert told(user, days=0.2) == []


def test_a_refresh_extends_it_and_only_its_own(user, told):
    login = log_in(user)
    log_in(user, "tablet")
    Device.objects.update(login_expires_at=timezone.now() + timedelta(days=1))
    refresh(login)
    expires_at = RefreshToken(login.refresh)["exp"]
    assert Device.objects.get(token="phone").login_expires_at.timestamp() == expires_at
    assert told(user, days=2) == ["phone"]


def test_a_device_of_a_token_that_a_refresh_has_replaced_is_refused(user, told):
    """Stored with it, the device would end at the next push, and no app would know."""
    login = log_in(user)
    before = login.access
    refresh(login)
    device = {"platform": "android", "token": "another"}
    answer = rest(before).post("/api/devices/", device, format="json")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")
    assert rest(login.access).post("/api/devices/", device, format="json").status_code == 201
    assert told(user) == ["another", "phone"]


def test_a_refresh_does_not_undo_a_new_password(user, told):
    login = log_in(user)
    update_password(login)
    logins.renew(login.sid, "another", timezone.now() + timedelta(days=30))
    assert told(user) == []


@pytest.mark.parametrize("log_in", [log_in, open_browser])
def test_what_ends_no_login_ends_no_device(log_in, user, told, settings, monkeypatch):
    login, name = log_in(user), "phone" if log_in.__name__ == "log_in" else "browser"
    other = globals()["log_in"](user, "another")
    APIClient().post("/api/token/logout/", {"refresh": other.refresh}, format="json")
    user.first_name = "New"
    user.save()
    Client().login(username=user.username, password=PASSWORD)
    RevokedSession.objects.create(sid="another", expires_at=timezone.now() + timedelta(30))
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    rotate_keys(login, settings, monkeypatch)
    assert told(user) == [name]


def test_a_session_in_use_keeps_its_device_for_longer_than_it_had_then(user, told):
    login = open_browser(user)
    assert told(user, days=13.9) == ["browser"]
    Session.objects.filter(pk=login.key).update(expire_date=timezone.now() + timedelta(days=28))
    assert told(user, days=10) == ["browser"]
    assert told(user, days=10) == []


@pytest.mark.parametrize("engine", ["cache", "file", "signed_cookies"])
def test_a_session_that_is_no_row_has_its_device_for_as_long_as_it_lives_unused(
    engine, user, told, settings
):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session.save()
    services.register(user=user, platform="ios", token="it", login=logins.of_session(user, session))
    assert told(user, days=13.9) == ["it"]
    assert told(user, days=0.2) == []
    session.delete()


def test_a_password_that_changes_between_the_claim_and_the_sending_is_seen(
    user, worker, monkeypatch, told
):
    log_in(user)
    take = worker._take

    def taken_before_the_change():
        tasks = take()
        with_a_new_password(user).save()
        return tasks

    monkeypatch.setattr(worker, "_take", taken_before_the_change)
    assert told(user) == []
    assert not Device.objects.exists()


def test_a_password_that_changes_while_a_batch_is_sent_is_seen(
    user, worker, monkeypatch, told, add_device
):
    for number in range(_LOOK + 3):
        add_device(user, f"{number:02}")
    look, looks = worker._living, []

    def later_with_a_new_password(ids):
        looks.append(ids)
        if len(looks) == 2:
            with_a_new_password(user).save()
        return look(ids)

    monkeypatch.setattr(worker, "_living", later_with_a_new_password)
    assert told(user) == [f"{number:02}" for number in range(_LOOK)]


def test_who_logs_in_again_and_registers_again_is_told_again(user, told):
    login = log_in(user)
    update_password(login)
    stale = Device.objects.get()
    answer = APIClient().post(
        "/api/token/", {"username": user.username, "password": NEW_PASSWORD}, format="json"
    )
    body = {"platform": "android", "token": "phone"}
    rest(answer.json()["access"]).post("/api/devices/", body, format="json")
    logins._delete([stale])  # by a worker that had read it before
    assert told(user) == ["phone"]


def test_many_are_judged_by_as_many_queries_as_one(user, make_user, add_device):
    def queries():
        with CaptureQueriesContext(connection) as seen:
            assert (
                len(logins.living(Device.objects.all(), timezone.now())) == Device.objects.count()
            )
        return len(seen) - 1  # the count

    log_in(user)
    open_browser(user)
    few = queries()
    for number in range(5):
        log_in(other := make_user(password=PASSWORD), f"phone {number}")
        open_browser(other, f"browser {number}")
    assert queries() == few == 2


def test_nothing_that_is_stored_opens_anything(user):
    login, browser = log_in(user), open_browser(user)
    user.refresh_from_db()
    doors = {login.access, login.refresh, browser.key, user.password, user.get_session_auth_hash()}
    stored = [str(value) for row in Device.objects.values() for value in row.values()]
    assert not [text for text in stored if any(door in text for door in doors)]
    assert max(len(start) for start in Device.objects.values_list("session_start", flat=True)) == 8
    for text in stored:
        assert rest(text or "x").get("/api/me/").status_code == 401
        stranger = Client()
        stranger.cookies["sessionid"] = text
        assert stranger.get("/api/me/").status_code == 401


def test_a_device_of_code_ends_with_the_password_of_then(user, told, add_device):
    add_device(user)
    with_a_new_password(user).save()
    assert told(user) == []


def test_the_devices_of_the_release_before_go_on_for_as_long_as_a_login_can(user, told):
    """What it stores has none of the facts; so has what it stores while both run."""
    session = auth.digest("a session's key")
    before = [("old phone", "0123456789abcdef" * 2), ("old browser", session), ("older", "")]
    for token, login in before:
        Device.objects.create(user=user, platform="ios", token=token, login=login)
    Device.objects.update(proof="", renewed_at=timezone.now() - timedelta(days=300))
    loader = MigrationLoader(None)
    bind = loader.get_migration("push", "0005_logins_of_devices").operations[0].code
    bind(apps, SimpleNamespace(connection=connection))
    assert not Device.objects.filter(proof="").exists()
    Device.objects.create(user=user, platform="ios", token="meanwhile")
    Device.objects.filter(token="meanwhile").update(proof="")
    assert told(user, days=13) == ["meanwhile", "old browser", "old phone", "older"]
    logins.renew("0123456789abcdef" * 2, "jti", timezone.now() + timedelta(days=60))
    assert told(user, days=2) == ["meanwhile", "old phone", "older"]
    assert told(user, days=16) == ["meanwhile", "old phone"]
    assert told(user, days=13) == ["old phone"]
    with_a_new_password(user).save()
    assert told(user) == []


def test_a_worker_of_its_own_sees_it_as_well(user, notify, recorder, clock):
    log_in(user)
    notify(user)
    clock.move(6)
    with_a_new_password(user).save()
    Worker(now=clock).work()
    assert recorder.told == []
