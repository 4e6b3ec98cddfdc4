"""The executor: a slow query delays nobody else, connections are kept, layer events need none."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from prometheus_client import REGISTRY

from chat import services
from chat.models import Message
from holodrive.realtime import consumer, hub, log
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_slow_query_of_one_conversation_delays_no_other(
    connect, trip, make_user, monkeypatch
):
    driver = await sync_to_async(make_user)("driver")
    other = await sync_to_async(services.open_trip)(rider=trip.rider, driver=driver)
    slow = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    fast = await connect(f"/ws/chat/{other.pk}/", trip.rider)
    release = threading.Event()
    send = services.send_messages

    def held(drafts):
        if any(draft.text == "slow" for draft in drafts):
            release.wait(10)
        return send(drafts)

    monkeypatch.setattr(services, "send_messages", held)
    slow.send({"type": "chat_message", "message": "slow"})
    for number in range(5):
        fast.send({"type": "chat_message", "message": f"fast {number}"})
        assert await fast.frame("message_ack")
    release.set()
    assert await slow.frame("message_ack")


async def test_connections_are_kept_from_one_call_to_the_next(connect, trip):
    used = {}  # the signal also comes each time the pool of PostgreSQL lends a connection again

    def note(connection, **kwargs):
        raw = connection.connection
        used[raw.info.backend_pid if connection.vendor == "postgresql" else id(raw)] = raw

    connection_created.connect(note)
    try:
        socket = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
        for number in range(3 * settings.REALTIME_DATABASE_THREADS):
            socket.send({"type": "chat_message", "message": f"{number}"})
            await socket.frame("message_ack")
    finally:
        connection_created.disconnect(note)
    assert len(used) <= settings.REALTIME_DATABASE_THREADS


def test_what_threads_waited_for_a_connection_is_counted_in_seconds(monkeypatch):
    stats = SimpleNamespace(get_stats=lambda: {"requests_wait_ms": 1500})
    monkeypatch.setattr(connection, "_connection_pools", {"default": stats}, raising=False)
    assert REGISTRY.get_sample_value("holodrive_database_pool_wait_seconds_total") == 1.5


async def test_an_event_reaches_a_socket_without_a_query(connect, make_user, monkeypatch):
    user = await sync_to_async(make_user)()
    bell = await connect("/ws/notifications/", user)
    calls = []
    # Heads and tail may be asked for at any time, but never bring this event: the answer is None.
    forbidden = lambda function, *args, **kwargs: calls.append(function)  # noqa: E731
    monkeypatch.setattr(consumer, "in_database", forbidden)
    monkeypatch.setattr(hub, "in_database", forbidden)
    await Notification.objects.acreate(recipient=user, title="Hi")
    assert await bell.frame("notification")
    monkeypatch.undo()
    assert set(calls) <= {log.heads, log.tail}


async def test_what_a_thread_saves_arrives(connect, make_user):
    user = await sync_to_async(make_user)()
    bell = await connect("/ws/notifications/", user)

    def save():
        Notification.objects.create(recipient=user, title="from a thread")

    await asyncio.to_thread(save)
    assert (await bell.frame("notification"))["notification"]["title"] == "from a thread"


async def test_nothing_arrives_before_the_commit_and_nothing_after_a_rollback(connect, trip):
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.rider)

    @sync_to_async
    def save(text, fail):
        with transaction.atomic():
            Message(conversation=trip, sender=trip.driver, text=text).save()
            if fail:
                transaction.set_rollback(True)

    await save("never", fail=True)
    await socket.quiet()
    await save("Hi", fail=False)
    frame = await socket.frame("chat_message")
    assert (frame["message"], frame["seq"]) == ("Hi", 1)
