"""The event log: numbers without holes, in the order of the commits, whatever the writers do."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models.signals import post_save

from chat.models import Conversation, Message, Participant
from chat.services import open_trip, send_message
from holodrive.realtime import log, publish
from holodrive.realtime.models import Event, Stream
from holodrive.realtime.published import SilentWriteError
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def announced(monkeypatch):
    """The events that were published, in order."""
    events = []
    monkeypatch.setattr(publish, "announce", lambda new, told, cause: events.extend(new))
    return events


def seqs(stream):
    return list(
        Event.objects.filter(stream__name=stream).order_by("id").values_list("seq", flat=True)
    )


def notify_and_fail(user):
    with transaction.atomic():
        Notification.objects.create(recipient=user, title="never")
        raise ZeroDivisionError


def test_each_save_is_one_event_with_the_next_number(make_user, announced):
    user = make_user()
    for title in ("one", "two", "three"):
        Notification.objects.create(recipient=user, title=title)
    assert seqs(f"user.{user.pk}") == [1, 2, 3]
    assert Stream.objects.get(name=f"user.{user.pk}").head == 3
    assert [event.seq for event in announced] == [1, 2, 3]


def test_a_rollback_publishes_nothing_and_leaves_no_hole(make_user, announced):
    user = make_user()
    with pytest.raises(ZeroDivisionError):
        notify_and_fail(user)
    Notification.objects.create(recipient=user, title="one")
    assert seqs(f"user.{user.pk}") == [1]
    assert len(announced) == 1


def test_a_rollback_to_a_savepoint_takes_back_only_what_is_inside(make_user, announced):
    user = make_user()
    with transaction.atomic():
        Notification.objects.create(recipient=user, title="one")
        with pytest.raises(ZeroDivisionError):
            notify_and_fail(user)
        Notification.objects.create(recipient=user, title="two")
        assert announced == []
    assert seqs(f"user.{user.pk}") == [1, 2]
    assert [event.seq for event in announced] == [1, 2]


@pytest.mark.parametrize("known", [True, False])
def test_a_savepoint_taken_back_inside_a_save_takes_its_events_along(make_user, announced, known):
    """A receiver of somebody else's tries something, fails, and goes on."""
    rider, driver = make_user("rider"), make_user("driver")
    trip = open_trip(rider=rider, driver=driver)
    if known:
        Notification.objects.create(recipient=driver, title="one")
        Notification.objects.create(recipient=rider, title="one")

    def try_and_fail(**kwargs):
        for user in (rider, driver):
            with suppress(ZeroDivisionError):
                notify_and_fail(user)

    post_save.connect(try_and_fail, sender=Message)
    try:
        Message(conversation=trip, sender=rider, text="Hi").save()
    finally:
        post_save.disconnect(try_and_fail, sender=Message)
    Message(conversation=trip, sender=rider, text="Again").save()
    Notification.objects.create(recipient=rider, title="last")
    assert seqs(f"conversation.{trip.pk}") == [1, 2]
    assert seqs(f"user.{driver.pk}") == list(range(1, known + 3))
    assert seqs(f"user.{rider.pk}") == list(range(1, known + 2))
    assert not any("never" in event.text for event in announced)
    for stream in Stream.objects.all():
        assert stream.head == len(seqs(stream.name))


@pytest.mark.parametrize("failing", ["_wake_ups", "_sync_waker"])
def test_whatever_fails_in_publishing_the_writer_does_not(make_user, monkeypatch, failing):
    monkeypatch.setattr(publish, failing, lambda *args: 1 / 0)
    done = []
    with transaction.atomic():
        Notification.objects.create(recipient=make_user(), title="one")
        transaction.on_commit(lambda: done.append("the hook behind"))
    assert done == ["the hook behind"]
    assert Notification.objects.count() == 1


def test_a_failing_save_leaves_neither_row_nor_number(make_user, announced, monkeypatch):
    user = make_user()
    monkeypatch.setattr(log, "append", lambda stream, event: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Notification.objects.create(recipient=user, title="never")
    monkeypatch.undo()
    assert not Notification.objects.exists()
    assert not Stream.objects.exists()


def test_a_save_that_changes_nothing_is_no_event(make_user):
    user = make_user()
    row = Notification.objects.create(recipient=user, title="one")
    row.save()
    assert seqs(f"user.{user.pk}") == [1]
    assert Stream.objects.get(name=f"user.{user.pk}").head == 1


def test_an_append_outside_of_a_writing_block_is_refused():
    with pytest.raises(RuntimeError, match="not locked"):
        log.append("user.1", object())
    with log.writing("user.1"), pytest.raises(RuntimeError, match="not locked"):
        log.append("user.2", object())


def test_a_message_and_its_notifications_commit_together(make_user, announced):
    rider, driver = make_user("rider"), make_user("driver")
    trip = Conversation.objects.create(kind="trip")
    for user in (rider, driver):
        Participant.objects.create(conversation=trip, user=user, role=user.role)
    Message(conversation=trip, sender=rider, text="Hi").save()
    assert [event.stream for event in announced] == [f"conversation.{trip.pk}", f"user.{driver.pk}"]


@pytest.mark.parametrize(
    "write",
    [
        lambda: Notification.objects.bulk_create([]),
        lambda: Notification.objects.all().update(title="x"),
        lambda: Notification.objects.all().delete(),
        lambda: Message.objects.bulk_update([], ["text"]),
        lambda: Message.objects.filter(pk=1).delete(),
        lambda: Message(pk=1, conversation_id=1).delete(),
    ],
)
def test_a_bulk_write_that_would_tell_nobody_is_refused_and_names_the_way(write):
    with pytest.raises(SilentWriteError, match=r"services|notify|save|refused"):
        write()


def test_writers_in_any_order_leave_every_stream_contiguous_and_ids_in_its_order(make_user):
    """Six threads, each saving to three users in an order of its own."""
    users = [make_user() for _ in range(3)]
    start = threading.Barrier(6)

    def write(thread):
        start.wait()
        for turn in range(12):
            user = users[(thread + turn * (thread + 1)) % 3]
            Notification.objects.create(recipient=user, title=f"{thread}.{turn}")
        connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert Notification.objects.count() == 72
    for user in users:
        rows = Event.objects.filter(stream__name=f"user.{user.pk}").order_by("seq")
        ids = [
            int(text.split('"id":')[1].split(",")[0])
            for text in rows.values_list("text", flat=True)
        ]
        assert list(rows.values_list("seq", flat=True)) == list(range(1, len(ids) + 1))
        assert ids == sorted(ids)


def test_the_streams_of_one_write_are_locked_in_one_order():
    names = [f"user.{number}" for number in range(1, 9)]
    locked = []

    def watch(execute, sql, params, many, context):
        if "INSERT INTO realtime_stream" in sql:
            locked.extend(params)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch), log.writing(*reversed(names)):
        pass
    assert locked == names


def test_a_send_that_waited_for_a_lock_in_vain_is_tried_again(trip, held_until_a_retry):
    with held_until_a_retry(f"conversation.{trip.pk}") as pauses:
        sent = send_message(user=trip.rider, conversation_id=trip.pk, text="Hi")
    assert len(pauses) == 1
    assert not sent.duplicate
    assert Message.objects.get().seq == 1


def test_what_a_lock_did_not_stop_or_never_lets_go_is_not_tried_for_ever():
    tried = []

    @log.retrying
    def fail(problem):
        tried.append(problem)
        raise OperationalError(problem)

    for problem, attempts in (("database is locked", 4), ("server closed the connection", 1)):
        with pytest.raises(OperationalError, match=problem):
            fail(problem)
        assert tried.count(problem) == attempts
    with pytest.raises(OperationalError), transaction.atomic():
        fail("database is locked")  # its transaction is somebody else's to repeat
    assert tried.count("database is locked") == 5


def test_messages_of_many_threads_notify_without_a_deadlock(make_user):
    """Two conversations of the same two people, written to from both sides at once."""
    rider, driver = make_user("rider"), make_user("driver")
    trips = [Conversation.objects.create(kind="trip") for _ in range(2)]
    for trip in trips:
        for user in (rider, driver):
            Participant.objects.create(conversation=trip, user=user, role=user.role)
    start = threading.Barrier(4)

    def write(thread):
        start.wait()
        for turn in range(8):
            sender = (rider, driver)[thread % 2]
            Message(
                conversation=trips[(thread + turn) % 2], sender=sender, text=f"{thread}.{turn}"
            ).save()
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    for trip in trips:
        assert seqs(f"conversation.{trip.pk}") == list(range(1, 17))
    for user in (rider, driver):
        told = seqs(f"user.{user.pk}")  # who answers has read: that is told as well
        assert told == list(range(1, len(told) + 1))
        assert Notification.objects.filter(recipient=user).count() == 16


def test_ten_thousand_recipients_are_stored_in_chunks(
    make_user, announced, monkeypatch, django_assert_max_num_queries
):
    from django.contrib.auth import get_user_model
    from django.test.utils import CaptureQueriesContext

    users = get_user_model()
    users.objects.bulk_create(users(username=f"u{n}") for n in range(10_000))
    everybody = list(users.objects.values_list("pk", flat=True))
    commits = []
    monkeypatch.setattr(
        publish,
        "announce",
        lambda events, told, cause: commits.append(publish._wake_ups(publish.News(events, told))),
    )
    with CaptureQueriesContext(connection) as queries:
        assert Notification.objects.notify(everybody, title="Service on Sunday") == 10_000
    assert len(commits) == 20
    assert [len(wake_ups) for wake_ups in commits] == [1] * 20
    if connection.vendor == "postgresql":
        control = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
        sent = [query for query in queries if not query["sql"].startswith(control)]
        assert len(sent) <= 5 * 20
    assert Stream.objects.filter(name__startswith="user.", head=1).count() == 10_000
    assert Event.objects.filter(seq=1).count() == 10_000


def test_everybody_can_be_notified_inside_ones_own_transaction(make_user, announced):
    users = [make_user() for _ in range(3)]
    with transaction.atomic():
        Notification.objects.notify(users, title="Hi")
        assert announced == []
    assert len(announced) == 3


def test_missed_events_are_all_of_them_or_none(make_user):
    user = make_user()
    for title in "abc":
        Notification.objects.create(recipient=user, title=title)
    stream = f"user.{user.pk}"
    assert [event.seq for event in log.missed(stream, 1, 3, limit=10) or ()] == [2, 3]
    assert log.missed(stream, 3, 3, limit=10) == []
    assert log.missed(stream, 0, 3, limit=2) is None
    assert log.missed(stream, 4, 3, limit=10) is None
    Event.objects.filter(seq=2).delete()
    assert log.missed(stream, 1, 3, limit=10) is None


def test_the_tail_names_each_streams_newest_event(make_user):
    one, two = make_user(), make_user()
    Notification.objects.create(recipient=one, title="a")
    before = log.last_id()
    for user in (one, one, two):
        Notification.objects.create(recipient=user, title="b")
    tail = log.tail(before)
    assert tail.newest == {f"user.{one.pk}": 3, f"user.{two.pk}": 1}
    assert tail.last_id == log.last_id()
