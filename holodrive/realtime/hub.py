"""Fans events out to the local sockets, in order, each exactly once.

One hub per event loop. Whatever brings an event (this process's own commit, a wake-up through
Redis, the log), it goes through `accept`; the stream's cursor decides whether it is next, known
already, or ahead of its turn. What a wake-up should have brought and did not is read from the log.
"""

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from holodrive.realtime import auth, log, metrics, publish, status, tasks, tracing
from holodrive.realtime.budgets import Newcomers, Resumes
from holodrive.realtime.database import in_database
from holodrive.realtime.layer import ConfirmedPubSubLayer
from holodrive.realtime.limits import MinuteLimit
from holodrive.realtime.outbox import Outbox, SharedFrame
from holodrive.realtime.presence import Presence
from holodrive.realtime.publish import BULK_GROUP, Doubt, LoopWaker, News, WakeUp
from holodrive.realtime.wire import CloseCode, LoggedEvent, removed_user, views

logger = logging.getLogger(__name__)

_STRAGGLERS = (
    0.05  # seconds that a jump in seq waits for what was overtaken, before the log is read
)
_OVERLAP_TICKS = (
    5  # reconciles that one event id is looked at by: ids are not in the order of commits
)
_IDS_IN_FLIGHT = (
    1000  # how far the first look goes back, for transactions that have not committed yet
)
_HEADS_EVERY_TICKS = 30  # reconciles between two comparisons of all heads, the net under the net
_JOINED_AT_ONCE = 200  # groups in one command to Redis
_LAYER_RETRY = 0.5  # seconds until a refused join is tried again
_DOUBTS_SECONDS = 10  # that a login may take, from its query to `arrived`
_DOUBTS_KEPT = 1000
_JUDGED_AT_ONCE = 500
_JUDGE_PACE = 0.005  # seconds between two of them
_JUDGE_ALL_SECONDS = 30  # between two looks at the rights of all who are connected


class Socket(Protocol):
    """What the hub knows of an authenticated socket (consumer.py)."""

    endpoint: ClassVar[str]
    identity: auth.Identity | None
    outbox: Outbox

    def judge(self) -> None:
        """Look again whether the user may be here; soon, and close the socket if not."""

    def doubt(self) -> None:
        """The same, of a user who was changed: nothing goes out before it is known."""

    def log_out(self) -> None:
        """Close: the login that opened this socket was ended."""


Observer = Callable[[str], None]
Digest = Callable[[str], str | None]


class Subscription:
    """One socket's place in one stream: drops what it has, and holds what is live until it has
    caught up.
    """

    __slots__ = ("cursor", "held", "held_bytes", "on_removed", "outbox", "topic", "user_id")

    def __init__(
        self, topic: "_Topic", outbox: Outbox, user_id: int, on_removed: Callable[[], None]
    ) -> None:
        self.topic = topic
        self.outbox = outbox
        self.user_id = user_id
        self.on_removed = on_removed
        self.cursor = 0
        self.held: list[tuple[int, SharedFrame]] | None = []
        self.held_bytes = 0

    def deliver(self, seq: int, frame: SharedFrame) -> None:
        if self.held is not None:
            self._keep(seq, frame)
        elif seq > self.cursor:
            self.cursor = seq
            self.outbox.send(frame.own if frame.own and frame.owner == self.user_id else frame)
            if frame.removes == self.user_id:
                self.hold()  # nothing behind it goes out before the right to be here is known
                self.on_removed()

    def digest(self, seq: int, frame: SharedFrame) -> None:
        """For who has that event and nothing newer: an older digest must not overtake."""
        if self.held is None and seq == self.cursor:
            self.outbox.send(frame, ephemeral=True)

    def _keep(self, seq: int, frame: SharedFrame) -> None:
        """As bounded as the outbox that it would go to: a client may take any time to catch up."""
        assert self.held is not None
        self.held_bytes += len(frame.bytes)
        if 0 < settings.REALTIME_OUTBOX_BYTES < self.held_bytes:
            self.outbox.close(CloseCode.TOO_SLOW)
            self.held.clear()
        else:
            self.held.append((seq, frame))

    def hold(self) -> None:
        """Keep live events back: what was missed goes out before them."""
        if self.held is None:
            self.held, self.held_bytes = [], 0

    def begin(self, cursor: int) -> None:
        """Up to this seq the socket gets everything from the log: what is live starts behind it."""
        self.topic.begin(cursor)

    def release(self, cursor: int) -> None:
        """The socket has everything up to this seq; what was held behind it follows, then all that
        is live.
        """
        held, self.held = self.held or [], None
        self.cursor = max(self.cursor, cursor)
        self.topic.begin(cursor)
        if cursor < self.topic.begun:
            # Another socket began the stream behind this snapshot: what lies between comes from the
            # log, and what was held behind that hole comes with it.
            self.topic.rewind(cursor)
            return
        before = self.cursor
        for seq, frame in held:
            self.deliver(seq, frame)
        if self.cursor > before and self.topic.digested:
            self.digest(*self.topic.digested)


class _Topic:
    """A stream with local subscribers. Its cursor is the seq of the last event that went out to
    them.
    """

    __slots__ = (
        "begun",
        "cursor",
        "digest",
        "digested",
        "early",
        "name",
        "observers",
        "repair",
        "subscriptions",
        "undigested",
        "unverified",
        "verify",
    )

    def __init__(self, name: str, verify: Callable[[str], None]) -> None:
        self.name = name
        self.verify = verify  # asks the hub to compare the cursor with the log
        self.unverified = False  # asked for before there was a cursor
        self.cursor: int | None = None  # unknown until the first subscriber has read the head
        self.begun = 0  # that head
        self.early: dict[int, str] = {}
        self.subscriptions: dict[Subscription, None] = {}  # a set in the order of arrival
        self.repair: asyncio.TimerHandle | None = None
        self.observers: set[Observer] = set()
        self.digest: Digest | None = None
        self.digested: tuple[int, SharedFrame] | None = None
        self.undigested: tuple[int, str] | None = None

    def begin(self, cursor: int) -> None:
        if self.cursor is None:
            self.cursor = self.begun = cursor
            self.send_early()
            if self.unverified:
                self.verify(self.name)

    def rewind(self, cursor: int) -> None:
        """Send again from there; each subscription drops what it has."""
        assert self.cursor is not None
        self.cursor = min(self.cursor, cursor)
        self.verify(self.name)

    def accept(self, seq: int, text: str) -> None:
        if self.cursor is None or seq > self.cursor + 1:
            self.early[seq] = text
        elif seq == self.cursor + 1:
            self.send(seq, text)
            if self.early:
                self.send_early()

    def send(self, seq: int, text: str) -> None:
        self.cursor = seq
        shared, owner, own = views(text)
        frame = SharedFrame(shared, removed_user(text))
        if owner:
            frame.owner, frame.own = owner, SharedFrame(own)
        for subscription in self.subscriptions:
            subscription.deliver(seq, frame)
        metrics.deliveries.inc(len(self.subscriptions))
        for observe in list(self.observers):
            observe(text)
        if self.digest is not None:
            if self.undigested is None:
                asyncio.get_running_loop().call_soon(self.send_digest)
            self.undigested = seq, text

    def send_digest(self) -> None:
        """Once for all events of one turn of the loop, so of one transaction."""
        assert self.digest is not None
        assert self.undigested is not None
        (seq, text), self.undigested = self.undigested, None
        digest = self.digest(text)
        if digest is not None:
            self.digested = seq, SharedFrame(digest)
            for subscription in self.subscriptions:
                subscription.digest(*self.digested)

    def send_early(self) -> None:
        """Send what now follows the cursor, forget what it has passed."""
        assert self.cursor is not None
        while (text := self.early.pop(self.cursor + 1, None)) is not None:
            self.send(self.cursor + 1, text)
        for seq in [seq for seq in self.early if seq <= self.cursor]:
            del self.early[seq]

    @property
    def has_gap(self) -> bool:
        return self.cursor is not None and bool(self.early)

    def restart(self, head: int) -> None:
        """The log no longer has what comes next: every client must resume, and learn that it was
        not recovered. Who joins meanwhile goes on from the head.
        """
        for subscription in self.subscriptions:
            subscription.outbox.close(CloseCode.TOO_SLOW)
        self.cursor = head
        self.send_early()


class Hub:
    """All streams that the sockets of one event loop have joined. Only `published` may be called
    from a thread.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.layer: Any = get_channel_layer()
        self.waker = LoopWaker(self.layer)
        self.connects = MinuteLimit()  # by user
        self.failed_connects = MinuteLimit()  # by address
        self.doubtful_connects = asyncio.Semaphore(2)  # looked at, of addresses over that limit
        self.newcomers = Newcomers()
        self.resumes = Resumes()
        self.users: dict[int, set[Socket]] = {}
        self.presence = Presence(uuid.uuid4().hex, self.layer, self._announce_presence, self.loop)
        self.presence.start()
        self._doubts: deque[tuple[float, Doubt]] = deque(maxlen=_DOUBTS_KEPT)
        self._topics: dict[str, _Topic] = {}
        self._joined: set[str] = set()
        self._membership_changed = asyncio.Event()
        self._to_verify: set[str] = set()
        self._work: set[asyncio.Task[None]] = set()
        self._reconciled_to: list[int] = []
        self._reconciled_at = self.loop.time()
        self._warned_of_another_version = False
        if isinstance(self.layer, ConfirmedPubSubLayer):
            of_loop = self.layer.loop_layer()
            of_loop.on_confirmed = self._confirmed
            of_loop.is_echo = publish.echo_test(self.layer)
            of_loop.on_flush = self._disconnect
        self._tasks = [
            tasks.start(self._keep_membership()),
            tasks.start(self._keep_reconciled()),
            tasks.start(self._keep_judging()),
        ]
        publish.attach(self)

    # Sockets come and go

    def arrived(self, socket: Socket, user_id: int) -> None:
        """An authenticated socket. From now on, what makes its login doubtful reaches it; what did
        while it was being authenticated, now.
        """
        self.users.setdefault(user_id, set()).add(socket)
        self.presence.arrived(user_id)
        recent = self.loop.time() - _DOUBTS_SECONDS
        for heard, doubt in self._doubts:
            if heard >= recent and (doubt.kind != "user" or doubt.value == user_id):
                self._cast(doubt, [socket])

    def left(self, socket: Socket, user_id: int) -> None:
        sockets = self.users.get(user_id, set())
        sockets.discard(socket)
        if not sockets:
            self.users.pop(user_id, None)
            self.presence.left(user_id)

    def subscribe(
        self,
        stream: str,
        outbox: Outbox,
        user_id: int,
        on_removed: Callable[[], None] = lambda: None,
        digest: Digest | None = None,
    ) -> Subscription:
        """Join a stream, its live events held back: read the log, then `release`. Never waits for
        Redis. `on_removed` is called behind the event that ends this user's right to be there; what
        follows is held until `release`. `digest` makes a frame that is in no log of the
        newest event: it goes out behind it to all sockets of the stream, and may be dropped.
        """
        topic = self._topics.get(stream)
        if topic is None:
            topic = self._topics[stream] = _Topic(stream, self._to_be_verified)
            self._membership_changed.set()
            metrics.streams.set(len(self._topics))
        topic.digest = digest
        subscription = Subscription(topic, outbox, user_id, on_removed)
        topic.subscriptions[subscription] = None
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        topic = subscription.topic
        topic.subscriptions.pop(subscription, None)
        if not topic.subscriptions and self._topics.get(topic.name) is topic:
            del self._topics[topic.name]
            self._membership_changed.set()
            metrics.streams.set(len(self._topics))

    # Events come in

    def published(self, news: News, wake_ups: Sequence[WakeUp]) -> None:
        """This process has committed something: local sockets first, then the other processes.
        From any thread.
        """
        self.loop.call_soon_threadsafe(self._published, news, wake_ups, time.time())

    def _published(self, news: News, wake_ups: Sequence[WakeUp], published: float) -> None:
        self._take(news)
        metrics.lag.observe(max(0.0, time.time() - published))
        self._wake(wake_ups)

    def _wake(self, wake_ups: Sequence[WakeUp]) -> None:
        if not self._is_ending():
            self.waker.send(wake_ups)

    def _is_ending(self) -> bool:
        """Whether the hub was closed, or its loop has cancelled all tasks: for one that starts now
        nobody would wait.
        """
        return any(task.cancelling() or task.done() for task in self._tasks)

    def _take(self, news: News) -> None:
        if news.cause is None:
            self._hand_out(news)
            return
        streams = [event[0] for event in news.events]
        topics = [self._topics[name] for name in streams if name in self._topics]
        sockets = sum(len(topic.subscriptions) for topic in topics)
        with tracing.caused_span("deliver", news.cause, streams=streams, sockets=sockets):
            self._hand_out(news)

    def _hand_out(self, news: News) -> None:
        self.accept(news.events)
        for told in news.told:
            self._tell(*told)
        for doubt in news.doubts:
            self.judge(Doubt(*doubt))

    def accept(self, events: Iterable[LoggedEvent | list[Any]]) -> None:
        """Take committed events in any order, any number of times."""
        for stream, seq, text in events:
            topic = self._topics.get(stream)
            if topic is None:
                continue
            topic.accept(seq, text)
            if topic.has_gap and topic.repair is None:
                topic.repair = self.loop.call_later(_STRAGGLERS, self._repair_gap, topic)

    def _tell(self, stream: str, text: str, except_user: int) -> None:
        topic = self._topics.get(stream)
        if topic is None:
            return
        frame, count = SharedFrame(text), 0
        for subscription in topic.subscriptions:
            if subscription.user_id != except_user and subscription.held is None:
                subscription.outbox.send(frame, ephemeral=True)
                count += 1
        metrics.deliveries.inc(count)

    # Rights end

    def judge(self, doubt: Doubt) -> None:
        """Have the sockets judged, or closed, that this is about."""
        self._doubts.append((self.loop.time(), doubt))
        if doubt.kind == "user":
            self._cast(doubt, self.users.get(doubt.value, ()))
        else:
            self._cast(doubt, self._sockets())

    def _sockets(self) -> list[Socket]:
        return [socket for sockets in self.users.values() for socket in sockets]

    def _cast(self, doubt: Doubt, sockets: Iterable[Socket]) -> None:
        for socket in list(sockets):
            if doubt.kind == "user" or (doubt.kind == "staff" and auth.is_staff(socket.identity)):
                socket.doubt()
            elif auth.is_login(socket.identity, *doubt):
                socket.log_out()

    async def _keep_judging(self) -> None:
        """The net under `judge`: its news may be lost, and some changes make none."""
        while True:
            await asyncio.sleep(_JUDGE_ALL_SECONDS)
            await self._guarded(self.judge_all)

    async def judge_all(self) -> None:
        """Ask the database for all at once, and judge those for whom something has changed; not in
        one burst, behind which everybody's commands would wait.
        """
        sockets = self._sockets()
        for start in range(0, len(sockets), _JUDGED_AT_ONCE):
            part = sockets[start : start + _JUDGED_AT_ONCE]
            identities = [socket.identity for socket in part if socket.identity]
            doubtful = await in_database(auth.doubtful, identities)
            for socket in part:
                if socket.identity in doubtful:
                    socket.judge()
                    await asyncio.sleep(_JUDGE_PACE)

    # What Redis brings

    async def _keep_membership(self) -> None:
        """Hold exactly the groups of the streams that have subscribers, through every outage of
        Redis.
        """
        channel = None
        try:
            while True:
                try:
                    if channel is None:
                        channel = await self.layer.new_channel()
                        self._start(self._receive, channel)
                    await self._follow_topics(channel)
                except Exception as problem:  # noqa: BLE001 - whatever a layer raises; reconcile delivers meanwhile
                    logger.debug("The channel layer refused a join (%s): trying again", problem)
                    await asyncio.sleep(_LAYER_RETRY)
        finally:
            # Without a `close`: a host's tests, or another server, cancel all tasks and leave.
            publish.detach(self)
            _hubs.pop(self.loop, None)

    async def _disconnect(self) -> None:
        await self.presence.disconnect()
        await self.waker.disconnect()

    async def _follow_topics(self, channel: str) -> None:
        while True:
            self._membership_changed.clear()
            wanted = {BULK_GROUP, *self._topics}
            for part in _parts(wanted - self._joined):
                await self._join(part, channel)
                self._joined.update(part)
            for part in _parts(self._joined - wanted):
                # Some may have come back while we waited.
                gone = [group for group in part if group not in self._topics]
                await self._leave(gone, channel)
                self._joined.difference_update(gone)
            await self._membership_changed.wait()

    async def _join(self, groups: list[str], channel: str) -> None:
        if isinstance(self.layer, ConfirmedPubSubLayer):
            await self.layer.join(groups, channel)
            return
        for group in groups:
            await self.layer.group_add(group, channel)

    async def _leave(self, groups: list[str], channel: str) -> None:
        if isinstance(self.layer, ConfirmedPubSubLayer):
            await self.layer.leave(groups, channel)
            return
        for group in groups:
            await self.layer.group_discard(group, channel)

    async def _receive(self, channel: str) -> None:
        while True:
            try:
                self._received(await self.layer.receive(channel))
            except Exception:
                logger.exception("A wake-up was not understood: the log has what it was about")
                await asyncio.sleep(_LAYER_RETRY)

    def _received(self, message: dict[str, Any]) -> None:
        if publish.is_own(message):
            return
        if not publish.is_of_this_version(message):
            self._warn_of_another_version()
            return
        if "s" in message:
            self._wake([status.answer(self, message["s"])])
            return
        if "p" in message:
            self.presence.heard(message["p"])
        events, told, doubts = (message.get(key, ()) for key in "exd")
        self._take(News(events, told, doubts, message.get("c")))
        metrics.lag.observe(max(0.0, time.time() - message["t"]))

    def _warn_of_another_version(self) -> None:
        """Once: in a rolling deploy every wake-up of the other half is one."""
        if not self._warned_of_another_version:
            logger.warning("Processes of another version run: their events arrive by reconcile")
            self._warned_of_another_version = True

    def _announce_presence(self, change: dict[str, Any]) -> None:
        self._wake([WakeUp(BULK_GROUP, publish.signed({"p": change}))])

    def _confirmed(self, group: str) -> None:
        """Redis delivers this group from now on; what was committed before that moment stands in
        the log.
        """
        # On the bulk group any stream's events may come.
        for name in self._topics if group == BULK_GROUP else [group]:
            self._to_be_verified(name)

    def _to_be_verified(self, name: str) -> None:
        """While the first subscriber still reads its snapshot there is nothing to compare."""
        topic = self._topics.get(name)
        if topic is None:
            return
        if topic.cursor is None:
            topic.unverified = True
            return
        if not self._to_verify:
            self.loop.call_soon(self._start, self._verify)
        self._to_verify.add(name)

    # What Redis did not bring

    def _start(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        if self._is_ending():
            return
        task = tasks.start(self._guarded(work, *args))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _guarded(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        try:
            await work(*args)
        except (DatabaseError, InterfaceError) as problem:
            metrics.database_failures.inc()
            logger.warning("The log could not be read (%s): reconcile tries again", problem)
        except Exception:  # the net under everything else must not end with what it failed on
            logger.exception("The log could not be read: reconcile tries again")

    async def _verify(self) -> None:
        names, self._to_verify = self._to_verify, set()
        await self._catch_up(await in_database(log.heads, names))

    def _repair_gap(self, topic: _Topic) -> None:
        topic.repair = None
        if topic.has_gap:
            self._start(self._catch_up, {topic.name: max(topic.early)})

    async def _catch_up(self, newest: dict[str, int]) -> None:
        """Read from the log what the streams' cursors lack of these heads."""
        cursors = {
            name: topic.cursor
            for name, seq in newest.items()
            if (topic := self._topics.get(name)) and topic.cursor is not None and topic.cursor < seq
        }
        if not cursors:
            return
        events = await in_database(log.behind, cursors)
        metrics.repairs.inc(len(events))
        self.accept(events)
        for name, before in cursors.items():
            topic = self._topics.get(name)
            # A cursor that was set back meanwhile (`rewind`) has a verification of its own.
            if topic and topic.cursor is not None and before <= topic.cursor < newest[name]:
                logger.warning(
                    "The log of %s no longer has what follows seq %s", name, topic.cursor
                )
                topic.restart(newest[name])

    async def _keep_reconciled(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(settings.REALTIME_RECONCILE_SECONDS)
            tick += 1
            await self._guarded(self.reconcile, tick % _HEADS_EVERY_TICKS == 0)

    async def reconcile(self, all_heads: bool = False) -> None:
        """Catch up with whatever was committed and not brought. This alone delivers when Redis is
        away.
        """
        if not self._topics:
            self._reconciled_to.clear()
            self._reconciled_at = self.loop.time()
            return
        if not self._reconciled_to:
            all_heads = True  # the log's tail says nothing about the time before the first look
            self._reconciled_to.append(await in_database(log.last_id) - _IDS_IN_FLIGHT)
        tail = await in_database(log.tail, self._reconciled_to[0])
        self._reconciled_to.append(tail.last_id)
        del self._reconciled_to[:-_OVERLAP_TICKS]
        newest = await in_database(log.heads, self._topics) if all_heads else tail.newest
        await self._catch_up(newest)
        self._reconciled_at = self.loop.time()

    def seconds_since_reconcile(self) -> float:
        """How far behind the log this process may be, if nothing else brings its events."""
        return self.loop.time() - self._reconciled_at

    def topics(self) -> Collection[str]:
        """The streams that have local subscribers."""
        return self._topics.keys()

    async def close(self) -> None:
        """Stop the hub's tasks. Its sockets must be gone."""
        publish.detach(self)
        await self.presence.close()
        running = [*self._tasks, *self._work]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self.waker.close()
        _hubs.pop(self.loop, None)


def _parts(groups: set[str]) -> Iterator[list[str]]:
    ordered = sorted(groups)
    for start in range(0, len(ordered), _JOINED_AT_ONCE):
        yield ordered[start : start + _JOINED_AT_ONCE]


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def here() -> Hub:
    """The running event loop's hub; the first call starts it."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None:
        hub = _hubs[loop] = Hub()
    return hub


def running() -> Hub | None:
    """The running event loop's hub, if it has one."""
    return _hubs.get(asyncio.get_running_loop())


async def leave() -> None:
    """Close the running event loop's hub, if it has one."""
    if (hub := running()) is not None:
        await hub.close()
