"""A loop that ends cancels each task once, and waits: `asyncio.run` here, asgiref's `async_to_sync`
in a host's tests. Each of ours ends, though the command it is in swallows that cancel and goes on.
"""

import asyncio
import gc
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest

from holodrive.realtime import group_commit, hub, publish, tasks
from holodrive.realtime.group_commit import GroupCommit
from holodrive.realtime.hub import Hub
from holodrive.realtime.layer import ConfirmedPubSubLayer
from holodrive.realtime.presence import Presence
from holodrive.realtime.publish import WakeUp
from testing.patience import PATIENCE

NOWHERE = ["redis://127.0.0.1:1/0"]


class Stubborn:
    """A command to a Redis that is frozen, inside of which the first cancel is lost."""

    def __init__(self):
        self.begun = asyncio.Event()

    async def __call__(self, *args, **kwargs):
        self.begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)


class Layer:
    """A channel layer, of which one method is like that."""

    def __init__(self, stubborn, name):
        setattr(self, name, stubborn)

    async def new_channel(self):
        return "specific.1"

    async def group_add(self, group, channel):
        pass

    async def group_send(self, group, message):
        pass

    async def receive(self, channel):
        await asyncio.sleep(3600)


def with_layer(name):
    def begin(stubborn, monkeypatch):
        monkeypatch.setattr(hub, "get_channel_layer", lambda: Layer(stubborn, name))
        here = Hub()
        if name == "group_send":
            here.waker.send([WakeUp("group", {})])
        return here

    return begin


def in_the_hub(name):
    def begin(stubborn, monkeypatch):
        monkeypatch.setattr(hub, "get_channel_layer", lambda: Layer(stubborn, "unused"))
        monkeypatch.setattr(hub, "_JUDGE_ALL_SECONDS", 0.01)
        here = Hub()
        monkeypatch.setattr(here, name, stubborn)
        return here

    return begin


def work_of_the_hub(stubborn, monkeypatch):
    monkeypatch.setattr(hub, "get_channel_layer", lambda: Layer(stubborn, "unused"))
    here = Hub()
    here._start(stubborn)
    return here


def presence():
    layer = ConfirmedPubSubLayer(hosts=NOWHERE)
    return Presence("one", layer, lambda message: None, asyncio.get_running_loop())


def heart(stubborn, monkeypatch):
    one = presence()
    monkeypatch.setattr(one, "heartbeat", stubborn)
    one.start()
    return one


def work_of_presence(stubborn, monkeypatch):
    one = presence()
    one._start(stubborn)
    return one


def receiver_of_a_shard(stubborn, monkeypatch):
    (shard,) = ConfirmedPubSubLayer(hosts=NOWHERE).loop_layer()._shards
    shard._pubsub = SimpleNamespace(subscribed=True, get_message=stubborn)
    shard._ensure_receiver()
    return shard


KINDS = {
    "membership, a new channel": with_layer("new_channel"),
    "membership, a join": with_layer("group_add"),
    "receiver of wake-ups": with_layer("receive"),
    "sender of wake-ups": with_layer("group_send"),
    "reconcile": in_the_hub("reconcile"),
    "judging": in_the_hub("judge_all"),
    "work of the hub": work_of_the_hub,
    "presence, its heart": heart,
    "presence, its work": work_of_presence,
    "receiver of a shard": receiver_of_a_shard,
}


def ends(main):
    """Whether the loop of this coroutine comes to its end."""
    loop = threading.Thread(target=lambda: asyncio.run(main), daemon=True)
    loop.start()
    loop.join(PATIENCE)
    return not loop.is_alive()


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_ends_when_it_is_cancelled_once(kind, monkeypatch, settings, caplog):
    settings.REALTIME_RECONCILE_SECONDS = 0.01

    async def main():
        stubborn = Stubborn()
        main.kept = KINDS[kind](stubborn, monkeypatch)
        async with asyncio.timeout(PATIENCE):
            await stubborn.begun.wait()

    assert ends(main())
    main.kept = None
    gc.collect()
    assert "was destroyed" not in caplog.text


def test_a_hub_whose_loop_ended_gets_no_more_events(monkeypatch):
    async def main():
        monkeypatch.setattr(hub, "get_channel_layer", lambda: Layer(None, "unused"))
        main.hub = hub.here()
        await asyncio.sleep(0)  # its tasks run

    before = sum(map(len, publish._hubs.values()))
    assert ends(main())
    assert sum(map(len, publish._hubs.values())) == before
    assert main.hub.loop not in hub._hubs


def test_a_loop_that_ends_begins_no_further_transaction(monkeypatch, caplog):
    """Nobody would wait for it."""

    async def main():
        begun = asyncio.Event()

        async def in_database(*args):
            begun.set()
            await asyncio.sleep(3600)

        monkeypatch.setattr(group_commit, "in_database", in_database)
        commit = GroupCommit(list, key=lambda call: "same")
        main.kept = [commit, *(asyncio.create_task(commit(call)) for call in "ab")]
        await begun.wait()

    assert ends(main())
    main.kept = None
    gc.collect()
    assert "was destroyed" not in caplog.text


async def test_a_task_that_is_cancelled_before_its_first_turn_ends_all_the_same():
    task = tasks.start(asyncio.sleep(3600))
    task.cancel()
    _, left = await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=PATIENCE)
    assert not left
    assert task.cancelled()


async def test_a_task_hands_its_failure_on():
    async def work():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await tasks.start(work())


async def test_a_time_out_within_a_task_is_no_cancel_of_it():
    async def work():
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(3600)
        assert not tasks.is_ending()

    await tasks.start(work())
