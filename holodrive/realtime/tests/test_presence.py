"""Presence: who is online, on whichever process, whatever becomes of processes and of Redis.

Several processes' presences live on one event loop here, with a Valkey of the test's own and clocks
that the test moves. What they say to each other goes over a bus that may lose it.
"""

import asyncio
import itertools
import random
from datetime import UTC, datetime

import pytest
import redis

from holodrive.realtime.layer import ConfirmedPubSubLayer
from holodrive.realtime.models import LastSeen
from holodrive.realtime.presence import Presence, save_last_seen
from testing.patience import PATIENCE

TTL = 30.0
GRACE = TTL / 6


class Timer:
    def __init__(self, at, call):
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self):
        self.cancelled = True


class Clock:
    """An event loop whose time the test moves; its tasks are real."""

    def __init__(self):
        self.now, self.timers = 1000.0, []
        self.loop = asyncio.get_running_loop()
        self.call_soon, self.create_task = self.loop.call_soon, self.loop.create_task

    def time(self):
        return self.now

    def call_later(self, delay, call, *args):
        self.timers.append(Timer(self.now + delay, lambda: call(*args)))
        return self.timers[-1]

    def advance(self, seconds):
        self.now += seconds
        due = [timer for timer in self.timers if timer.at <= self.now and not timer.cancelled]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            timer.call()


class Site:
    """The processes of one installation."""

    def __init__(self, url):
        self.layer = ConfirmedPubSubLayer(hosts=[url], prefix="test")
        self.redis = redis.Redis.from_url(url)
        self.clock = Clock()
        self.presences, self.dead, self.saved, self.loses = [], [], [], False

    def process(self, name):
        presence = Presence(
            name,
            self.layer,
            lambda message: self.announce(presence, message),
            self.clock,
            wall=lambda: self.clock.now,
        )
        presence.seen = []
        presence.roster.watch([1, 2, 3], lambda *told: presence.seen.append(told))
        presence._save = self.save
        self.presences.append(presence)
        return presence

    def announce(self, sender, message):
        for presence in self.presences:
            if presence is not sender and not self.loses:
                presence.heard(message)

    async def save(self, last_seen):
        self.saved.append(dict(last_seen))

    async def settle(self):
        """Until nobody has anything more to do."""
        await asyncio.sleep(0)
        while work := [task for one in self.presences for task in one._work]:
            await asyncio.wait(work, timeout=PATIENCE)
            await asyncio.sleep(0)

    async def heartbeats(self):
        for presence in self.presences:
            await presence.heartbeat()
        await self.settle()

    def crash(self, presence):
        self.presences.remove(presence)
        self.dead.append(presence)

    def age(self, name, seconds):
        """As if this process had said for so long no more that it lives."""
        assert self.redis.zincrby("test:presence", -seconds, name)


@pytest.fixture
async def site(valkey, settings):
    settings.REALTIME_PRESENCE_SECONDS = TTL
    site = Site(valkey.url)
    yield site
    for presence in site.presences:
        await presence.close()
    for presence in site.dead:
        await presence.disconnect()
    site.redis.close()


@pytest.fixture
async def pair(site):
    one, two = site.process("one"), site.process("two")
    await site.heartbeats()
    return one, two


async def test_a_user_is_online_everywhere_at_once(site, pair):
    one, two = pair
    one.arrived(1)
    assert one.seen == [(1, True, 0)]
    await site.settle()
    assert two.seen == [(1, True, 0)]
    assert two.roster.online([1, 2]) == [1]


async def test_a_second_device_changes_nothing_and_the_last_one_ends_it(site, pair):
    one, two = pair
    one.arrived(1)
    two.arrived(1)
    await site.settle()
    one.left(1)
    site.clock.advance(GRACE)
    await site.settle()
    assert one.seen == two.seen == [(1, True, 0)]
    two.left(1)
    left_at = site.clock.now
    site.clock.advance(GRACE)
    await site.settle()
    assert one.seen == two.seen == [(1, True, 0), (1, False, left_at)]
    assert site.saved[-1] == {1: left_at}


async def test_who_comes_back_within_the_grace_was_never_away(site, pair):
    one, two = pair
    one.arrived(1)
    one.left(1)
    site.clock.advance(GRACE - 0.1)
    one.arrived(1)
    site.clock.advance(GRACE)
    await site.settle()
    assert one.seen == two.seen == [(1, True, 0)]
    assert site.saved == []


async def test_what_was_not_heard_is_read_at_the_next_heartbeat(site, pair):
    one, two = pair
    site.loses = True
    one.arrived(1)
    one.arrived(2)
    await site.settle()
    one.left(2)
    site.clock.advance(GRACE)
    await site.settle()
    assert two.seen == []
    await two.heartbeat()
    assert two.seen == [(1, True, 0)]
    assert not two.roster.is_online(2)


async def test_a_jump_in_what_is_heard_is_read_at_once(site, pair):
    one, two = pair
    site.loses = True
    one.arrived(1)
    await site.settle()
    site.loses = False
    one.arrived(2)
    await site.settle()
    assert two.roster.online([1, 2]) == [1, 2]


async def test_a_new_process_knows_everybody_after_its_first_heartbeat(site, pair):
    one, two = pair
    one.arrived(1)
    two.arrived(2)
    await site.settle()
    three = site.process("three")
    await three.heartbeat()
    assert three.roster.online([1, 2, 3]) == [1, 2]


async def test_a_killed_process_ends_once_and_its_users_with_it(site, pair):
    one, two = pair
    three = site.process("three")
    await three.heartbeat()
    one.arrived(1)
    two.arrived(2)
    one.arrived(2)
    await site.settle()
    site.crash(one)
    site.age("one", TTL - 1)
    await site.heartbeats()
    assert two.roster.online([1, 2]) == [1, 2]
    site.age("one", 2)
    await site.heartbeats()
    for presence in (two, three):
        ((user_id, is_online, last_seen),) = presence.seen[2:]
        assert (user_id, is_online) == (1, False)
        assert presence.roster.online([1, 2]) == [2]
    (saved,) = site.saved  # by one of the two
    assert saved == {1: last_seen, 2: last_seen}
    assert b"one" not in b" ".join(site.redis.keys())


async def test_who_was_taken_for_dead_comes_back(site, pair):
    one, two = pair
    one.arrived(1)
    await site.settle()
    site.age("one", TTL + 1)
    await two.heartbeat()
    await site.settle()
    assert [told[1] for told in two.seen] == [True, False]
    await one.heartbeat()
    await site.settle()
    assert one.seen == [(1, True, 0)]
    assert [told[1] for told in two.seen] == [True, False, True]


async def test_a_flushed_redis_is_written_anew_and_nobody_notices(site, pair):
    one, two = pair
    one.arrived(1)
    two.arrived(2)
    await site.settle()
    site.redis.flushall()
    await site.heartbeats()
    await site.heartbeats()
    for presence in (one, two):
        assert sorted(presence.seen) == [(1, True, 0), (2, True, 0)]
    late = site.process("late")
    await late.heartbeat()
    assert late.roster.online([1, 2]) == [1, 2]


async def test_without_redis_everybody_stays_and_ones_own_users_go_on(site, pair, valkey):
    one, two = pair
    two.arrived(2)
    await site.settle()
    valkey.kill()
    for _ in range(3):
        site.clock.advance(TTL)
        with pytest.raises((redis.RedisError, OSError)):
            await one.heartbeat()
    one.arrived(1)
    await site.settle()
    assert one.roster.online([1, 2]) == [1, 2]


async def test_after_an_outage_the_living_are_not_taken_for_dead(site, pair):
    one, two = pair
    two.arrived(2)
    await site.settle()
    site.age("two", 10 * TTL)
    site.clock.advance(10 * TTL)
    one._lost = True  # its last heartbeat failed, and so, likely, did everybody's
    await one.heartbeat()
    assert one.roster.is_online(2)
    await two.heartbeat()
    site.clock.advance(TTL)
    await one.heartbeat()
    assert [told[1] for told in one.seen] == [True]


async def test_what_changed_while_redis_was_away_is_there_afterwards(site, pair, valkey):
    one, two = pair
    valkey.kill()
    site.loses = True
    one.arrived(1)
    await site.settle()
    valkey.start()
    site.loses = False
    await site.heartbeats()
    await site.heartbeats()
    assert two.roster.is_online(1)
    assert site.redis.smembers("test:presence:one") == {b"1"}


async def test_a_process_that_ends_says_so(site, pair):
    one, two = pair
    one.arrived(1)
    await site.settle()
    site.crash(one)
    await one.close()
    assert two.seen == [(1, True, 0), (1, False, site.clock.now)]
    assert site.saved == [{1: site.clock.now}]
    assert site.redis.zrange("test:presence", 0, -1) == [b"two"]
    assert not site.redis.exists("test:presence:one")


async def test_changes_of_one_turn_are_one_version_and_one_message(site, pair, monkeypatch):
    one, _ = pair
    messages = []
    monkeypatch.setattr(one, "_announce", messages.append)
    for user_id in range(100):
        one.arrived(user_id)
    await site.settle()
    (message,) = messages
    assert sorted(message["+"]) == list(range(100))


async def test_nobody_is_told_any_more_who_does_not_watch(site, pair):
    one, _ = pair
    seen = []

    def watcher(*told):
        seen.append(told)

    one.roster.watch([1], watcher)
    one.roster.unwatch([1], watcher)
    one.arrived(1)
    assert seen == []


@pytest.mark.parametrize("seed", range(5))
async def test_after_any_history_all_processes_agree_with_the_truth(site, seed):
    """Three processes, users who come and go, messages that are lost, flushes and crashes."""
    chance = random.Random(seed)  # noqa: S311
    processes = [site.process(f"p{number}") for number in range(3)]
    await site.heartbeats()
    truth = {presence: set() for presence in processes}
    for step in range(150):
        presence = chance.choice(site.presences)
        user_id = chance.choice([1, 2, 3])
        match chance.choice(["come", "come", "go", "go", "wait", "settle", "flush", "beat"]):
            case "come":
                presence.arrived(user_id)
                truth[presence].add(user_id)
            case "go" if user_id in truth[presence]:
                presence.left(user_id)
                truth[presence].discard(user_id)
            case "wait":
                site.clock.advance(chance.uniform(0, 2 * GRACE))
            case "settle":
                await site.settle()
            case "flush" if step % 3 == 0:
                site.redis.flushall()
            case "beat":
                await presence.heartbeat()
        site.loses = chance.random() < 0.3
    site.loses = False
    site.clock.advance(GRACE)
    await site.settle()
    await site.heartbeats()
    await site.heartbeats()
    online = sorted(set().union(*truth.values()))
    for presence in site.presences:
        assert presence.roster.online([1, 2, 3]) == online
        last = {user_id: is_online for user_id, is_online, _ in presence.seen}
        assert sorted(user_id for user_id, is_online in last.items() if is_online) == online
        for user_id in (1, 2, 3):  # a change is told once
            told = [is_online for one, is_online, _ in presence.seen if one == user_id]
            assert all(a != b for a, b in itertools.pairwise(told))


@pytest.mark.django_db(transaction=True)
def test_the_later_time_of_two_stays(make_user):
    one, two = make_user(), make_user()
    save_last_seen({one.pk: 2000.5, two.pk: 1000.0, 999_999: 1.0})
    save_last_seen({one.pk: 1500.0, two.pk: 3000.0})
    known = dict(LastSeen.objects.values_list("user", "at"))
    assert known == {
        one.pk: datetime.fromtimestamp(2000.5, UTC),
        two.pk: datetime.fromtimestamp(3000.0, UTC),
    }
