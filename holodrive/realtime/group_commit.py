"""Group commit: calls that come while a transaction runs share the next one. Under load a commit,
and all that a statement costs beside its rows, is paid once for many.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from holodrive.realtime import faults, log, tasks, tracing
from holodrive.realtime.database import FAULTS, in_database
from holodrive.realtime.wire import RealtimeError

logger = logging.getLogger(__name__)

C = TypeVar("C")
R = TypeVar("R")

_AT_ONCE = 100  # calls in one transaction
_PATIENCE = 0.1  # seconds: longer nobody waits for the transaction, nor the lock, of others


class _Waiting(NamedTuple, Generic[C, R]):
    call: C
    answer: asyncio.Future[R]
    cause: Any  # the span that it is a part of, if there is one

    def settle(self, answer: R | Exception) -> None:
        if self.answer.done():
            return  # whoever asked is gone
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class _Queue(Generic[C, R]):
    """Of one event loop."""

    def __init__(self) -> None:
        self.waiting: list[_Waiting[C, R]] = []
        self.turn: asyncio.TimerHandle | None = None  # there while a transaction is waited for
        self.running: set[asyncio.Task[None]] = set()
        self.busy: set[Hashable] = set()  # keys of the calls that run


class GroupCommit(Generic[C, R]):
    """Await it with a call: it returns that call's own answer, or raises its own error.

    `together` does several calls in one transaction, in a database thread, and returns for each
    the answer or the RealtimeError that refuses it. Calls of the same `key` are done one after
    another, so that they hold one thread while they wait for a lock. If it raises, and nothing was
    stored, each call is done by itself: so none fails, or waits for a lock, on account of another.
    """

    def __init__(
        self,
        together: Callable[[Sequence[C]], Sequence[R | RealtimeError]],
        key: Callable[[C], Hashable],
    ) -> None:
        self._together = together
        self._key = key
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue[C, R]] = (
            WeakKeyDictionary()
        )

    async def __call__(self, call: C) -> R:
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(loop, _Queue())
        waiting: _Waiting[C, R] = _Waiting(call, loop.create_future(), tracing.current())
        queue.waiting.append(waiting)
        if queue.turn is None:
            self._start(queue)
        return await waiting.answer

    def _start(self, queue: _Queue[C, R]) -> None:
        """Begin a transaction for those who wait."""
        queue.turn = None
        part = self._take(queue)
        if part:
            loop = asyncio.get_running_loop()
            queue.turn = turn = loop.call_later(_PATIENCE, self._start, queue)
            task = loop.create_task(self._run(queue, part, turn))
            queue.running.add(task)
            task.add_done_callback(queue.running.discard)

    def _take(self, queue: _Queue[C, R]) -> list[_Waiting[C, R]]:
        taken: dict[Hashable, _Waiting[C, R]] = {}
        left = []
        for waiting in queue.waiting:
            key = self._key(waiting.call)
            if key in taken or key in queue.busy or len(taken) == _AT_ONCE:
                left.append(waiting)
            else:
                taken[key] = waiting
        queue.waiting = left
        queue.busy |= taken.keys()
        return list(taken.values())

    async def _run(
        self, queue: _Queue[C, R], part: list[_Waiting[C, R]], turn: asyncio.TimerHandle
    ) -> None:
        try:
            if len(part) == 1 or not await self._share(queue, part):
                await asyncio.gather(*(self._run_alone(queue, waiting) for waiting in part))
        except BaseException as problem:
            for waiting in part:
                self._settle(queue, waiting, RuntimeError(f"not known to be done: {problem!r}"))
            raise
        finally:
            if queue.turn is turn:
                turn.cancel()
                self._go_on(queue)

    async def _share(self, queue: _Queue[C, R], part: list[_Waiting[C, R]]) -> bool:
        """Whether all have their answers."""
        answers: Sequence[R | Exception]
        try:
            with tracing.together(waiting.cause for waiting in part):
                answers = await in_database(self._impatiently, [waiting.call for waiting in part])
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is met again below
            if not isinstance(problem, FAULTS) or faults.lost_race(problem):
                logger.info("%s calls are done one by one: %r", len(part), problem)
                return False
            answers = [problem] * len(part)  # if it came with the commit, they may be stored
        for waiting, answer in zip(part, answers, strict=True):
            self._settle(queue, waiting, answer)
        return True

    async def _run_alone(self, queue: _Queue[C, R], waiting: _Waiting[C, R]) -> None:
        answer: R | Exception
        try:
            with tracing.together([waiting.cause]):
                answer = await in_database(self._alone, waiting.call)
        except Exception as problem:  # noqa: BLE001 - it is the caller's
            answer = problem
        self._settle(queue, waiting, answer)

    def _settle(self, queue: _Queue[C, R], waiting: _Waiting[C, R], answer: R | Exception) -> None:
        waiting.settle(answer)
        queue.busy.discard(self._key(waiting.call))
        if queue.turn is None:
            self._go_on(queue)  # the next of this key, which nobody else begins

    def _go_on(self, queue: _Queue[C, R]) -> None:
        queue.turn = None
        if not tasks.is_ending():  # with its loop, and so are those who wait
            self._start(queue)

    def _impatiently(self, calls: Sequence[C]) -> Sequence[R | RealtimeError]:
        with log.impatient(_PATIENCE):
            return self._together(calls)

    @log.retrying
    def _alone(self, call: C) -> R:
        (answer,) = self._together([call])
        if isinstance(answer, RealtimeError):
            raise answer
        return answer
