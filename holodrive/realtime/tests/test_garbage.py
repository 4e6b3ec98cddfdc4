"""What a socket leaves behind: nothing that has to wait for a collection."""

import gc
import weakref
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from daphne.http_protocol import WebRequest
from twisted.web.http import HTTPChannel

from holodrive.realtime import consumer, garbage, server
from holodrive.realtime.hub import here

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def collector():
    """The collector as the test has found it, whatever it does to it."""
    thresholds = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.fixture
def user(make_user):
    return make_user("admin")


@pytest.mark.parametrize("path", ["/ws/notifications/", "/ws/chat/{}/", "/ws/support/"])
async def test_a_socket_that_has_ended_is_freed_without_a_collection(
    connect, trip, user, collector, path
):
    socket = await connect(path.format(trip.pk), user)
    (found,) = here().users[user.pk]
    gone = weakref.ref(found)
    assert isinstance(found, consumer.RealtimeConsumer)
    del found
    gc.collect()
    gc.disable()
    await socket.leave()
    assert gone() is None


def test_collections_are_rare_and_what_is_imported_is_left_out_of_them(collector):
    garbage.collect_rarely.cache_clear()
    garbage.collect_rarely()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold() > (700, 10, 10)


def test_the_request_that_became_a_socket_keeps_no_transport(monkeypatch):
    """It is in a cycle of its own, and what a slow client has not read would wait there with it."""
    later = []
    monkeypatch.setattr(
        server, "_reactor", lambda: SimpleNamespace(callLater=lambda _, *call: later.append(call))
    )
    daphne = server.RealtimeServer(None, endpoints=["unused"])
    daphne.connections = {}
    channel = HTTPChannel()
    channel.factory, channel.transport = SimpleNamespace(server=daphne), MagicMock()
    channel._networkProducer = channel.transport
    plain, upgraded = WebRequest(channel), WebRequest(channel)
    channel.requests = [upgraded]
    upgraded.transport = None  # as Daphne does
    daphne.protocol_disconnected(plain)
    assert later == []
    daphne.protocol_disconnected(upgraded)
    ((let_go, of),) = later
    let_go(of)
    assert (channel.requests, channel.transport, channel._networkProducer) == ([], None, None)
