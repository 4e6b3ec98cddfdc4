"""After a commit: hand the events to this process's hub, then wake the hubs of other processes.

The only place that publishes. It never blocks the writer for longer than `TIMEOUT`, and never fails
it: the event is in the log, so a wake-up that is lost costs latency (one reconcile) and nothing
else.
"""

import asyncio
import functools
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import redis
import redis.asyncio
from channels.layers import get_channel_layer
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from holodrive.realtime import metrics, tasks, tracing
from holodrive.realtime.layer import ConfirmedPubSubLayer
from holodrive.realtime.wire import Frame, LoggedEvent, encode

logger = logging.getLogger(__name__)

BULK_GROUP = "realtime.bulk"  # every hub is a member
# Of what a wake-up looks like; another one's are not read. It changes when an older process could
# not read them: a key more is ignored, and needs no new version.
VERSION = 1
# Streams in one commit: from so many on, one wake-up for all hubs costs less than one for each
# stream. It does so sooner where there are no more hubs than that.
_BULK_FROM = 21
TIMEOUT = 0.25  # seconds, for a connect as for a reply; a healthy PUBLISH takes 0.15 ms
_TIMEOUTS = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
# One retry, for a connection that died unnoticed; a time-out is not retried.
_RETRY = (NoBackoff(), 1, (redis.ConnectionError,))
_PAUSE_AFTER_FAILURE = 1.0  # seconds without a try


class WakeUp(NamedTuple):
    """One message for the hubs that are members of a group."""

    group: str
    message: dict[str, Any]
    span: Any = None  # ends when Redis has it (tracing.py)


class Told(NamedTuple):
    """A frame that is in no log: for a stream's open sockets, but not for that user's (0: for
    all). It may be lost.
    """

    stream: str
    text: str
    except_user: int = 0


class Doubt(NamedTuple):
    """Somebody's right to be connected may have ended: their sockets are judged anew. `user` is
    known by id; of an ended login the sid, or the digest of the session's key, is. `staff`: of
    whoever has a permission by a group, which a change of the group does not name.
    """

    kind: Literal["user", "login", "session", "staff"]
    value: Any


class News(NamedTuple):
    """What all hubs should know of."""

    events: Sequence[LoggedEvent | list[Any]] = ()
    told: Sequence[Told | list[Any]] = ()
    doubts: Sequence[Doubt | list[Any]] = ()
    cause: Any = None  # where the trace goes on, if there is one (tracing.Cause)


class LocalHub(Protocol):
    """What `announce` needs of a hub (hub.py), callable from any thread."""

    loop: asyncio.AbstractEventLoop
    waker: "LoopWaker"

    def published(self, news: News, wake_ups: Sequence[WakeUp]) -> None: ...


_hubs: dict[
    int, list[LocalHub]
] = {}  # by process id: a fork inherits the list, but not the running loop


def attach(hub: LocalHub) -> None:
    """From now on, this process's commits go to this hub."""
    alive = [one for one in _hubs.get(os.getpid(), ()) if not one.loop.is_closed()]
    _hubs[os.getpid()] = [*alive, hub]


def detach(hub: LocalHub) -> None:
    hubs = _hubs.get(os.getpid(), [])
    if hub in hubs:
        hubs.remove(hub)


def announce(
    events: Sequence[LoggedEvent] = (),
    told: Sequence[Told] = (),
    doubts: Sequence[Doubt] = (),
    cause: Any = None,
) -> None:
    """Publish what was committed: after the commit (`transaction.on_commit`), never inside. Raises
    nothing: the writer has committed, and whatever fails here, reconcile delivers.
    """
    try:
        if cause is not None:
            cause = tracing.begin("publish", cause, events=len(events))
        news = News(events, told, doubts, cause)
        hubs = [hub for hub in _hubs.get(os.getpid(), ()) if not hub.loop.is_closed()]
        wake_ups = _wake_ups(news, hubs[0].waker.hubs if hubs else _BULK_FROM)
        for index, hub in enumerate(hubs):
            hub.published(news, () if index else wake_ups)
        if not hubs:
            _sync_waker().send(wake_ups)
    except Exception:
        metrics.publish_failures.inc()
        logger.exception("Committed events were not published: they arrive by reconcile")


def tell(stream: str, frame: Frame, *, except_user: int = 0) -> None:
    """Send a frame that is in no log to a stream's sockets on every process, at once. What is true
    only after a commit is told with `log.tell`.
    """
    announce(told=[Told(stream, encode(frame), except_user)])


@functools.cache
def _origin(process_id: int) -> str:
    """What this process's wake-ups are signed with: its own hubs have had their news already."""
    return uuid.uuid4().hex


def is_own(message: dict[str, Any]) -> bool:
    return message.get("from") == _origin(os.getpid())


def echo_test(layer: ConfirmedPubSubLayer) -> Callable[[bytes], bool]:
    """`is_own` of what is still packed: a signed message begins with its signature, behind the one
    byte that says how many keys it has.
    """
    signature = layer.serialize({"from": _origin(os.getpid())})[1:]
    return lambda payload: payload.startswith(signature, 1)


def is_of_this_version(message: dict[str, Any]) -> bool:
    return message.get("v") == VERSION


def _wake_ups(news: News, hubs: int = _BULK_FROM) -> list[WakeUp]:
    """For all processes together, so many hubs."""
    groups: dict[str, dict[str, list[Any]]] = {}
    for key, part in (("e", news.events), ("x", news.told)):
        for one in part:
            groups.setdefault(one[0], {}).setdefault(key, []).append(one)
    if len(groups) >= max(2, min(hubs, _BULK_FROM)):
        groups = {BULK_GROUP: {"e": list(news.events), "x": list(news.told)}}
    if news.doubts:
        groups.setdefault(BULK_GROUP, {})["d"] = list(news.doubts)
    wake_ups = [WakeUp(group, signed(message)) for group, message in groups.items()]
    if news.cause is not None:
        context = tracing.carried(news.cause)
        for wake_up in wake_ups:
            wake_up.message["c"] = context
        wake_ups[-1] = wake_ups[-1]._replace(span=news.cause)
    return wake_ups


def _ended(wake_ups: Iterable[WakeUp], problem: Exception | None = None) -> None:
    for wake_up in wake_ups:
        tracing.end(wake_up.span, problem)


def signed(message: dict[str, Any]) -> dict[str, Any]:
    """With the signature first: see `echo_test`."""
    return {"from": _origin(os.getpid()), **message, "v": VERSION, "t": time.time()}


class Breaker:
    """Stops asking a Redis that does not answer: no writer waits for it twice in a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._closed_until = 0.0

    @property
    def allows(self) -> bool:
        return self._clock() >= self._closed_until

    def failed(self, wake_ups: int, problem: Exception) -> None:
        metrics.publish_failures.inc(wake_ups)
        if self.allows:
            logger.warning("Redis does not take wake-ups (%s): events arrive by reconcile", problem)
        self._closed_until = self._clock() + _PAUSE_AFTER_FAILURE


class NotAskedError(Exception):
    """Redis did not answer a moment ago."""


class SyncWaker:
    """Wakes from a process without a hub: WSGI, the shell, Celery, a fork. Thread-safe. With a
    layer that reaches no other process (in-memory) there is nobody to wake.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._breaker = Breaker()
        self._shards: list[redis.Redis] = []
        if isinstance(layer, ConfirmedPubSubLayer):
            self._shards = layer.clients(redis.Redis, retry=Retry(*_RETRY), **_TIMEOUTS)

    def send(self, wake_ups: Iterable[WakeUp]) -> None:
        wake_ups = list(wake_ups)
        _ended(wake_ups, self._send(wake_ups))

    def _send(self, wake_ups: Sequence[WakeUp]) -> Exception | None:
        if not self._shards:
            return None
        if not self._breaker.allows:
            metrics.publish_failures.inc(len(wake_ups))
            return NotAskedError()
        try:
            for shard, parts in self._layer.addressed(wake_ups).items():
                pipeline = self._shards[shard].pipeline(transaction=False)
                for channel, message in parts:
                    pipeline.publish(channel, message)
                pipeline.execute()
        except (redis.RedisError, OSError) as problem:
            # Without the embedded Valkey's socket file nobody serves here: nobody is to be woken.
            if not isinstance(problem.__cause__ or problem.__context__, FileNotFoundError):
                self._breaker.failed(len(wake_ups), problem)
            return problem
        return None


@functools.cache
def _sync_waker() -> SyncWaker:
    return SyncWaker(get_channel_layer())


class LoopWaker:
    """Wakes from a hub's event loop: what gathers while one pipeline is on its way leaves in the
    next. `hubs`: so many took the last wake-up for all of them; many, until there was one.
    """

    def __init__(self, layer: Any) -> None:
        self.hubs = _BULK_FROM
        self._layer = layer
        self._breaker = Breaker()
        self._waiting: list[WakeUp] = []
        self._task: asyncio.Task[None] | None = None
        self._shards: list[redis.asyncio.Redis] = []
        if isinstance(layer, ConfirmedPubSubLayer):
            self._bulk_channel = layer.channel_of(BULK_GROUP)
            retry = AsyncRetry(*_RETRY)
            self._shards = layer.clients(redis.asyncio.Redis, retry=retry, **_TIMEOUTS)

    def send(self, wake_ups: Iterable[WakeUp]) -> None:
        self._waiting += wake_ups
        if self._waiting and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send_waiting())

    async def _send_waiting(self) -> None:
        try:
            while self._waiting and not tasks.is_ending():
                wake_ups, self._waiting = self._waiting, []
                if not self._breaker.allows:
                    metrics.publish_failures.inc(len(wake_ups))
                    _ended(wake_ups, NotAskedError())
                    continue
                try:
                    async with asyncio.timeout(4 * TIMEOUT):
                        await self._publish(wake_ups)
                except (redis.RedisError, OSError, TimeoutError) as problem:
                    self._breaker.failed(len(wake_ups), problem)
                    _ended(wake_ups, problem)
                else:
                    _ended(wake_ups)
        finally:
            self._task = None

    async def _publish(self, wake_ups: Sequence[WakeUp]) -> None:
        if not self._shards:
            for group, message, _ in wake_ups:
                await self._layer.group_send(group, message)
            return
        for shard, parts in self._layer.addressed(wake_ups).items():
            pipeline = self._shards[shard].pipeline(transaction=False)
            for channel, message in parts:
                pipeline.publish(channel, message)
            for (channel, _), receivers in zip(parts, await pipeline.execute(), strict=True):
                if channel == self._bulk_channel and self._layer.counts_all:
                    self.hubs = receivers

    async def close(self) -> None:
        """What waits still leaves, unless Redis takes too long."""
        if (task := self._task) is not None:
            await asyncio.wait([task], timeout=4 * TIMEOUT)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.disconnect()

    async def disconnect(self) -> None:
        for shard in self._shards:
            await shard.aclose()
