"""Which notifications are pushed, when, and what becomes of it."""

import threading
from datetime import timedelta

import pytest
from django.db import InternalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from chat import services as chat
from chat.models import Message
from holodrive.realtime.models import RevokedSession
from notifications import services
from notifications.models import Notification
from push.backends import Clear, Show
from push.models import Device, Push
from push.tests.backend import said
from push.worker import ATTEMPTS, LEASE, Worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def phone(rider, add_device):
    """The rider's."""
    return add_device(rider)


def due_in(row, clock):
    return (Push.objects.get(pk=row.pk).due_at - clock()).total_seconds()


def test_what_nobody_has_seen_is_pushed_after_the_delay_and_not_before(
    rider, phone, notify, worker, clock, recorder
):
    row = notify(rider)
    assert worker.work() == 0
    clock.move(4)
    assert worker.work() == 0
    clock.move(1.5)
    assert worker.work() == 1
    [(address, content)] = recorder.told
    assert address == "token"
    assert isinstance(content, Show)
    assert (content.tag, content.unread_count) == (f"notification-{row.pk}", 1)
    assert content.notification.id == row.pk
    clock.move(3600)
    assert worker.work() == 0


def test_a_rollback_pushes_nothing(rider, phone, notify, worker, clock, recorder):
    with transaction.atomic():
        notify(rider)
        assert Push.objects.exists()
        transaction.set_rollback(True)
    clock.move(10)
    assert worker.work() == 0


def test_a_user_without_a_device_costs_no_row(rider, notify, recorder, make_user, add_device):
    add_device(make_user("driver"))
    notify(rider)
    assert not Push.objects.exists()


def test_without_a_channel_notifying_costs_no_query_more(rider, phone, settings):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            services.notify([rider], title="Hi")
        return [query["sql"] for query in captured if "push_" in query["sql"]]

    assert settings.PUSH_BACKENDS == {}
    assert queries() == []
    settings.PUSH_BACKENDS = {"mobile": "push.tests.backend.Recorder"}
    assert queries()


def test_an_announcement_is_planned_by_one_statement(make_user, add_device, recorder):
    users = [make_user() for _ in range(5)]
    for number, user in enumerate(users[:4]):
        add_device(user, f"token{number}")
    with CaptureQueriesContext(connection) as captured:
        services.notify(users, title="Hi")
    assert Push.objects.count() == 4
    assert (
        sum("INSERT INTO" in query["sql"] and "push_push" in query["sql"] for query in captured)
        == 1
    )


def test_a_message_of_chat_is_pushed_to_who_does_not_read_it(
    trip, add_device, worker, clock, recorder
):
    add_device(trip.driver, "driver")
    add_device(trip.rider, "rider")
    Message(conversation=trip, sender=trip.rider, text="Here?").save()
    clock.move(6)
    worker.work()
    [(address, content)] = recorder.told
    assert (address, content.tag) == ("driver", f"conversation-{trip.pk}")


def test_what_was_read_before_it_was_due_is_not_pushed(
    rider, phone, notify, worker, clock, recorder
):
    row = notify(rider)
    services.mark_read(user=rider, notification_id=row.pk)
    clock.move(6)
    worker.work()
    assert recorder.told == []
    assert not Push.objects.exists()


def test_what_was_seen_before_it_was_due_is_not_pushed(
    rider, phone, notify, worker, clock, recorder
):
    first, second = notify(rider, "a"), notify(rider, "b")
    services.mark_seen(user=rider, up_to_id=first.pk)
    clock.move(6)
    worker.work()
    assert said(recorder.told) == [("token", "b")]
    services.mark_seen(user=rider, up_to_id=second.pk)
    assert Push.objects.get().pk == second.pk  # it is on the device until it is read


def test_another_user_seeing_it_changes_nothing(
    rider, phone, notify, worker, clock, recorder, make_user
):
    row = notify(rider)
    services.mark_seen(user=make_user(), up_to_id=row.pk)
    clock.move(6)
    worker.work()
    assert said(recorder.told) == [("token", "Hi")]


def test_messages_of_one_conversation_are_one_push_with_the_newest(
    rider, phone, notify, worker, clock, recorder, settings
):
    notify(rider, "a", conversation=7)
    settings.PUSH_DELAY_SECONDS = 30
    for title in "bc":
        notify(rider, title, conversation=7)
    notify(rider, "other", conversation=8)
    clock.move(6)
    assert worker.work() == 1  # the first is due, and takes those behind it along
    assert said(recorder.told) == [("token", "c")]
    clock.move(30)
    assert worker.work() == 1
    assert said(recorder.told)[1:] == [("token", "other")]


@pytest.mark.parametrize("how", ["one", "all", "conversation", "save"])
def test_reading_anywhere_clears_the_devices(how, trip, add_device, worker, clock, recorder):
    add_device(trip.driver)
    message = Message(conversation=trip, sender=trip.rider, text="Here?")
    message.save()
    row = Notification.objects.get(recipient=trip.driver)
    clock.move(6)
    worker.work()
    if how == "one":
        services.mark_read(user=trip.driver, notification_id=row.pk)
    elif how == "all":
        services.mark_all_read(user=trip.driver)
    elif how == "conversation":
        chat.mark_read(conversation_id=trip.pk, user=trip.driver, up_to_id=message.pk)
    else:
        row.status = "read"
        row.save()
    assert worker.work() == 1
    content = recorder.told[1][1]
    assert isinstance(content, Clear)
    assert (content.tag, content.up_to_id, content.unread_count) == (
        f"conversation-{trip.pk}",
        row.pk,
        0,
    )
    assert not Push.objects.exists()


def test_a_message_that_is_taken_back_is_taken_from_the_devices(
    trip, add_device, worker, clock, recorder
):
    add_device(trip.driver)
    message = Message(conversation=trip, sender=trip.rider, text="My card is 8600")
    message.save()
    clock.move(6)
    worker.work()
    assert "8600" in recorder.told[0][1].notification.message
    chat.delete_message(conversation_id=trip.pk, user=trip.rider, message_id=message.pk)
    assert worker.work() == 1
    assert recorder.told[1][1].tag == recorder.told[0][1].tag
    assert "8600" not in recorder.told[1][1].notification.message


def test_reading_an_older_message_leaves_the_newer_one_on_the_devices(
    rider, phone, notify, worker, clock, recorder
):
    first = notify(rider, "a", conversation=7)
    clock.move(6)
    worker.work()
    notify(rider, "b", conversation=7)
    clock.move(6)
    worker.work()
    services.mark_read(user=rider, notification_id=first.pk)
    assert worker.work() == 0
    assert said(recorder.told) == [("token", "a"), ("token", "b")]


def test_what_is_read_while_it_is_sent_is_cleared_behind_it(
    rider, phone, notify, worker, clock, recorder, monkeypatch
):
    row = notify(rider)
    clock.move(6)
    settle = worker._settle

    def read_first(task):
        services.mark_read(user=rider, notification_id=row.pk)
        settle(task)

    monkeypatch.setattr(worker, "_settle", read_first)
    worker.work()
    monkeypatch.undo()
    clock.move(1)
    assert worker.work() == 1
    assert said(recorder.told) == [("token", "Hi"), ("token", f"-notification-{row.pk}")]


def test_a_killed_worker_leaves_its_work_to_the_others(
    rider, phone, notify, worker, clock, recorder, monkeypatch
):
    notify(rider)
    clock.move(6)

    def killed(task):
        raise SystemExit

    monkeypatch.setattr(worker, "_settle", killed)
    with pytest.raises(SystemExit):
        worker.work()
    other = Worker(now=clock)
    assert other.work() == 0
    clock.move(LEASE.total_seconds() + 1)
    assert other.work() == 1
    assert [content.tag for _, content in recorder.told] == [recorder.told[0][1].tag] * 2


def test_two_workers_do_not_take_the_same(make_user, add_device, notify, clock, recorder):
    for number in range(20):
        user = make_user()
        add_device(user, f"token{number}")
        notify(user)
    clock.move(6)
    ready = threading.Barrier(3)

    def work():
        try:
            ready.wait()
            while Worker(now=clock).work():
                pass
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(address for address, _ in recorder.told) == sorted(f"token{n}" for n in range(20))


def test_a_service_that_is_away_is_asked_again_later_and_later_and_not_for_ever(
    rider, phone, notify, worker, clock, recorder, add_device
):
    add_device(rider, "other")
    recorder.away = {"token": 0}
    row = notify(rider)
    clock.move(6)
    waits = []
    for _ in range(ATTEMPTS - 1):
        assert worker.work() == 1
        waits.append(round(due_in(row, clock)))
        clock.move(waits[-1] + 1)
    assert waits == [10, 20, 40, 80, 160, 320, 640]
    assert worker.work() == 1
    assert Push.objects.get().due_at is None
    assert said(recorder.told) == [("other", "Hi")]  # once: only who has not got it is asked again


def test_a_service_says_how_long_to_wait(rider, phone, notify, worker, clock, recorder, caplog):
    recorder.away = {"token": 120}
    row = notify(rider)
    clock.move(6)
    worker.work()
    assert round(due_in(row, clock)) == 120
    assert "gets it later: away" in caplog.text
    recorder.away = {}
    clock.move(121)
    worker.work()
    assert said(recorder.told) == [("token", "Hi")]


def test_a_device_that_is_gone_is_forgotten(
    rider, phone, notify, worker, clock, recorder, add_device
):
    add_device(rider, "other")
    recorder.gone = {"token"}
    notify(rider)
    clock.move(6)
    worker.work()
    assert said(recorder.told) == [("other", "Hi")]
    assert Device.objects.get().token == "other"


def test_a_mistake_of_a_back_end_stops_neither_the_others_nor_the_worker(
    rider, notify, worker, clock, recorder, add_device, caplog
):
    add_device(rider, "bug")
    add_device(rider, "other")
    notify(rider)
    clock.move(6)
    assert worker.work() == 1
    assert said(recorder.told) == [("other", "Hi")]
    assert "was not told" in caplog.text
    clock.move(3600)
    assert worker.work() == 0


def test_what_the_database_refuses_is_logged_once_and_not_at_every_tick(
    worker, monkeypatch, caplog
):
    refused = InternalError("cannot execute SELECT FOR UPDATE in a read-only transaction")
    stop, outcomes = threading.Event(), [refused, refused, 0, refused]

    def work():
        if not outcomes:
            stop.set()
            return 1
        outcome = outcomes.pop(0)
        if outcome:
            raise outcome
        return outcome

    monkeypatch.setattr("push.worker._TICK", 0)
    monkeypatch.setattr(worker, "work", work)
    worker.run(stop)
    assert caplog.text.count("Pushes wait for the database") == 2


def test_the_lag_is_that_of_the_oldest_that_waits_and_grows_while_nobody_looks(
    rider, phone, notify, worker, clock, recorder
):
    notify(rider)
    clock.move(5 + 60)
    worker.work()  # what it has just taken had been due for a minute
    assert 60 <= worker.lag() < 90
    worker.work()
    assert worker.lag() < 30
    clock.move(90)  # it hangs
    assert worker.lag() >= 90


def test_what_is_a_day_old_is_not_pushed_any_more(rider, phone, notify, worker, clock, recorder):
    notify(rider)
    clock.move(timedelta(days=1, seconds=1).total_seconds())
    worker.work()
    assert recorder.told == []
    assert not Push.objects.exists()


def test_nobody_inactive_is_pushed_to(rider, phone, notify, worker, clock, recorder):
    notify(rider)
    rider.is_active = False
    rider.save()
    clock.move(6)
    worker.work()
    assert recorder.told == []


def test_a_login_that_ends_takes_its_devices_along(rider, add_device, recorder, clock):
    add_device(rider, "a", login="one")
    add_device(rider, "b", login="two")
    RevokedSession.objects.create(sid="one", expires_at=clock())
    assert Device.objects.get().token == "b"
