"""Many users with a notification socket each, who listen, or come back all at once."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from benchmarks.frames import Link, LoadError, open_link
from benchmarks.servers import Server

_JOINING_AT_ONCE = 100
_JOIN_SECONDS = 120.0
_STORM_SECONDS = 60.0
_PATIENCE = 5.0  # seconds of silence until what has not come counts as lost
_FIRST_PATIENCE = 30.0  # the same before the first: whoever sends has a process to start


@dataclass
class Storm:
    """Seconds from the first attempt until each was back, and why others were not."""

    back: list[float] = field(default_factory=list)
    recovered: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Arrival:
    """Of a notification: when it was here (time.perf_counter), and how long after its
    `created_at`, in seconds."""

    title: str
    at: float
    age: float


class Listeners:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.arrivals: list[Arrival] = []
        self._links: list[Link] = []
        self._problem: LoadError | None = None

    async def join(self, until: int) -> None:
        """Go on until so many are connected, each as another user. Raises LoadError."""
        gate = asyncio.Semaphore(_JOINING_AT_ONCE)
        async with asyncio.timeout(_JOIN_SECONDS), asyncio.TaskGroup() as group:
            for index in range(len(self._links), until):
                group.create_task(self._join(index, gate))
        self._raise()

    async def _join(self, index: int, gate: asyncio.Semaphore) -> None:
        joined = asyncio.get_running_loop().create_future()

        def take(payload: bytes) -> None:
            frame = msgspec.json.decode(payload)
            if frame["type"] == "connection_established":
                joined.set_result(None)
            else:
                self._take(frame)

        async with gate:
            link = await self._open(index, take, self.failed)
            self._links.append(link)
            await joined

    async def _open(self, index: int, take: Any, failed: Any, query: str = "") -> Link:
        return await open_link(
            self.server.port,
            f"/ws/notifications/{query}",
            take,
            failed,
            self.server.users[index].token,
            index,
        )

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "error":
            self.failed(LoadError(f"{frame}"))
        if frame["type"] == "notification":
            body = frame["notification"]
            created = datetime.fromisoformat(body["created_at"]).timestamp()
            arrival = Arrival(body["title"], time.perf_counter(), time.time() - created)
            self.arrivals.append(arrival)

    async def collect(self, count: int) -> list[Arrival]:
        """What has come since the last time, when so many are there or no more comes."""
        seen, silent_since = 0, time.perf_counter()
        while len(self.arrivals) < count:
            patience = _PATIENCE if self.arrivals else _FIRST_PATIENCE
            if time.perf_counter() > silent_since + patience:
                break
            if len(self.arrivals) > seen:
                seen, silent_since = len(self.arrivals), time.perf_counter()
            self._raise()
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)  # doubled ones
        collected, self.arrivals = self.arrivals, []
        return collected

    async def cut(self) -> None:
        """All at once, without a goodbye."""
        for link in self._links:
            link.cut()
        self._links.clear()
        await asyncio.sleep(0)

    async def storm(self, count: int, last_seq: int) -> Storm:
        """So many connect at the same moment, and say what they know: until `resumed`."""
        storm = Storm()
        began = time.perf_counter()
        await asyncio.gather(
            *(self._return(index, last_seq, storm, began) for index in range(count))
        )
        return storm

    async def _return(self, index: int, last_seq: int, storm: Storm, began: float) -> None:
        resumed = asyncio.get_running_loop().create_future()

        def take(payload: bytes) -> None:
            frame = msgspec.json.decode(payload)
            if frame["type"] == "resumed" and not resumed.done():
                storm.back.append(time.perf_counter() - began)
                storm.recovered += frame["recovered"]
                resumed.set_result(None)
            elif frame["type"] == "error":
                fail(LoadError(str(frame["code"])))

        def fail(problem: LoadError) -> None:
            if not resumed.done():
                storm.failures.append(str(problem))
                resumed.set_result(None)

        try:
            async with asyncio.timeout(_STORM_SECONDS):
                link = await self._open(index, take, fail, f"?last_seq={last_seq}")
                self._links.append(link)
                await resumed
        except (OSError, TimeoutError) as problem:
            fail(LoadError(repr(problem)))

    async def rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._raise()

    def failed(self, problem: LoadError) -> None:
        self._problem = self._problem or LoadError(f"{self.server.name}: {problem}")

    def _raise(self) -> None:
        if self._problem:
            raise self._problem
