"""`manage.py prune`: what it deletes, what it keeps, and what it says."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from chat import notes, services
from chat.models import Conversation, Message
from holodrive.realtime import retention
from holodrive.realtime.models import Event, RevokedSession, Stream, Ticket
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


def prune(*args, **options):
    out = StringIO()
    call_command("prune", *args, stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


def seqs(stream):
    rows = Event.objects.filter(stream__name=stream).order_by("seq")
    return list(rows.values_list("seq", flat=True))


@pytest.fixture
def expired(make_user):
    """Of each kind of the engine's, something old and something that is not."""
    user = make_user()
    for title in "abc":
        Notification.objects.create(recipient=user, title=title)
    now = timezone.now()
    Event.objects.filter(seq__lt=3).update(created_at=now - timedelta(days=8))
    for days in (-1, 1):
        until = now + timedelta(days=days)
        RevokedSession.objects.create(sid=f"sid{days}", expires_at=until)
        Ticket.objects.create(digest=f"digest{days}", user=user, expires_at=until)
    return user


def test_old_events_expired_logins_and_expired_tickets_go(expired):
    prune(batch=1)
    assert seqs(f"user.{expired.pk}") == [3]
    assert Stream.objects.get(name=f"user.{expired.pk}").head == 3
    assert RevokedSession.objects.get().sid == "sid1"
    assert Ticket.objects.get().digest == "digest1"


def test_zero_days_keep_everything(expired, settings):
    settings.REALTIME_LOG_DAYS = 0
    assert prune().splitlines()[0] == "events: kept for ever"
    assert seqs(f"user.{expired.pk}") == [1, 2, 3]


def test_a_dry_run_counts_and_deletes_nothing(expired):
    assert prune("events", "tickets", dry_run=True) == (
        "events: 2 events older than 7 days would be deleted\n"
        "tickets: 1 tickets that nobody came with would be deleted\n"
    )
    assert (Event.objects.count(), Ticket.objects.count()) == (3, 2)


def test_one_kind_is_pruned_alone(expired):
    prune("tickets")
    assert (Event.objects.count(), Ticket.objects.count()) == (3, 1)


def test_an_unknown_kind_is_one_line():
    with pytest.raises(CommandError, match="no kind is called birds: there are events, logins"):
        prune("birds")
    with pytest.raises(CommandError, match="--batch: 1 or more is wanted"):
        prune(batch=0)


def test_an_interrupted_run_has_deleted_its_batches_and_goes_on(expired, monkeypatch):
    real, calls = retention.old("events"), []

    def failing(ids):
        calls.append(ids)
        if len(calls) == 2:
            raise OperationalError("canceling statement")
        real.delete(ids)

    monkeypatch.setitem(retention._kinds, "events", lambda: real._replace(delete=failing))
    with pytest.raises(CommandError, match="events: 1 of 2 deleted, then canceling statement"):
        prune("events", batch=1)
    assert seqs(f"user.{expired.pk}") == [2, 3]
    prune("events", batch=1)
    assert seqs(f"user.{expired.pk}") == [3]


def test_read_notifications_go_and_unread_ones_stay(make_user, settings):
    settings.NOTIFICATIONS_READ_DAYS = 30
    user = make_user()
    for days in (None, 29, 31):
        read_at = None if days is None else timezone.now() - timedelta(days=days)
        row = Notification.objects.create(recipient=user, title=str(days))
        if read_at:
            row.status = Notification.Status.READ
            row.save(update_fields=["status"])
            Notification._base_manager.filter(pk=row.pk).update(read_at=read_at)
    prune("notifications")
    assert {row.title for row in Notification.objects.all()} == {"None", "29"}


def test_trips_that_closed_long_ago_go_with_all_that_is_theirs(make_user, settings, trip):
    settings.CHAT_TRIP_DAYS = 90
    agent = make_user("admin", is_staff=True, is_superuser=True)
    kept = services.open_trip(rider=trip.rider, driver=trip.driver)
    for conversation in (trip, kept):
        Message.objects.create(conversation=conversation, sender=trip.rider, text="Hi")
        notes.add_note(user=agent, conversation_id=conversation.pk, text="Beware")
    closed = timezone.now() - timedelta(days=91)
    Conversation._base_manager.filter(pk=trip.pk).update(closes_at=closed)
    prune("trips")
    assert list(Conversation.objects.values_list("pk", flat=True)) == [kept.pk]
    assert Message.objects.get().conversation_id == kept.pk
    streams = Stream.objects.filter(name__startswith="conversation")
    assert {*streams.values_list("name", flat=True)} == {
        f"conversation.{kept.pk}",
        f"conversation.{kept.pk}.notes",
    }


@pytest.fixture
def old_trips(trip, settings):
    """Two, one of them `trip`."""
    settings.CHAT_TRIP_DAYS = 90
    another = services.open_trip(rider=trip.rider, driver=trip.driver)
    closed = timezone.now() - timedelta(days=91)
    Conversation._base_manager.update(closes_at=closed)
    return [trip, another]


def test_the_streams_of_a_batch_are_locked_first_and_in_one_order(old_trips):
    locked, deleted = [], []

    def watch(execute, sql, params, many, context):
        if "INSERT INTO realtime_stream" in sql and not deleted:
            locked.append(params)
        elif sql.startswith("DELETE"):
            deleted.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        prune("trips")
    names = [f"conversation.{trip.pk}{which}" for trip in old_trips for which in ("", ".notes")]
    assert locked == [sorted(names)]
    assert deleted


def test_a_batch_that_lost_a_lock_is_deleted_all_the_same(old_trips, held_until_a_retry):
    with held_until_a_retry(f"conversation.{old_trips[0].pk}") as pauses:
        prune("trips")
    assert len(pauses) == 1
    assert not Conversation.objects.exists()
    assert not Stream.objects.filter(name__startswith="conversation").exists()
