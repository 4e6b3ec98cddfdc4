"""Which groups a commit wakes: one wake-up for all hubs, where they are few beside its streams."""

import asyncio
import copy
import uuid

import pytest

from holodrive.realtime import publish
from holodrive.realtime.hub import Hub
from holodrive.realtime.publish import BULK_GROUP, News, Told, WakeUp
from holodrive.realtime.wire import LoggedEvent
from testing.patience import PATIENCE


@pytest.mark.parametrize(
    ("streams", "hubs", "wakes_all"),
    [(1, 1, False), (2, 1, True), (3, 3, True), (3, 4, False), (20, 99, False), (21, 99, True)],
)
def test_all_are_woken_at_once_when_that_takes_less(streams, hubs, wakes_all):
    events = [LoggedEvent(f"user.{place}", 1, "{}") for place in range(streams)]
    told = [Told("user.0", "{}")]
    wake_ups = publish._wake_ups(News(events, told), hubs)
    groups = [BULK_GROUP] if wakes_all else [event.stream for event in events]
    assert [wake_up.group for wake_up in wake_ups] == groups
    assert [one for wake_up in wake_ups for one in wake_up.message["e"]] == events
    assert [one for wake_up in wake_ups for one in wake_up.message.get("x", ())] == told


async def test_the_answer_to_a_wake_up_for_all_says_how_many_hubs_there_are(settings):
    """On the real layer, as an installation of its own: hubs of other tests may be there still."""
    layers = copy.deepcopy(settings.CHANNEL_LAYERS)
    layers["default"]["CONFIG"]["prefix"] = uuid.uuid4().hex
    settings.CHANNEL_LAYERS = layers
    hub = Hub()
    try:
        assert hub.waker.hubs > 1
        async with asyncio.timeout(PATIENCE):
            while hub.waker.hubs != 1:  # it is no member at once
                hub.waker.send([WakeUp(BULK_GROUP, publish.signed({}))])
                await asyncio.sleep(0.01)
        hub.waker.send([WakeUp("user.1", publish.signed({}))])  # whose members are another matter
        await hub.waker.close()
        assert hub.waker.hubs == 1
    finally:
        await hub.close()
