"""Tasks that end soon after they are cancelled, whatever they wait for.

`asyncio.run` and asgiref's `async_to_sync` cancel each task of a loop once, then wait for all of
them. Inside a command redis-py may swallow that cancel: `asyncio.wait_for` does before Python 3.12
when what it waits for is done already. The task would then wait for its next turn for ever, and the
loop with it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

_AGAIN_SECONDS = 0.05  # between two cancels


class _Loop(Protocol):
    def create_task(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]: ...


def start(work: Coroutine[Any, Any, None], loop: _Loop | None = None) -> asyncio.Task[None]:
    """Run `work` in a task. One cancel of it is repeated until the work has ended."""
    loop = loop or asyncio.get_running_loop()
    inner = loop.create_task(work)
    task = loop.create_task(_outlast(inner))
    task.add_done_callback(lambda _: inner.cancel())  # cancelled before its first turn
    return task


async def _outlast(inner: asyncio.Task[None]) -> None:
    cancelled: asyncio.CancelledError | None = None
    while not inner.done():
        try:
            await asyncio.wait([inner], timeout=_AGAIN_SECONDS if cancelled else None)
        except asyncio.CancelledError as problem:
            cancelled = problem
        if cancelled:
            inner.cancel()
    if cancelled and (inner.cancelled() or inner.exception() is None):
        raise cancelled
    inner.result()


def is_ending() -> bool:
    """Whether the running task was cancelled, even if something has swallowed that."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
