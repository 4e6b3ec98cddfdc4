"""FCM, against a service that speaks its HTTP v1 and gives access tokens for signed assertions."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from firebase_admin import messaging

from notifications import services
from notifications.models import Notification
from push.backends import Clear, DeviceGone, Unreachable
from push.backends.fcm import Fcm
from push.checks import check_backends
from push.models import Device
from push.tests.test_web_push import show
from push.worker import Worker
from testing.push import Fcm as Service

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def service(settings, monkeypatch):
    running = Service()
    monkeypatch.setattr(messaging._MessagingService, "FCM_URL", running.url)
    # It asks another host of Google's beside, in a thread, and does without.
    boundary = "_RegionalAccessBoundaryRefreshManager.start_refresh"
    monkeypatch.setattr(f"google.auth._regional_access_boundary_utils.{boundary}", lambda *_: None)
    settings.PUSH_FCM_CREDENTIALS = str(running.credentials)
    settings.PUSH_BACKENDS = {"mobile": "push.backends.fcm.Fcm"}
    yield running
    running.close()


@pytest.fixture
def fcm(service):
    return Fcm()


@pytest.fixture
def device(rider):
    return Device.objects.create(user=rider, platform="android", token="token-1")


def test_what_a_phone_is_told(fcm, device, service):
    content = show()
    fcm.send(device, content)
    [message] = service.received
    data = json.loads(message.pop("data")["holodrive"])
    assert (data["type"], data["tag"], data["unread_count"]) == ("show", "conversation-7", 3)
    assert data["notification"]["id"] == 7
    ttl = message["android"].pop("ttl")
    assert 3500 < int(ttl.removesuffix("s")) <= 3600
    assert message == {
        "token": "token-1",
        "notification": {"title": "Title", "body": "Hello"},
        "android": {
            "collapse_key": "conversation-7",
            "priority": "high",
            "notification": {"tag": "conversation-7", "notification_count": 3},
        },
        "apns": {
            "headers": {
                "apns-collapse-id": "conversation-7",
                "apns-priority": "10",
                "apns-expiration": str(int(content.expires_at.timestamp())),
            },
            "payload": {
                "aps": {"badge": 3, "sound": "default", "thread-id": "conversation-7"},
            },
        },
    }


def test_a_clear_shows_nothing(fcm, device, service):
    fcm.send(device, Clear(tag="conversation-7", up_to_id=7, unread_count=0))
    clear = {"type": "clear", "tag": "conversation-7", "up_to_id": 7, "unread_count": 0}
    [message] = service.received
    assert json.loads(message.pop("data")["holodrive"]) == clear
    assert message == {
        "token": "token-1",
        "android": {"collapse_key": "conversation-7", "priority": "normal"},
        "apns": {
            "headers": {
                "apns-collapse-id": "conversation-7",
                "apns-priority": "5",
                "apns-push-type": "background",
            },
            "payload": {"aps": {"content-available": 1}},
        },
    }


@pytest.mark.parametrize("text", ["x" * 10_000, "Ж" * 10_000, '"\n' * 5000])
def test_a_long_text_is_cut_and_not_refused(text, fcm, device, service):
    fcm.send(device, show(text))
    assert service.received[0]["notification"]["body"].endswith("…")


@pytest.mark.parametrize(
    ("status", "name", "code"),
    [(404, "NOT_FOUND", "UNREGISTERED"), (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH")],
)
def test_an_app_that_was_removed_is_a_device_that_is_gone(status, name, code, fcm, device, service):
    service.answers = [service.error(status, name, code)]
    with pytest.raises(DeviceGone):
        fcm.send(device, show())


@pytest.mark.parametrize(
    ("status", "name", "code"),
    [
        (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
        (503, "UNAVAILABLE", "UNAVAILABLE"),
        (500, "INTERNAL", "INTERNAL"),
    ],
)
def test_a_busy_service_is_asked_again_by_the_worker_and_by_nobody_before(
    status, name, code, fcm, device, service
):
    service.answers = [service.error(status, name, code, Retry_After="120")]
    began = time.monotonic()
    with pytest.raises(Unreachable) as refused:
        fcm.send(device, show())
    assert refused.value.after == 120
    assert time.monotonic() - began < 60  # firebase-admin alone would sleep for 120 s
    assert service.received == []


def test_a_service_that_is_away_is_asked_later(fcm, device, service, monkeypatch):
    monkeypatch.setattr(messaging._MessagingService, "FCM_URL", "http://127.0.0.1:1/{0}")
    with pytest.raises(Unreachable):
        Fcm().send(device, show())


def test_who_gets_no_access_token_asks_later(fcm, device, service):
    service.answers_of_tokens = [(400, {}, {"error": "invalid_grant"})]
    with pytest.raises(Unreachable):
        fcm.send(device, show())
    fcm.send(device, show())
    assert len(service.received) == 1


def test_a_message_that_it_does_not_take_is_a_mistake(fcm, device, service):
    service.answers = [service.error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")]
    with pytest.raises(Exception, match="invalid_argument") as refused:
        fcm.send(device, show())
    assert not isinstance(refused.value, DeviceGone | Unreachable)


@pytest.mark.parametrize("token", ["a b", "é", "a\nb"])
def test_what_cannot_be_a_token_is_refused(token, fcm):
    with pytest.raises(ValueError, match="no registration token"):
        fcm.check(token, {})


def test_from_the_notification_to_the_phone_and_back(rider, device, service, clock):
    row = Notification.objects.create(recipient=rider, title="Hi")
    clock.move(6)
    worker = Worker(now=clock)
    worker.work()
    services.mark_read(user=rider, notification_id=row.pk)
    worker.work()
    said = [json.loads(message["data"]["holodrive"])["type"] for message in service.received]
    assert said == ["show", "clear"]
    assert service.tokens_issued == 1
    service.answers = [service.error(404, "NOT_FOUND", "UNREGISTERED")]
    Notification.objects.create(recipient=rider, title="Again")
    clock.move(6)
    worker.work()
    assert not Device.objects.exists()


@pytest.mark.parametrize("file", ["/nowhere.json", __file__])
def test_a_wrong_file_is_said_at_the_start(file, settings):
    settings.PUSH_FCM_CREDENTIALS = file
    settings.PUSH_BACKENDS = {"mobile": "push.backends.fcm.Fcm"}
    [problem] = check_backends(None)
    assert problem.id == "push.E002"
    assert "PUSH_FCM_CREDENTIALS" in problem.msg


def test_what_has_expired_is_kept_by_no_service(fcm, device, service):
    content = show()
    content.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    fcm.send(device, content)
    assert service.received[0]["android"]["ttl"] == "0s"
