"""The hub: whatever brings an event, each socket gets it once and in order."""

import asyncio
import random

import pytest

from holodrive.realtime import hub as hub_module
from holodrive.realtime import log, publish
from holodrive.realtime.apps import DEFAULTS
from holodrive.realtime.hub import Hub
from holodrive.realtime.outbox import Outbox
from holodrive.realtime.wire import CloseCode, LoggedEvent
from testing.patience import PATIENCE

STREAM = "user.1"


class Recorder(Outbox):
    """An outbox that keeps what it was given."""

    def __init__(self):
        super().__init__(send=None, limit=0)
        self.got = []
        self._grew = asyncio.Event()

    def _write(self, frame):
        self.got.append(frame.text)
        self._grew.set()

    async def until(self, count):
        async with asyncio.timeout(PATIENCE):
            while len(self.got) < count:
                self._grew.clear()
                await self._grew.wait()

    def waiting(self):
        return 0

    def close(self, code):
        self.closed = code


class FakeLog:
    """The stream's log: what is committed; `behind` and `heads` as in log.py."""

    def __init__(self, monkeypatch):
        self.texts = {}
        monkeypatch.setattr(hub_module, "in_database", self.in_database)

    async def in_database(self, function, *args):
        known = {log.behind: self.behind, log.heads: self.heads, log.last_id: self.last_id}
        return {**known, log.tail: self.tail}[function](*args)

    def commit(self):
        seq = self.head + 1
        self.texts[seq] = f"e{seq}"
        return LoggedEvent(STREAM, seq, f"e{seq}")

    @property
    def head(self):
        return max(self.texts, default=0)

    def behind(self, cursors):
        return [LoggedEvent(STREAM, s, t) for s, t in self.texts.items() if s > cursors[STREAM]]

    def heads(self, names):
        return {STREAM: self.head}

    def last_id(self):
        return self.head

    def tail(self, after_id):
        return log.Tail(self.head, self.heads([]))


@pytest.fixture(autouse=True)
def no_reconcile(settings):
    """It would hide that something else does not bring an event: tests call it themselves."""
    settings.REALTIME_RECONCILE_SECONDS = 3600


@pytest.fixture
async def hub(settings):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    made = Hub()
    yield made
    await made.close()


@pytest.fixture
def committed(monkeypatch):
    return FakeLog(monkeypatch)


def join(hub, head):
    outbox = Recorder()
    subscription = hub.subscribe(STREAM, outbox, user_id=1)
    subscription.release(head)
    return outbox


async def test_events_come_once_and_in_order_however_they_arrive(hub, committed):
    events = [committed.commit() for _ in range(4)]
    outbox = join(hub, 0)
    for index in (1, 0, 0, 3, 1, 2, 3):
        hub.accept([events[index]])
    assert outbox.got == ["e1", "e2", "e3", "e4"]


async def test_an_echo_neither_comes_again_nor_delays_what_follows(hub, committed):
    one, two, three = (committed.commit() for _ in range(3))
    outbox = join(hub, 0)
    hub.accept([one, two, one, three])
    assert outbox.got == ["e1", "e2", "e3"]


@pytest.mark.parametrize("version", [publish.VERSION + 1, "1", None])
async def test_a_wake_up_of_another_version_is_not_read_and_reconcile_brings_its_event(
    hub, committed, caplog, version
):
    event = committed.commit()
    outbox = join(hub, 0)
    of_another = {"v": version, "from": "elsewhere", "t": "soon", "e": [{"what": "it now is"}]}
    for _ in range(2):
        hub._received(of_another)
    assert outbox.got == []
    assert caplog.text.count("Processes of another version run") == 1
    await hub.reconcile()
    assert outbox.got == [event.text]


async def test_a_wake_up_of_this_version_is_read_whatever_else_it_has(hub, committed):
    outbox = join(hub, 0)
    message = publish.signed({"e": [list(committed.commit())], "since_then": [1]})
    hub._received({**message, "from": "elsewhere"})
    assert outbox.got == ["e1"]


async def test_a_jump_is_read_from_the_log(hub, committed, monkeypatch):
    monkeypatch.setattr(hub_module, "_STRAGGLERS", 0)
    events = [committed.commit() for _ in range(3)]
    outbox = join(hub, 0)
    hub.accept([events[2]])
    assert outbox.got == []
    await outbox.until(3)
    assert outbox.got == ["e1", "e2", "e3"]


async def test_a_socket_that_joins_later_gets_only_what_follows_its_own_snapshot(hub, committed):
    first = join(hub, 0)
    one, two = committed.commit(), committed.commit()
    late = Recorder()
    subscription = hub.subscribe(STREAM, late, user_id=2)  # subscribed, then both are committed
    hub.accept([one])
    subscription.release(cursor=2)  # its snapshot has both; `two` is late
    hub.accept([two])
    assert (first.got, late.got) == (["e1", "e2"], [])


async def test_live_events_wait_until_the_socket_has_caught_up(hub, committed):
    outbox = Recorder()
    subscription = hub.subscribe(STREAM, outbox, user_id=1)
    hub.accept([committed.commit()])
    assert outbox.got == []
    subscription.release(cursor=0)
    assert outbox.got == ["e1"]


async def test_who_joins_a_stream_in_use_gets_nothing_before_the_first_frame(hub, committed):
    join(hub, 0)
    late = Recorder()
    subscription = hub.subscribe(STREAM, late, user_id=2)
    hub.accept([committed.commit()])
    assert late.got == []
    subscription.release(cursor=0)
    assert late.got == ["e1"]


async def test_reconcile_alone_delivers_everything(hub, committed):
    outbox = join(hub, 0)
    committed.commit()
    committed.commit()
    await hub._catch_up({STREAM: 2})
    assert outbox.got == ["e1", "e2"]


async def test_a_confirmed_join_reads_the_log(hub, committed):
    outbox = join(hub, 0)
    committed.commit()
    hub._to_verify = {STREAM}
    await hub._verify()
    assert outbox.got == ["e1"]


async def test_a_join_confirmed_during_the_snapshot_is_verified_behind_it(hub, committed):
    outbox = Recorder()
    subscription = hub.subscribe(STREAM, outbox, user_id=1)
    hub._confirmed(STREAM)
    committed.commit()  # behind the snapshot, its wake-up before the SUBSCRIBE: nothing brings it
    subscription.release(0)
    await outbox.until(1)


async def test_the_bulk_group_confirmed_reads_the_log_of_every_stream(hub, committed):
    outbox = join(hub, 0)
    committed.commit()  # its wake-up was for all hubs, and this one was not yet among them
    hub._confirmed(publish.BULK_GROUP)
    await outbox.until(1)
    assert outbox.got == ["e1"]


async def test_what_was_committed_before_redis_has_confirmed_the_join_arrives(committed):
    """On the real layer."""
    hub = Hub()
    try:
        outbox = join(hub, 0)
        committed.commit()  # its wake-up has come and gone
        await outbox.until(1)
    finally:
        await hub.close()
    assert outbox.got == ["e1"]


async def test_reconcile_sees_what_commits_behind_a_greater_id(hub, committed, monkeypatch):
    """Ids are given at the insert, and are seen at the commit."""
    other, ids = "user.2", {}

    async def in_database(function, *args):
        if function is log.last_id:
            return max(ids.values(), default=0)
        if function is log.tail:
            return tail(*args)
        return await committed.in_database(function, *args)

    def tail(after_id):
        seen = {name: 1 for name, id in ids.items() if id > after_id}
        return log.Tail(max([id for id in ids.values() if id > after_id], default=after_id), seen)

    monkeypatch.setattr(hub_module, "in_database", in_database)
    outbox = join(hub, 0)
    await hub.reconcile()
    ids[other] = 5_001
    await hub.reconcile()
    ids[STREAM] = 5_000  # was inserted before, and commits only now
    committed.commit()
    await hub.reconcile()
    assert outbox.got == ["e1"]


async def test_what_lies_before_the_tails_window_is_found_by_comparing_all_heads(
    hub, committed, monkeypatch
):
    """Its transaction was open for longer than the tail looks back."""
    monkeypatch.setattr(committed, "tail", lambda after_id: log.Tail(after_id, {}))
    outbox = join(hub, 0)
    await hub.reconcile()  # the first one compares them as well
    committed.commit()
    await hub.reconcile()
    assert outbox.got == []
    await hub.reconcile(all_heads=True)
    assert outbox.got == ["e1"]


async def test_all_heads_are_compared_once_a_minute(settings, monkeypatch):
    asked, enough = [], asyncio.Event()

    async def reconcile(self, all_heads):
        asked.append(all_heads)
        if len(asked) == 60:
            enough.set()

    monkeypatch.setattr(Hub, "reconcile", reconcile)
    settings.REALTIME_RECONCILE_SECONDS = 0
    hub = Hub()
    try:
        await asyncio.wait_for(enough.wait(), PATIENCE)
    finally:
        await hub.close()
    assert [tick for tick, compared in enumerate(asked[:60], start=1) if compared] == [30, 60]
    assert 30 * DEFAULTS["REALTIME_RECONCILE_SECONDS"] == 60


async def test_who_releases_behind_another_gets_what_lies_between(hub, committed):
    """Both join a new stream; the second has the newer snapshot, and is ready first."""
    slow, quick = Recorder(), Recorder()
    first = hub.subscribe(STREAM, slow, user_id=1)
    event = committed.commit()
    second = hub.subscribe(STREAM, quick, user_id=2)
    hub.accept([event])
    second.release(cursor=1)
    first.release(cursor=0)
    hub.accept([committed.commit()])
    await slow.until(2)
    assert (slow.got, quick.got) == (["e1", "e2"], ["e2"])


async def test_reconcile_outlives_whatever_it_fails_on(hub, committed, monkeypatch, caplog):
    async def fail(function, *args):
        raise RuntimeError("can't start new thread")

    outbox = join(hub, 0)
    committed.commit()
    with monkeypatch.context() as broken:
        broken.setattr(hub_module, "in_database", fail)
        await hub._guarded(hub._catch_up, {STREAM: 1})
    assert "can't start new thread" in caplog.text
    await hub._guarded(hub._catch_up, {STREAM: 1})
    assert outbox.got == ["e1"]


async def test_when_the_log_was_pruned_the_sockets_must_resume(hub, committed):
    outbox = join(hub, 0)
    committed.commit()
    committed.commit()
    del committed.texts[1]
    await hub._catch_up({STREAM: 2})
    assert (outbox.got, outbox.closed) == ([], CloseCode.TOO_SLOW)
    late = join(hub, 2)  # before the first has left
    hub.accept([committed.commit()])
    assert (late.got, late.closed) == (["e3"], None)


async def test_a_stream_set_back_while_the_log_is_read_is_not_taken_for_pruned(
    hub, committed, monkeypatch
):
    """A slow socket's older snapshot sets the cursor back behind what the read began at."""
    quick, slow = Recorder(), Recorder()
    second = hub.subscribe(STREAM, quick, user_id=2)
    first = hub.subscribe(STREAM, slow, user_id=1)
    for _ in range(2):
        committed.commit()
    second.release(cursor=1)

    async def meanwhile(function, *args):
        read = await committed.in_database(function, *args)
        if function is log.behind and first.held is not None:
            first.release(cursor=0)
        return read

    monkeypatch.setattr(hub_module, "in_database", meanwhile)
    await hub._catch_up({STREAM: 2})
    await slow.until(2)
    assert (slow.got, slow.closed) == (["e1", "e2"], None)
    assert (quick.got, quick.closed) == (["e2"], None)


async def test_the_last_subscriber_leaves_and_nothing_is_kept(hub, committed):
    outbox = Recorder()
    subscription = hub.subscribe(STREAM, outbox, user_id=1)
    subscription.release(0)
    hub.unsubscribe(subscription)
    hub.accept([committed.commit()])
    assert outbox.got == []
    assert not hub._topics


async def test_a_wake_up_that_is_not_understood_stops_no_other(hub, committed, monkeypatch):
    monkeypatch.setattr(hub_module, "_LAYER_RETRY", 0)
    outbox = join(hub, 0)
    event = committed.commit()
    async with asyncio.timeout(PATIENCE):
        while STREAM not in hub._joined:  # noqa: ASYNC110 - one step of the loop at a time
            await asyncio.sleep(0)
    for events in (5, [list(event)]):
        message = {**publish.signed({"e": events}), "from": "another"}
        await hub.layer.group_send(STREAM, message)
    await outbox.until(1)


@pytest.mark.parametrize("seed", range(40))
async def test_no_interleaving_loses_doubles_or_reorders(hub, committed, seed):
    """Commits, wake-ups (lost, doubled, late), joins between any two steps, repairs."""
    chance = random.Random(seed)  # noqa: S311
    on_the_way, sockets = [], []
    for _ in range(200):
        match chance.randrange(6):
            case 0 | 1:
                on_the_way += [committed.commit()] * chance.choice([0, 1, 1, 1, 2])
            case 2 | 3 if on_the_way:
                hub.accept([on_the_way.pop(chance.randrange(len(on_the_way)))])
            case 4:
                outbox = Recorder()
                subscription = hub.subscribe(STREAM, outbox, user_id=1)
                sockets.append([outbox, subscription, None])
            case 5:
                for socket in chance.sample(sockets, len(sockets)):
                    if socket[2] is None:
                        if (
                            chance.random() < 0.5
                        ):  # the snapshot is read now, the socket released later
                            socket[2] = committed.head
                    elif socket[1].held is not None:
                        socket[1].release(socket[2])
    for socket in sockets:
        if socket[2] is None:
            socket[2] = committed.head
        if socket[1].held is not None:
            socket[1].release(socket[2])
    await hub._catch_up({STREAM: committed.head})
    assert sockets
    for outbox, _, snapshot in sockets:
        assert outbox.got == [f"e{seq}" for seq in range(snapshot + 1, committed.head + 1)]


async def test_a_digest_follows_what_it_is_of_and_never_overtakes(hub, committed):
    def join(head):
        outbox = Recorder()
        subscription = hub.subscribe(STREAM, outbox, 1, digest=lambda text: f"digest of {text}")
        return outbox, subscription

    one, two, three = (committed.commit() for _ in range(3))
    early, subscription = join(0)
    subscription.release(0)
    late, subscription = join(0)
    subscription.release(2)  # its snapshot has two of them
    hub.accept([one])
    await asyncio.sleep(0)
    assert (early.got, late.got) == (["e1", "digest of e1"], [])
    held, subscription = join(0)
    hub.accept([two, three])
    await asyncio.sleep(0)
    assert early.got[2:] == ["e2", "e3", "digest of e3"]
    assert late.got == ["e3", "digest of e3"]
    subscription.release(1)
    assert held.got == ["e2", "e3", "digest of e3"]


async def test_what_waits_for_a_client_to_catch_up_is_bounded(hub, committed, settings):
    """A client may take any time to read what it missed, and others may write meanwhile."""
    settings.REALTIME_OUTBOX_BYTES = 1000
    slow, other = Recorder(), Recorder()
    first = hub.subscribe(STREAM, slow, user_id=1)
    first.begin(0)
    hub.subscribe(STREAM, other, user_id=2).release(0)
    while committed.head < 200:
        hub.accept([committed.commit()])
    assert len(other.got) == 200
    assert slow.closed == CloseCode.TOO_SLOW
    assert not first.held


async def test_a_stream_begins_before_its_first_socket_has_read_what_it_missed(hub, committed):
    """Else all that comes meanwhile would wait in the hub."""
    outbox = Recorder()
    subscription = hub.subscribe(STREAM, outbox, user_id=1)
    early = committed.commit()
    hub.accept([early])
    subscription.begin(0)
    late = committed.commit()
    hub.accept([late])
    assert not hub._topics[STREAM].early
    assert outbox.got == []
    subscription.release(0)
    assert outbox.got == ["e1", "e2"]
