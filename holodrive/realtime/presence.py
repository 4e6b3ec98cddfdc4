"""Who is online: every user with an open socket on any process.

Each process keeps its own users in Redis under its own name, and says that it lives. A process that
says so no more has no users any more: nobody counts connects and disconnects, so no crash can leave
a wrong count. Every process knows all who are online (it hears each change on the bulk group, and
reads what it did not hear), so no socket ever waits for Redis. With Redis away everybody stays as
last heard of, and a process goes on with its own users.

    <prefix>:presence            sorted set: process -> when it last said that it lives
    <prefix>:presence:versions   hash: process -> how often its users have changed
    <prefix>:presence:<process>  set: its users

On a Redis Cluster it is `<prefix>:{presence}`: keys with one hash tag are in one slot, so on one
node, and may stand in one transaction.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import redis
import redis.asyncio
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError, InterfaceError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from holodrive.realtime import tasks
from holodrive.realtime.database import in_database
from holodrive.realtime.layer import ConfirmedPubSubLayer
from holodrive.realtime.models import LastSeen

logger = logging.getLogger(__name__)

_HEARTBEATS = 3  # in the time after which a process counts as dead
_GRACE = 1 / 6  # of that time: a phone that changes networks is back by then
_REDIS_SECONDS = 2.0  # nobody waits for it
_AT_ONCE = 1_000  # users in one command or statement

# user id, is online, and for who is not: since when (seconds since 1970)
Watcher = Callable[[int, bool, float], None]


class _Process:
    """One process's users, as far as this one knows."""

    __slots__ = ("heard", "users", "version")

    def __init__(self, heard: float) -> None:
        self.users: set[int] = set()
        self.version = 0
        self.heard = heard  # on the loop's clock


class Roster:
    """Who is online on which process, and who wants to know. No I/O."""

    def __init__(self) -> None:
        self.processes: dict[str, _Process] = {}
        self._watchers: dict[int, set[Watcher]] = {}

    def is_online(self, user_id: int) -> bool:
        return any(user_id in process.users for process in self.processes.values())

    def online(self, user_ids: Iterable[int]) -> list[int]:
        return [user_id for user_id in user_ids if self.is_online(user_id)]

    def watch(self, user_ids: Iterable[int], watcher: Watcher) -> None:
        """Call `watcher` whenever one of these users comes or goes."""
        for user_id in user_ids:
            self._watchers.setdefault(user_id, set()).add(watcher)

    def unwatch(self, user_ids: Iterable[int], watcher: Watcher) -> None:
        for user_id in user_ids:
            watchers = self._watchers.get(user_id, set())
            watchers.discard(watcher)
            if not watchers:
                self._watchers.pop(user_id, None)

    def process(self, name: str, now: float) -> _Process:
        return self.processes.setdefault(name, _Process(now))

    def change(self, process: _Process, entered: Iterable[int], left: Mapping[int, float]) -> None:
        """Tell the watchers of whoever has come or gone by this, and of nobody else."""
        for user_id in set(entered) - process.users:
            known = self.is_online(user_id)
            process.users.add(user_id)
            if not known:
                self._tell(user_id, True, 0)
        for user_id, since in left.items():
            if user_id in process.users:
                process.users.discard(user_id)
                if not self.is_online(user_id):
                    self._tell(user_id, False, since)

    def end(self, name: str, last_seen: float) -> None:
        """The process has no users any more."""
        process = self.processes.get(name)
        if process is not None:
            self.change(process, (), dict.fromkeys(set(process.users), last_seen))
            del self.processes[name]

    def _tell(self, user_id: int, is_online: bool, since: float) -> None:
        for watcher in list(self._watchers.get(user_id, ())):
            watcher(user_id, is_online, since)


class Presence:
    """One hub's part in it. `announce` sends a message to the presence of every other hub; its
    order and its arrival are not relied on.
    """

    def __init__(
        self,
        name: str,
        layer: Any,
        announce: Callable[[dict[str, Any]], None],
        loop: asyncio.AbstractEventLoop,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.roster = Roster()
        self._name = name
        self._announce = announce
        self._loop = loop
        self._wall = wall
        self._seconds = settings.REALTIME_PRESENCE_SECONDS
        self._own = self.roster.process(name, loop.time())
        self._leaving: dict[int, asyncio.TimerHandle] = {}
        # What Redis and the database lack: since when users are gone, None for those who are here.
        self._unstored: dict[int, float | None] = {}
        self._unsaved: dict[int, float] = {}
        self._writing = asyncio.Lock()
        self._registered = False  # Redis has what we have
        self._calm_until = 0.0  # behind an outage nobody is dead only because nobody was heard
        self._lost = False
        self._closing = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._heart: asyncio.Task[None] | None = None
        self._layer = layer if isinstance(layer, ConfirmedPubSubLayer) else None
        self._redis: redis.asyncio.Redis | None = None  # the node that has our keys
        self._key = ""

    def start(self) -> None:
        if self._layer is not None:
            self._heart = tasks.start(self._keep_alive(), self._loop)

    @property
    def is_failing(self) -> bool:
        """Whether Redis did not do what the last heartbeat asked of it."""
        return self._lost

    # This process's users

    def arrived(self, user_id: int) -> None:
        """The user has an open socket here."""
        if (timer := self._leaving.pop(user_id, None)) is not None:
            timer.cancel()
        if user_id not in self._own.users:
            self.roster.change(self._own, [user_id], {})
            self._changed(user_id, None)

    def left(self, user_id: int) -> None:
        """The user has none any more: gone, if that is still so after the grace."""
        if user_id in self._own.users and user_id not in self._leaving:
            self._leaving[user_id] = self._loop.call_later(
                self._seconds * _GRACE, self._gone, user_id, self._wall()
            )

    def _gone(self, user_id: int, last_seen: float) -> None:
        del self._leaving[user_id]
        self.roster.change(self._own, (), {user_id: last_seen})
        self._changed(user_id, last_seen)
        self._unsaved[user_id] = last_seen
        if len(self._unsaved) == 1:
            self._start(self._save_unsaved)

    def _changed(self, user_id: int, gone_since: float | None) -> None:
        if self._layer is not None:
            self._unstored[user_id] = gone_since
            if len(self._unstored) == 1:
                self._start(self._store)  # at the next turn of the loop, with all of this one's

    # What the other processes say

    def heard(self, message: dict[str, Any]) -> None:
        """A message of another hub's `announce`."""
        name, known = message["of"], self.roster.processes.get(message["of"])
        if name == self._name:
            return  # somebody took us for dead: the next heartbeat registers us again
        if "end" in message:
            self.roster.end(name, message["end"])
        elif known is None or known.version < message["v"] - 1 or "+" not in message:
            self._start(self._read, name)
        elif known.version == message["v"] - 1:
            known.version, known.heard = message["v"], self._loop.time()
            self.roster.change(known, message["+"], dict(message["-"]))

    # Redis: what was not heard, and who lives

    async def _keep_alive(self) -> None:
        while not self._closing.is_set():
            await self.beat()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds / _HEARTBEATS):
                    await self._closing.wait()

    async def beat(self) -> None:
        """A heartbeat. After one that fails the next looks anew for the node that has our keys."""
        try:
            await self.heartbeat()
            self._lost = False
        except Exception as problem:
            self._registered = False
            if not self._lost:
                is_known = isinstance(problem, (redis.RedisError, OSError))
                text = "Redis is away (%s): presence is as last heard"
                logger.warning(text, problem, exc_info=not is_known)
            self._lost = True
            with suppress(redis.RedisError, OSError):
                await self.disconnect()

    async def connect(self) -> None:
        if self._redis is None and self._layer is not None:
            self._redis, self._key = await self._layer.keyed(
                "presence",
                retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
                decode_responses=True,
                socket_timeout=_REDIS_SECONDS,
                socket_connect_timeout=_REDIS_SECONDS,
            )

    async def disconnect(self) -> None:
        client, self._redis = self._redis, None
        if client is not None:
            await client.aclose()

    async def heartbeat(self) -> None:
        """Say that this process lives, and see who does. The clock is that of Redis."""
        await self.connect()
        assert self._redis is not None
        now = (await self._redis.time())[0]
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.zadd(self._key, {self._name: now})
            pipeline.zrange(self._key, 0, -1, withscores=True)
            pipeline.hgetall(f"{self._key}:versions")
            is_new, listed, versions = await pipeline.execute()
        if self._lost:
            self._calm_until = self._loop.time() + self._seconds
            for process in self.roster.processes.values():
                process.heard = self._loop.time()
        if is_new or not self._registered:
            await self._register()
        alive = dict(listed)
        for name, alive_at in alive.items():
            if name != self._name:
                await self._look_at(name, int(versions.get(name, 0)), alive_at, now)
        self._forget_unlisted(alive)

    async def _look_at(self, name: str, version: int, alive_at: float, now: float) -> None:
        if alive_at < now - self._seconds:
            if self._loop.time() >= self._calm_until:
                await self._take_over(name, alive_at)
            return
        known = self.roster.processes.get(name)
        if known is not None:
            known.heard = self._loop.time()
        if version and (known is None or known.version < version):
            await self._read(name)

    def _forget_unlisted(self, alive: Mapping[str, float]) -> None:
        """Redis has forgotten a process: it comes back with its next heartbeat, if it lives."""
        for name, process in list(self.roster.processes.items()):
            silent = self._loop.time() - process.heard
            if name != self._name and name not in alive and silent > self._seconds:
                self.roster.end(name, self._wall() - silent)

    async def _take_over(self, name: str, last_seen: float) -> None:
        """End the users of a process that died. One process wins, and stores when they were seen;
        the others see for themselves.
        """
        assert self._redis is not None
        if await self._redis.zrem(self._key, name):
            users = await self._redis.smembers(f"{self._key}:{name}")
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(f"{self._key}:{name}")
                pipeline.hdel(f"{self._key}:versions", name)
                await pipeline.execute()
            self._announce({"of": name, "end": last_seen})
            self._start(self._save, dict.fromkeys(map(int, users), last_seen))
        self.roster.end(name, last_seen)

    async def _read(self, name: str) -> None:
        if self._redis is None:
            return  # the next heartbeat reads it
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.smembers(f"{self._key}:{name}")
            pipeline.hget(f"{self._key}:versions", name)
            users, version = await pipeline.execute()
        if version is None:
            return
        process = self.roster.process(name, self._loop.time())
        if process.version < int(version):
            process.version, process.heard = int(version), self._loop.time()
            present = set(map(int, users))
            gone = dict.fromkeys(process.users - present, self._wall())
            self.roster.change(process, present, gone)

    async def _register(self) -> None:
        """Write down all of this process's users: at its start, and when Redis has lost them."""
        assert self._redis is not None
        async with self._writing:
            self._registered = False
            self._unstored.clear()
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(f"{self._key}:{self._name}")
                await self._write(pipeline, dict.fromkeys(self._own.users))
            self._announce({"of": self._name, "v": self._own.version})
            self._registered = True
        await self._store()  # what has changed meanwhile

    async def _store(self) -> None:
        """Bring Redis up to date, then tell the others: whoever hears of a change can read it."""
        async with self._writing:
            if self._redis is None or not self._registered or not self._unstored:
                return
            changes, self._unstored = self._unstored, {}
            self._registered = False  # if this fails, the next heartbeat writes all of them
            async with self._redis.pipeline(transaction=True) as pipeline:
                await self._write(pipeline, changes)
            entered = [user_id for user_id, since in changes.items() if since is None]
            left = [(user_id, since) for user_id, since in changes.items() if since is not None]
            self._announce({"of": self._name, "v": self._own.version, "+": entered, "-": left})
            self._registered = True

    async def _write(self, pipeline: Any, changes: Mapping[int, float | None]) -> None:
        """One transaction: who reads it finds the users of exactly this version."""
        self._own.version += 1
        for command, are_here in ((pipeline.sadd, True), (pipeline.srem, False)):
            these = [user_id for user_id, since in changes.items() if (since is None) is are_here]
            for start in range(0, len(these), _AT_ONCE):
                command(f"{self._key}:{self._name}", *these[start : start + _AT_ONCE])
        pipeline.hset(f"{self._key}:versions", self._name, self._own.version)
        await pipeline.execute()

    # The database, which outlives Redis

    async def _save_unsaved(self) -> None:
        unsaved, self._unsaved = self._unsaved, {}
        await self._save(unsaved)

    async def _save(self, last_seen: Mapping[int, float]) -> None:
        await in_database(save_last_seen, last_seen)

    async def close(self) -> None:
        """This process ends, and with it the presence of its users here."""
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()
        self._closing.set()  # not a cancel: what is being stored is stored
        running = [*self._work, *([self._heart] if self._heart else [])]
        if running:
            await asyncio.wait(running, timeout=_REDIS_SECONDS)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        now = self._wall()
        users = set(self._own.users)
        self.roster.end(self._name, now)
        self._announce({"of": self._name, "end": now})
        try:
            if users:
                await self._save(dict.fromkeys(users, now))
            if self._redis is not None:
                async with self._redis.pipeline(transaction=True) as pipeline:
                    pipeline.zrem(self._key, self._name)
                    pipeline.delete(f"{self._key}:{self._name}")
                    pipeline.hdel(f"{self._key}:versions", self._name)
                    await pipeline.execute()
        except (redis.RedisError, OSError, TimeoutError, DatabaseError, InterfaceError) as problem:
            logger.warning("Presence was not ended (%s): it expires", problem)
        finally:
            await self.disconnect()

    def _start(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        if self._heart is not None and self._heart.cancelling():
            return  # with its loop: nobody would wait for it
        task = tasks.start(self._guarded(work, *args), self._loop)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _guarded(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        try:
            await work(*args)
        except (redis.RedisError, OSError, TimeoutError, DatabaseError, InterfaceError) as problem:
            logger.warning("Presence may be late (%s)", problem)
        except Exception:
            logger.exception("Presence may be late")


def save_last_seen(last_seen: Mapping[int, float]) -> None:
    """Store when these users were last online, unless something later is known."""
    ids = sorted(last_seen)  # one order for all processes, so none waits for another in a circle
    for start in range(0, len(ids), _AT_ONCE // 2):
        part = ids[start : start + _AT_ONCE // 2]
        known = dict(LastSeen.objects.filter(user__in=part).values_list("user", "at"))
        users = get_user_model()._default_manager.filter(pk__in=part)  # who was deleted meanwhile
        rows = [
            LastSeen(user_id=id, at=at)
            for id in sorted(users.values_list("pk", flat=True))
            if (at := datetime.fromtimestamp(last_seen[id], UTC)) > known.get(id, _LONG_AGO)
        ]
        LastSeen.objects.bulk_create(
            rows, update_conflicts=True, update_fields=["at"], unique_fields=["user"]
        )


_LONG_AGO = datetime.min.replace(tzinfo=UTC)
