"""The bell: a model saved in another process, until its frame is on the client; and announcements
to everybody.
"""

import threading
import time
from typing import Any

from benchmarks.bench import Bench, Meter, percentiles
from benchmarks.listeners import Listeners
from benchmarks.servers import Server

_RATE = 200.0
_RINGING = 100  # users that it rings for, in turn
_SAVE = """
import json, time
from notifications.models import Notification
ids, rate, count = {ids}, {rate}, {count}
Notification.objects.create(recipient_id=ids[0], title="warm-up")
began, sent = time.perf_counter() + 0.1, []
for index in range(count):
    time.sleep(max(0.0, began + index / rate - time.perf_counter()))
    sent.append(time.perf_counter())
    Notification.objects.create(
        recipient_id=ids[index % len(ids)], title=str(index), message="Your driver is here."
    )
print(json.dumps({{"sent": sent, "seconds": time.perf_counter() - began}}))
"""
_ANNOUNCE = """
import json, time
from notifications.models import Notification
Notification.objects.notify({ids}[:1], title="warm-up")
began = time.perf_counter()
Notification.objects.notify({ids}, title="announced", message="The app is back at eight.")
print(json.dumps({{"began": began, "ended": time.perf_counter()}}))
"""


def measure(bench: Bench) -> None:
    catalogue = {
        f"ours-serve-{database}": lambda servers, database=database: servers.ours(
            "ours-serve", "serve", database
        )
        for database in ("sqlite", "postgresql")
    }
    for name, server in bench.each(catalogue):  # type: ignore[arg-type]
        _ring(bench, name, server)
        _announce(bench, name, server)


def _ring(bench: Bench, name: str, server: Server) -> None:
    count = round(_RATE * bench.seconds)
    listeners = bench.worker(Listeners, server)
    listeners.run(Listeners.join, _RINGING)
    ids = [user.id for user in server.users[:_RINGING]]
    meter = Meter(server)
    saved = server.shell(_SAVE.format(ids=ids, rate=_RATE, count=count))
    arrivals = [one for one in listeners.run(Listeners.collect, count + 1) if one.title.isdigit()]
    late = [one.at - saved["sent"][int(one.title)] for one in arrivals]
    figures = {
        **percentiles("", late),
        "saved/s": count / saved["seconds"],
        **meter.per("notification", count),
    }
    titles = [one.title for one in arrivals]
    wrong = {"lost": count - len(set(titles)), "doubled": len(titles) - len(set(titles))}
    bench.record("bell", name, f"a save, {_RATE:g}/s", figures, wrong)
    listeners.run(Listeners.cut)


def _announce(bench: Bench, name: str, server: Server) -> None:
    everybody, online = (2_000, 400) if bench.quick else (10_000, 2_000)
    listeners = bench.worker(Listeners, server)
    listeners.run(Listeners.join, online)
    ids = [user.id for user in server.users[:everybody]]
    told: dict[str, Any] = {}

    def announce() -> None:
        told.update(server.shell(_ANNOUNCE.format(ids=ids)))

    thread = threading.Thread(target=announce)
    meter = Meter(server)
    thread.start()
    arrivals = listeners.run(Listeners.collect, online + 1)
    thread.join()
    time.sleep(0.1)
    got = [one for one in arrivals if one.title == "announced"]
    figures = {
        "seconds until the last is stored": told["ended"] - told["began"],
        **percentiles("frame after created_at, ", [one.age for one in got]),
        "last frame after created_at ms": 1e3 * max((one.age for one in got), default=0.0),
        **meter.per("online one", online),
    }
    wrong = {"lost or doubled": abs(online - len(got))}
    bench.record("bell", name, f"announce to {everybody:,}, {online:,} online", figures, wrong)
    listeners.run(Listeners.cut)
