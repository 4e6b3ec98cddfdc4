"""What an authenticated socket costs that does nothing, and what it makes others cost."""

from typing import NamedTuple

from benchmarks.bench import Bench, Meter
from benchmarks.listeners import Listeners
from benchmarks.persisted import Pairs
from benchmarks.servers import Server

_BASE = 100  # sockets open before the first reading: what is loaded once is in it
_FEW = 10
_EVENTS = 50.0  # messages a second
_TALKING = 5  # pairs
_HEARTBEAT = 25.0  # seconds
_TIMES = 3  # that the cost of an event is measured


def measure(bench: Bench) -> None:
    catalogue = {
        "ours-serve": lambda servers: servers.ours("ours-serve"),
        "ours-uvicorn": lambda servers: servers.ours("ours-uvicorn", "uvicorn"),
    }
    for name, server in bench.each(catalogue, rounds=1):
        _run(bench, name, server)


def _run(bench: Bench, name: str, server: Server) -> None:
    sizes, many = ((500, 1_000), 2_000) if bench.quick else ((2_000, 5_000), 10_000)
    rest = 5.0 if bench.quick else 30.0  # more than a heartbeat
    listeners = bench.worker(Listeners, server)
    talkers = bench.worker(Pairs, server, server.pairs[:_TALKING])
    talkers.run(Pairs.join)
    listeners.run(Listeners.join, _FEW)
    talkers.run(Pairs.pace, _EVENTS, bench.seconds)  # warm
    few = _cost_of_events(bench, server, talkers, listeners)

    listeners.run(Listeners.join, _BASE)
    base = server.memory()
    for size in sizes:
        meter = Meter(server)
        listeners.run(Listeners.join, size)
        connecting = meter.per("connect", size - _BASE)
        listeners.run(Listeners.rest, 2.0)
        memory = (server.memory() - base) / 1000 / (size - _BASE)
        figures = {"kB PSS/socket": memory}
        if size == sizes[-1]:
            meter = Meter(server)
            listeners.run(Listeners.rest, rest)
            figures |= {"CPU % of a core": 100 * meter.per("", 1)["CPU share"]}
        else:
            figures |= {"CPU us/connect": connecting["CPU us/connect"]}
        bench.record("idle", name, f"{size:,} sockets", figures)

    listeners.run(Listeners.join, many)
    listeners.run(Listeners.rest, 2.0)
    crowded = _cost_of_events(bench, server, talkers, listeners)
    figures = {
        f"CPU us/event with {_FEW}": few.each,
        f"CPU us/event with {many:,}": crowded.each,
        "change %": 100 * (crowded.each / few.each - 1),
        "idle CPU % of a core": 100 * crowded.idle_share,
    }
    bench.record("idle", name, "cost of an event beside idle sockets", figures)


class _Cost(NamedTuple):
    each: float  # microseconds of a message
    idle_share: float  # of a core, without any


def _cost_of_events(  # type: ignore[no-untyped-def]
    bench: Bench, server: Server, talkers, listeners
) -> _Cost:
    """The cost of a message, without what the sockets use meanwhile anyway. That comes in waves, as
    they have connected: so both readings are of a whole heartbeat. The median of several.
    """
    seconds = bench.seconds if bench.quick else _HEARTBEAT
    found = []
    for _ in range(1 if bench.quick else _TIMES):
        meter = Meter(server)
        listeners.run(Listeners.rest, seconds)
        idle = meter.per("", 1)["CPU share"]
        meter = Meter(server)
        talk = talkers.run(Pairs.pace, _EVENTS, seconds)
        figures = meter.per("message", talk.messages)
        each = figures["CPU us/message"] * max(0.0, 1 - idle / figures["CPU share"])
        found.append(_Cost(each, idle))
    return sorted(found)[len(found) // 2]
