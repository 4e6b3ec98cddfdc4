"""The event log: appends in the writer's transaction, reads for resume and repair. Publishes
nothing itself.

with log.writing("conversation.7"):       # one transaction, the stream locked first
    row.save()
    log.append("conversation.7", event)   # gets the next seq
"""

import functools
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, ParamSpec, TypeVar

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from django.db.models import Max, Q
from django.utils import timezone

from holodrive.realtime import faults, publish, routing, statements, tracing, wire
from holodrive.realtime.models import Event, Stream
from holodrive.realtime.wire import LoggedEvent

logger = logging.getLogger(__name__)

# Takes every lock in one statement and one order; the first event of most writes is numbered by it
# too.
_LOCK = """
    INSERT INTO realtime_stream (name, head) VALUES {values}
    ON CONFLICT (name) DO UPDATE SET head = realtime_stream.head + 1
    RETURNING name, id, head
"""
_READ = """
    SELECT event.seq, event.text FROM realtime_event AS event
    JOIN realtime_stream AS stream ON stream.id = event.stream_id
    WHERE stream.name = %s AND event.seq > %s ORDER BY event.seq LIMIT %s
"""
_CORRECT = "UPDATE realtime_stream SET head = head + %s WHERE id IN %s"
# Not bulk_create: with rows as small as these a model instance each is most of the cost.
_STORE = "INSERT INTO realtime_event (stream_id, seq, text, created_at) VALUES {values}"
_LOCKED_AT_ONCE = 900  # SQLite in Django 5.2 takes at most 999 parameters a statement
_STREAMS_READ_AT_ONCE = 100
_ATTEMPTS = 4

P = ParamSpec("P")
R = TypeVar("R")


class _Block:
    """An inner `writing` block. It hangs among the transaction's on_commit hooks, which Django
    drops together with the savepoint around it: one that hangs there no more was rolled back.
    """

    def __call__(self) -> None:
        """Nothing is left to do at the commit."""


class _LockedStream:
    __slots__ = ("appended", "block", "counted", "first", "id")

    def __init__(self, id: int, first: int, block: _Block | None) -> None:
        self.id = id
        self.first = first
        self.counted = first  # the head as the lock has left it
        self.block = block
        self.appended = 0


class _Appended(NamedTuple):
    stream_id: int
    event: LoggedEvent
    block: _Block | None


class _Write:
    """What one `writing` block, with those inside it, has locked and appended so far."""

    def __init__(self) -> None:
        self._locked: dict[str, _LockedStream] = {}
        self._appended: list[_Appended] = []
        self._told: list[tuple[publish.Told, _Block | None]] = []
        self._blocks: set[_Block] = set()
        self._block: _Block | None = None
        self._events: list[LoggedEvent] = []
        self._commit: Any = None  # a span
        self.is_committed = False
        # First of all hooks: one of another app that raises stops those behind it.
        transaction.on_commit(self._announce, robust=True)
        self._hooks_before = len(connections[DEFAULT_DB_ALIAS].run_on_commit)

    @contextmanager
    def inner(self) -> Iterator[None]:
        """A block inside this one: what it locks and appends lives and dies with its savepoint."""
        around, self._block = self._block, _Block()
        self._blocks.add(self._block)
        transaction.on_commit(self._block)
        try:
            yield
        finally:
            self._block = around

    def _forget_rolled_back(self) -> None:
        """A savepoint inside this write may have been rolled back and its exception caught: what
        was locked and appended under it has not happened.
        """
        if not self._blocks:
            return
        hooks = connections[DEFAULT_DB_ALIAS].run_on_commit[self._hooks_before :]
        dead = self._blocks.difference(entry[1] for entry in hooks)
        if not dead:
            return
        self._blocks -= dead
        for _, event, block in self._appended:
            if block in dead:
                self._locked[event.stream].appended -= 1
        self._appended = [one for one in self._appended if one.block not in dead]
        self._told = [one for one in self._told if one[1] not in dead]
        self._locked = {n: stream for n, stream in self._locked.items() if stream.block not in dead}

    def lock(self, names: Iterable[str]) -> None:
        self._forget_rolled_back()
        wanted = sorted(set(names) - self._locked.keys())
        for start in range(0, len(wanted), _LOCKED_AT_ONCE):
            part = wanted[start : start + _LOCKED_AT_ONCE]
            with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
                cursor.execute(_LOCK.format(values=", ".join(["(%s, 1)"] * len(part))), part)
                found = cursor.fetchall()
            self._locked |= {n: _LockedStream(id, head, self._block) for n, id, head in found}
            self._skip_used([name for name, _, head in found if head == 1])

    def _stream(self, name: str) -> _LockedStream:
        self._forget_rolled_back()
        if name not in self._locked:
            raise RuntimeError(f"{name} is not locked: this belongs inside log.writing({name!r})")
        return self._locked[name]

    def next_seq(self, name: str) -> int:
        stream = self._stream(name)
        return stream.first + stream.appended

    def _skip_used(self, names: Collection[str]) -> None:
        """Of streams that had no event, go on after what their rows say, whatever comes first."""
        for used in _used if names else ():
            for name, last in used(names).items():
                self._locked[name].first = last + 1

    def append(self, name: str, event: wire.Event, own: wire.Own | None) -> int:
        stream = self._stream(name)
        event.seq = stream.first + stream.appended
        stream.appended += 1
        text = wire.encode_logged(event) if own is None else wire.encode_with(event, own)
        logged = LoggedEvent(name, event.seq, text)
        self._appended.append(_Appended(stream.id, logged, self._block))
        return event.seq

    def tell(self, told: publish.Told) -> None:
        self._told.append((told, self._block))

    def store(self) -> None:
        """Insert the events, correct the heads of streams that did not get just the next one."""
        self._forget_rolled_back()
        corrections: dict[int, list[int]] = {}
        for stream in self._locked.values():
            if difference := stream.first + stream.appended - 1 - stream.counted:
                corrections.setdefault(difference, []).append(stream.id)
        for difference, ids in corrections.items():
            statements.fetch(_CORRECT, difference, ids)
        self._insert()
        self._events = [event for _, event, _ in self._appended]
        self._commit = tracing.begin("commit", events=len(self._events))

    def _announce(self) -> None:
        self.is_committed = True
        tracing.end(self._commit)
        told = [told for told, _ in self._told]
        if self._events:
            faults.writes.succeeded()
        if self._events or told:
            publish.announce(self._events, told, cause=self._commit)

    def _insert(self) -> None:
        connection = connections[DEFAULT_DB_ALIAS]
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        at_once = (connection.features.max_query_params or 40_000) // 4
        for start in range(0, len(self._appended), at_once):
            part = self._appended[start : start + at_once]
            rows = [value for id, event, _ in part for value in (id, event.seq, event.text, now)]
            with connection.cursor() as cursor:
                cursor.execute(
                    _STORE.format(values=", ".join(["(%s, %s, %s, %s)"] * len(part))), rows
                )


# Of streams without an event, the numbers that they may not give again (restoration.py).
_used: list[Callable[[Collection[str]], Mapping[str, int]]] = []


def goes_on_after(used: Callable[[Collection[str]], Mapping[str, int]]) -> None:
    """Register who knows of streams that lost their events the last number to pass over."""
    _used.append(used)


# Django's connections belong to a thread, so does the block open on one.
_thread = threading.local()


@contextmanager
def writing(*names: str) -> Iterator[None]:
    """One transaction in which these streams are locked, before any row is written, until the
    commit.

    Blocks nest: an inner one locks what is still missing (so take `conversation.*` outside of
    `user.*`: locks are safe from deadlock in the order of the names) and is stored with the
    outermost. An exception rolls everything back, numbers included; one that another app's
    on_commit hook raises comes too late for that, and is logged. Raises OperationalError on a lock
    time-out (2 s on PostgreSQL).
    """
    outer: _Write | None = getattr(_thread, "write", None)
    if outer is not None:
        with transaction.atomic(savepoint=False), outer.inner():
            outer.lock(names)
            yield
        return
    write: _Write | None = None
    try:
        # What decides a change must not lag behind it, whichever app reads it.
        fresh = routing.fresh_reads()
        with fresh, tracing.span("append", streams=names), transaction.atomic():
            write = _thread.write = _Write()
            try:
                _limit_waiting()
                write.lock(names)
                yield
                write.store()
            finally:
                _thread.write = None
    except Exception as problem:
        if write is None or not write.is_committed:
            faults.expose(problem)
            raise
        # Nobody may take it for undone, and do it again.
        logger.exception("This is stored, but what another app does behind the commit failed")


@contextmanager
def impatient(seconds: float) -> Iterator[None]:
    """Blocks opened in here wait only so long for a lock. (Not on SQLite, where all wait for one
    and the same.)
    """
    _thread.patience = seconds
    try:
        yield
    finally:
        _thread.patience = None


def _limit_waiting() -> None:
    patience: float | None = getattr(_thread, "patience", None)
    connection = connections[DEFAULT_DB_ALIAS]
    if patience is not None and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {int(patience * 1000)}")


def next_seq(stream: str) -> int:
    """The seq that the next event appended to this stream will get; it must be locked."""
    return _open_write(stream).next_seq(stream)


def append(stream: str, event: wire.Event, own: wire.Own | None = None) -> int:
    """Give the event its seq in a stream that the open `writing` block has locked; return it.
    `own`: what one user sees otherwise than all others.
    """
    return _open_write(stream).append(stream, event, own)


def tell(stream: str, frame: wire.Frame, *, except_user: int = 0) -> None:
    """Send a frame that is in no log to the stream's sockets after the commit of the open `writing`
    block, behind its events. It need not be locked.
    """
    _open_write(stream).tell(publish.Told(stream, wire.encode(frame), except_user))


def _open_write(stream: str) -> _Write:
    write: _Write | None = getattr(_thread, "write", None)
    if write is None:
        raise RuntimeError(f"{stream} is not locked: this belongs inside log.writing({stream!r})")
    return write


def retrying(service: Callable[P, R]) -> Callable[P, R]:
    """Run a service again that lost a race: a deadlock, a lock time-out, a serialization failure.
    For outermost services only: inside somebody's transaction there is nothing to repeat, and the
    error is theirs.
    """

    @functools.wraps(service)
    def attempt(*args: P.args, **kwargs: P.kwargs) -> R:
        for tries_left in reversed(range(_ATTEMPTS)):
            try:
                return service(*args, **kwargs)
            except OperationalError as problem:
                inside = connections[DEFAULT_DB_ALIAS].in_atomic_block
                if inside or not tries_left or not faults.lost_race(problem):
                    raise
                time.sleep(random.uniform(0, 0.05))  # so that the two do not meet again  # noqa: S311
        raise AssertionError("unreachable")

    return attempt


def read(stream: str, after: int, limit: int) -> list[LoggedEvent]:
    """The oldest `limit` events behind `after`, ascending. Fewer if the log was pruned."""
    return [LoggedEvent(stream, *row) for row in statements.fetch(_READ, stream, after, limit)]


def missed(stream: str, last_seq: int, head: int, limit: int) -> list[LoggedEvent] | None:
    """The events in (last_seq, head]; None when not all of them can be had (too many, pruned, above
    the head).

    Read the head first: rows read before it lost 475 of 1,871 changes under READ COMMITTED.
    """
    if not 0 <= head - last_seq <= limit:
        return None
    if head == last_seq:
        return []
    rows = [event for event in read(stream, last_seq, limit) if event.seq <= head]
    return rows if len(rows) == head - last_seq else None


def behind(cursors: Mapping[str, int]) -> list[LoggedEvent]:
    """All that these streams' cursors have not seen, ascending within a stream."""
    names = sorted(cursors)
    found: list[LoggedEvent] = []
    for start in range(0, len(names), _STREAMS_READ_AT_ONCE):
        wanted = Q()
        for name in names[start : start + _STREAMS_READ_AT_ONCE]:
            wanted |= Q(stream__name=name, seq__gt=cursors[name])
        rows = Event.objects.filter(wanted).order_by("stream_id", "seq")
        found += [LoggedEvent(*row) for row in rows.values_list("stream__name", "seq", "text")]
    return found


def heads(names: Iterable[str]) -> dict[str, int]:
    """The heads of those of the streams that exist."""
    wanted = sorted(names)
    found: dict[str, int] = {}
    for start in range(0, len(wanted), _LOCKED_AT_ONCE):
        part = wanted[start : start + _LOCKED_AT_ONCE]
        found |= dict(Stream.objects.filter(name__in=part).values_list("name", "head"))
    return found


class Tail(NamedTuple):
    """What was appended behind an event id: the newest id, and each stream's newest seq."""

    last_id: int
    newest: dict[str, int]


def tail(after_id: int) -> Tail:
    """One indexed query for all that was appended behind this id. Ids are not in the order of
    commits: let calls overlap.
    """
    rows = (
        Event.objects.filter(id__gt=after_id)
        .values("stream__name")
        .annotate(last_id=Max("id"), newest=Max("seq"))
        .order_by()
        .values_list("stream__name", "last_id", "newest")
    )
    found = list(rows)
    return Tail(
        max((last_id for _, last_id, _ in found), default=after_id),
        {name: newest for name, _, newest in found},
    )


def last_id() -> int:
    """The newest event's id, 0 in an empty log."""
    return Event.objects.aggregate(last=Max("id"))["last"] or 0
