"""Two processes that share a port, against one, on PostgreSQL: fan-out and persisted chat."""

from benchmarks import fanout, persisted
from benchmarks.bench import Bench
from benchmarks.fanout import OURS


def measure(bench: Bench) -> None:
    catalogue = {
        "one": lambda servers: servers.ours("one", "serve", "postgresql"),
        "two": lambda servers: servers.ours("two", "serve", "postgresql", count=2),
    }
    for name, server in bench.each(catalogue):
        fanout.run(bench, name, server, OURS, fanout.SIZES[0], scenario="processes")
        persisted.run(bench, name, server, scenario="processes")
