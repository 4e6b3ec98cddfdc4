"""Load generators as processes of their own, so that several can share a load, and each knows its
own CPU.
"""

import asyncio
import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from benchmarks.frames import LoadError

Load = TypeVar("Load")
Result = TypeVar("Result")
P = ParamSpec("P")
_TURN_SECONDS = 180.0


class Worker(Generic[Load]):
    """A process with one object in it, whose coroutines are run from here."""

    def __init__(self, load: Callable[P, Load], *args: P.args, **kwargs: P.kwargs) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share what is open here
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, load, args, kwargs))
        self._process.start()
        theirs.close()
        self.share = 0.0  # of one core, in what it did last

    def begin(
        self,
        method: Callable[Concatenate[Load, P], Awaitable[Result]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Callable[[], Result]:
        """Start this; the answer waits for what comes of it. Raises LoadError."""
        self._pipe.send((method, args, kwargs))

        def result() -> Result:
            if not self._pipe.poll(_TURN_SECONDS):
                raise LoadError(f"{method.__qualname__} takes too long")
            try:
                result, problem, self.share = self._pipe.recv()
            except EOFError:
                raise LoadError("a load generator has ended") from None
            if problem:
                raise LoadError(problem)
            answer: Result = result
            return answer

        return result

    def run(
        self,
        method: Callable[Concatenate[Load, P], Awaitable[Result]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Result:
        return self.begin(method, *args, **kwargs)()

    def end(self) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def raise_file_limit() -> None:
    """As many sockets as the system lets this process, and those it starts, have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _work(pipe: Connection, load: Callable[..., Any], args: Any, kwargs: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the benchmark ends its workers itself
    os.environ.pop("PYTHONASYNCIODEBUG", None)
    raise_file_limit()
    asyncio.run(_obey(pipe, load(*args, **kwargs)))


async def _obey(pipe: Connection, load: Any) -> None:
    while True:
        try:
            method, args, kwargs = await asyncio.to_thread(pipe.recv)
        except (EOFError, OSError):
            return
        began, used = time.perf_counter(), time.process_time()
        result, problem = None, ""
        try:
            result = await method(load, *args, **kwargs)
        except (LoadError, OSError, TimeoutError) as expected:
            problem = str(expected) or type(expected).__name__
        except Exception:  # noqa: BLE001 - told to the process that asked
            problem = traceback.format_exc()
        share = (time.process_time() - used) / (time.perf_counter() - began)
        pipe.send((result, problem, share))
