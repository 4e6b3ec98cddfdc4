"""Web Push, against a service that decrypts what comes and checks who signed it."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import StringIO
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from notifications import services
from notifications.events import NotificationBody
from notifications.models import Notification
from push.backends import Clear, DeviceGone, Show, Unreachable
from push.backends.web import WebPush
from push.checks import check_backends
from push.models import Device, Push
from push.worker import Worker
from testing.client import wait_until
from testing.patience import PATIENCE
from testing.push import WebPushService
from testing.server import test_database_url
from testing.services import ROOT, free_port

pytestmark = pytest.mark.django_db(transaction=True)


def new_key():
    out = StringIO()
    call_command("vapid_keys", stdout=out, stderr=StringIO())
    return dict(line.split("=", 1) for line in out.getvalue().splitlines())


@pytest.fixture
def keys(settings):
    """As the command prints them."""
    found = new_key()
    settings.PUSH_VAPID_PRIVATE_KEY = found["PUSH_VAPID_PRIVATE_KEY"]
    settings.PUSH_VAPID_SUBJECT = found["PUSH_VAPID_SUBJECT"]
    settings.PUSH_BACKENDS = {"web": "push.backends.web.WebPush"}
    return found


@pytest.fixture
def service(keys, monkeypatch, settings):
    running = WebPushService(WebPush().public_key)
    settings.PUSH_WEB_HOSTS = [running.host]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.certificate))
    yield running
    running.close()


@pytest.fixture
def browser(service):
    return service.subscribe()


@pytest.fixture
def device(rider, browser):
    return Device.objects.create(
        user=rider, platform="web", token=browser.endpoint, keys=browser.keys
    )


def show(message="Hello", **fields):
    body = {
        "id": 7,
        "title": "Title",
        "message": message,
        "notification_type": "general",
        "related_object_type": "",
        "related_object_id": None,
        "data": {},
        "created_at": "2026-11-24T02:00:00.000000+00:00",
        "status": "unread",
    }
    return Show(
        tag="conversation-7",
        notification=NotificationBody(**(body | fields)),
        unread_count=3,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )


def test_the_browser_and_nobody_else_can_read_it(device, browser, service):
    WebPush().send(device, show())
    assert service.refused == []
    assert browser.received == [
        {
            "type": "show",
            "tag": "conversation-7",
            "notification": {
                "id": 7,
                "title": "Title",
                "message": "Hello",
                "notification_type": "general",
                "related_object_type": "",
                "related_object_id": None,
                "data": {},
                "created_at": "2026-11-24T02:00:00.000000+00:00",
                "status": "unread",
            },
            "unread_count": 3,
        }
    ]
    [headers] = browser.headers
    assert 3500 < int(headers["ttl"]) <= 3600
    assert headers["urgency"] == "high"


def test_a_clear_replaces_what_a_closed_browser_has_not_got_yet(device, browser):
    WebPush().send(device, show())
    WebPush().send(device, Clear(tag="conversation-7", up_to_id=7, unread_count=0))
    assert browser.received[1] == {
        "type": "clear",
        "tag": "conversation-7",
        "up_to_id": 7,
        "unread_count": 0,
    }
    assert browser.headers[0]["topic"] == browser.headers[1]["topic"]
    assert browser.headers[1]["urgency"] == "low"


@pytest.mark.parametrize("text", ["x" * 10_000, "Ж" * 10_000, '"\n' * 5000, "\x01" * 3000])
def test_a_long_text_is_cut_and_not_refused(text, device, browser, service):
    WebPush().send(device, show(text, data={"a": "b" * 1000}))
    assert service.refused == []
    shown = browser.received[0]["notification"]
    assert shown["message"].endswith("…")
    assert text.startswith(shown["message"][:-1])
    assert len(shown["message"]) > 300
    assert shown["data"] == {}


def test_a_key_that_the_browser_did_not_subscribe_with_is_a_mistake(device, service, settings):
    settings.PUSH_VAPID_PRIVATE_KEY = new_key()["PUSH_VAPID_PRIVATE_KEY"]
    with pytest.raises(RuntimeError, match="403"):
        WebPush().send(device, show())


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_ended_is_a_device_that_is_gone(status, device, browser):
    browser.answers = [(status, {})]
    with pytest.raises(DeviceGone):
        WebPush().send(device, show())


@pytest.mark.parametrize(
    ("status", "after", "seconds"),
    [(429, "120", 120), (503, None, 0), (500, "soon", 0), (429, "date", 90)],
)
def test_a_service_that_is_busy_is_asked_later(status, after, seconds, device, browser):
    if after == "date":
        after = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    browser.answers = [(status, {"Retry-After": after} if after else {})]
    with pytest.raises(Unreachable) as refused:
        WebPush().send(device, show())
    assert refused.value.after == pytest.approx(seconds, abs=5)


def test_a_service_that_is_away_is_asked_later(device, service, settings):
    settings.PUSH_WEB_HOSTS = ["localhost:1"]
    device.token = "https://localhost:1/push"
    with pytest.raises(Unreachable):
        WebPush().send(device, show())


def test_a_redirect_is_not_followed(device, browser, service):
    other = service.subscribe()
    browser.answers = [(307, {"Location": other.endpoint})]
    with pytest.raises(Unreachable):
        WebPush().send(device, show())
    assert service.asked == [urlsplit(browser.endpoint).path]


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://localhost/push",
        "https://127.0.0.1/push",
        "https://localhost.evil.example/push",
        "https://evil.example/?localhost",
        "https://localhost@evil.example/",
        "https://me@localhost/",
        "https://localhost:port/",
        "https://[localhost/",
        "localhost",
    ],
)
def test_only_the_hosts_of_push_services_are_posted_to(endpoint, device, browser):
    with pytest.raises(ValueError, match="no push service"):
        WebPush().check(endpoint, browser.keys)
    device.token = endpoint
    with pytest.raises(ValueError, match="no push service"):
        WebPush().send(device, show())


def test_a_host_with_a_dot_ahead_stands_for_those_below(browser, settings):
    settings.PUSH_WEB_HOSTS = [".push.apple.com"]
    WebPush().check("https://web.push.apple.com/x", browser.keys)
    for host in ("push.apple.com.evil.example", "xpush.apple.com"):
        with pytest.raises(ValueError, match="no push service"):
            WebPush().check(f"https://{host}/x", browser.keys)


def test_safari_is_sent_no_silent_push(device, settings):
    settings.PUSH_WEB_HOSTS = [".push.apple.com:1"]
    device.token = "https://web.push.apple.com:1/x"
    WebPush().send(device, Clear(tag="a", up_to_id=1, unread_count=0))
    with pytest.raises(Unreachable):
        WebPush().send(device, show())


@pytest.mark.parametrize(
    "change", [{"p256dh": "AAAA"}, {"auth": "AAAA"}, {"auth": "?"}, {"p256dh": "B" + "A" * 86}]
)
def test_wrong_keys_are_refused_when_they_are_registered(change, rider, browser):
    client = APIClient()
    client.force_authenticate(rider)
    body = {"platform": "web", "token": browser.endpoint, "keys": browser.keys}
    assert client.post("/api/devices/", body, format="json").status_code == 201
    answer = client.post("/api/devices/", {**body, "keys": browser.keys | change}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


def test_from_the_notification_to_the_browser_and_back(rider, device, browser, clock):
    row = Notification.objects.create(recipient=rider, title="Hi")
    clock.move(6)
    worker = Worker(now=clock)
    worker.work()
    services.mark_read(user=rider, notification_id=row.pk)
    worker.work()
    assert [content["type"] for content in browser.received] == ["show", "clear"]
    browser.answers = [(410, {})]
    Notification.objects.create(recipient=rider, title="Again")
    clock.move(6)
    worker.work()
    assert not Device.objects.exists()


def test_without_a_subject_or_with_a_wrong_key_the_check_says_so(keys, settings):
    assert check_backends(None) == []
    settings.PUSH_VAPID_SUBJECT = ""
    assert [problem.id for problem in check_backends(None)] == ["push.E002"]
    settings.PUSH_VAPID_SUBJECT, settings.PUSH_VAPID_PRIVATE_KEY = "mailto:a@b.c", "nonsense"
    assert "vapid_keys" in check_backends(None)[0].msg
    settings.PUSH_BACKENDS = {"web": "push.backends.nowhere.Backend"}
    assert [problem.id for problem in check_backends(None)] == ["push.E001"]


def test_what_is_stored_while_no_server_runs_is_pushed_when_one_does(
    rider, device, browser, keys, service, start_server
):
    """Real processes, on the tests' database."""
    server = start_server(
        **keys,
        PUSH_WEB_HOSTS=service.host,
        PUSH_DELAY_SECONDS="0.1",
        REQUESTS_CA_BUNDLE=str(service.certificate),
    )
    server.kill()
    server.shell(
        "from notifications.models import Notification; "
        f"Notification.objects.create(recipient_id={rider.pk}, title='Hi')"
    )
    assert Push.objects.count() == 1
    server.start()
    wait_until(lambda: browser.received, 2 * PATIENCE, explain=server.log)
    services.mark_all_read(user=rider)
    wait_until(lambda: len(browser.received) > 1, 2 * PATIENCE, explain=server.log)
    assert [content["type"] for content in browser.received] == ["show", "clear"]
    assert server.stop() == 0


def test_a_worker_of_its_own_pushes_and_stops_on_a_signal(rider, device, browser, keys, service):
    environment = os.environ | {
        **keys,
        "DATABASE_URL": test_database_url(),
        "PUSH_WEB_HOSTS": service.host,
        "REQUESTS_CA_BUNDLE": str(service.certificate),
    }
    Notification.objects.create(recipient=rider, title="Hi")
    Push.objects.update(due_at=timezone.now())
    metrics = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "manage.py", "push_worker", "--metrics", metrics]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        try:
            wait_until(lambda: browser.received, 4 * PATIENCE)
            wait_until(lambda: 'holodrive_pushes_total{channel="web"' in asked(metrics))
            process.terminate()
            assert process.wait(4 * PATIENCE) == 0
        finally:
            process.kill()


def asked(address):
    with urlopen(f"http://{address}/metrics", timeout=PATIENCE) as answer:
        return answer.read().decode()


def test_without_a_channel_a_worker_says_why_it_has_nothing_to_do(settings):
    settings.PUSH_BACKENDS = {}
    with pytest.raises(CommandError, match="PUSH_VAPID_PRIVATE_KEY"):
        call_command("push_worker")
