"""What a user wants pushed where and when; over REST, and as the worker keeps to it."""

from datetime import UTC, datetime, time

import pytest
from rest_framework.test import APIClient

from notifications import services as notifications
from push.models import Preference, Push, QuietHours
from push.tests.backend import said

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rest(rider):
    client = APIClient()
    client.force_authenticate(rider)
    return client


@pytest.fixture
def devices(rider, add_device):
    return add_device(rider, "phone"), add_device(rider, "browser", "web")


def put(client, **changes):
    body = {"categories": [], "quiet_hours": None, **changes}
    return client.put("/api/push/preferences/", body, format="json")


def test_at_first_there_are_none(rest):
    assert rest.get("/api/push/preferences/").json() == {"categories": [], "quiet_hours": None}


def test_they_are_replaced_as_a_whole(rest, make_user):
    chat = {"category": "chat_message", "channel": "mobile", "is_enabled": False}
    quiet = {"start": "22:00", "end": "07:30", "time_zone": "Asia/Tashkent"}
    wanted = {"categories": [chat], "quiet_hours": quiet}
    answer = put(rest, **wanted)
    assert (answer.status_code, answer.json()) == (200, wanted)
    assert rest.get("/api/push/preferences/").json() == wanted
    other = APIClient()
    other.force_authenticate(make_user())
    assert put(other).status_code == 200
    assert rest.get("/api/push/preferences/").json() == wanted
    promo = {"category": "promo", "channel": "web", "is_enabled": True}
    assert put(rest, categories=[promo]).json() == {"categories": [promo], "quiet_hours": None}


@pytest.mark.parametrize(
    "change",
    [
        {"categories": None},
        {"categories": [{"category": "", "channel": "web", "is_enabled": True}]},
        {"categories": [{"category": "a\x00", "channel": "web", "is_enabled": True}]},
        {"categories": [{"category": "a", "channel": "fax", "is_enabled": True}]},
        {"categories": [{"category": "a", "channel": "web", "is_enabled": "no"}]},
        {"categories": [{"category": "a", "channel": "web", "is_enabled": True}] * 201},
        {"quiet_hours": {"start": "24:00", "end": "07:00", "time_zone": "UTC"}},
        {"quiet_hours": {"start": "7:00", "end": "08:00", "time_zone": "UTC"}},
        {"quiet_hours": {"start": "07:00", "end": "07:00", "time_zone": "UTC"}},
        {"quiet_hours": {"start": "22:00", "end": "07:00", "time_zone": "Mars/Base"}},
        {"quiet_hours": {"start": "22:00", "end": "07:00", "time_zone": "../../etc/passwd"}},
    ],
)
def test_wrong_ones_are_refused_and_change_nothing(change, rest):
    put(rest, categories=[{"category": "a", "channel": "web", "is_enabled": False}])
    answer = put(rest, **change)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")
    assert Preference.objects.count() == 1


@pytest.mark.parametrize("path", ["", "preferences/"])
def test_nobody_is_told_without_credentials(path):
    answer = APIClient().get(f"/api/push/{path}")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_what_there_is(rest, settings):
    nothing = {"channels": [], "web_public_key": None, "mandatory_categories": []}
    assert rest.get("/api/push/").json() == nothing
    settings.PUSH_MANDATORY_CATEGORIES = ["safety"]
    settings.PUSH_BACKENDS = {"web": "push.backends.web.WebPush"}
    settings.PUSH_VAPID_PRIVATE_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"  # the number 1
    settings.PUSH_VAPID_SUBJECT = "mailto:ops@example.com"
    offer = rest.get("/api/push/").json()
    assert offer["channels"] == ["web"]
    assert offer["mandatory_categories"] == ["safety"]
    # The curve's base point (SEC 2, 2.4.2).
    assert offer["web_public_key"].startswith("BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW")


def test_a_category_that_is_switched_off_does_not_reach_that_channel(
    rider, devices, notify, worker, clock, recorder
):
    Preference.objects.create(user=rider, category="promo", channel="mobile", is_enabled=False)
    Preference.objects.create(user=rider, category="promo", channel="web", is_enabled=True)
    notify(rider, "Cheap rides", notification_type="promo")
    notify(rider, "Your driver is here", notification_type="trip")
    clock.move(6)
    worker.work()
    assert sorted(said(recorder.told)) == [
        ("browser", "Cheap rides"),
        ("browser", "Your driver is here"),
        ("phone", "Your driver is here"),
    ]


def test_who_wants_it_nowhere_leaves_no_row_behind(rider, devices, notify, worker, clock, recorder):
    for channel in ("mobile", "web"):
        Preference.objects.create(user=rider, category="promo", channel=channel, is_enabled=False)
    notify(rider, notification_type="promo")
    clock.move(6)
    worker.work()
    assert recorder.told == []
    assert not Push.objects.exists()


def test_what_is_mandatory_comes_whatever_is_preferred(
    rider, devices, notify, worker, clock, recorder, settings
):
    settings.PUSH_MANDATORY_CATEGORIES = ["safety"]
    Preference.objects.create(user=rider, category="safety", channel="mobile", is_enabled=False)
    QuietHours.objects.create(user=rider, start=time(0), end=time(23, 59), time_zone="UTC")
    clock.set(datetime(2027, 1, 1, 12, tzinfo=UTC))
    notify(rider, "Leave the car", notification_type="safety")
    Push.objects.update(created_at=clock())
    worker.work()
    assert sorted(token for token, _ in recorder.told) == ["browser", "phone"]


def test_what_comes_in_quiet_hours_is_told_behind_them_as_one(
    rider, devices, notify, worker, clock, recorder
):
    QuietHours.objects.create(user=rider, start=time(22), end=time(7), time_zone="Asia/Tashkent")
    clock.set(datetime(2027, 1, 1, 18, tzinfo=UTC))  # 23:00 there
    for title in "abc":
        notify(rider, title, conversation=7)
        Push.objects.update(created_at=clock())
        worker.work()
        clock.move(60)
    assert recorder.told == []
    assert Push.objects.get().due_at == datetime(2027, 1, 2, 2, tzinfo=UTC)
    clock.set(datetime(2027, 1, 2, 2, 0, 1, tzinfo=UTC))
    worker.work()
    assert sorted(said(recorder.told)) == [("browser", "c"), ("phone", "c")]


def test_a_time_zone_that_is_none_holds_nobody_up(
    rider, devices, make_user, add_device, notify, worker, clock, recorder, caplog
):
    other = make_user("driver")
    add_device(other, "other")
    QuietHours.objects.create(user=rider, start=time(22), end=time(7), time_zone="Mars/Base")
    notify(rider, "a")
    notify(other, "b")
    clock.move(6)
    worker.work()
    assert sorted(said(recorder.told)) == [("browser", "a"), ("other", "b"), ("phone", "a")]
    assert f"The quiet hours of user {rider.pk} count for nothing: 'Mars/Base'" in caplog.text


def test_what_is_read_in_quiet_hours_is_not_told_behind_them(
    rider, devices, notify, worker, clock, recorder
):
    QuietHours.objects.create(user=rider, start=time(22), end=time(7), time_zone="UTC")
    clock.set(datetime(2027, 1, 1, 23, tzinfo=UTC))
    row = notify(rider)
    Push.objects.update(created_at=clock())
    worker.work()
    notifications.mark_read(user=rider, notification_id=row.pk)
    clock.set(datetime(2027, 1, 2, 7, 0, 1, tzinfo=UTC))
    worker.work()
    assert recorder.told == []
    assert not Push.objects.exists()


def test_a_device_is_cleared_in_quiet_hours_too(rider, devices, notify, worker, clock, recorder):
    row = notify(rider)
    clock.move(6)
    worker.work()
    QuietHours.objects.create(user=rider, start=time(0), end=time(23, 59), time_zone="UTC")
    notifications.mark_read(user=rider, notification_id=row.pk)
    worker.work()
    assert [text for _, text in said(recorder.told)][2:] == [f"-notification-{row.pk}"] * 2
