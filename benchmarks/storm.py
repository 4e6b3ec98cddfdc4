"""Reconnect storm: thousands come back at the same moment, each with a token and its last_seq."""

from collections import Counter

from benchmarks.bench import Bench, Meter
from benchmarks.listeners import Listeners

_MISSED = 2  # notifications since the one that each of them knows
_SEED = """
from notifications.models import Notification
for place in range({count}):
    Notification.objects.notify({ids}, title=f"Notice {{place}}", message="You are awaited.")
print("[]")
"""


def measure(bench: Bench) -> None:
    catalogue = {
        "ours-serve": lambda servers: servers.ours("ours-serve"),
        "ours-uvicorn": lambda servers: servers.ours("ours-uvicorn", "uvicorn"),
    }
    size = 1_000 if bench.quick else 5_000
    seeded = set()
    for name, server in bench.each(catalogue, rounds=1 if bench.quick else 2):
        if name not in seeded:
            ids = [user.id for user in server.users[:size]]
            server.shell(_SEED.format(count=_MISSED + 1, ids=ids))
            seeded.add(name)
        listeners = bench.worker(Listeners, server)
        listeners.run(Listeners.join, size)
        listeners.run(Listeners.cut)
        meter = Meter(server)
        storm = listeners.run(Listeners.storm, size, 1)
        figures = {
            "seconds until all are back": max(storm.back, default=0.0),
            "half are back after s": sorted(storm.back)[len(storm.back) // 2]
            if storm.back
            else 0.0,
            **meter.per("connect", len(storm.back)),
            "generator share": listeners.share,
        }
        wrong = {**Counter(storm.failures), "not recovered": len(storm.back) - storm.recovered}
        wrong["not back"] = size - len(storm.back)
        bench.record("storm", name, f"{size:,} clients", figures, wrong)
        listeners.run(Listeners.cut)
