"""HTTP clients that cost as much as they can, straight and through nginx: a rider beside them
hardly notices, everybody's /api/me answers, and the server's CPU and memory stay where they were.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

from django.db import connection

from testing.client import access_token
from testing.nginx import HOST, Nginx
from testing.server import ServerProcess
from testing.soak import Progress, Verdict
from testing.soak.http_attackers import KINDS
from testing.soak.people import person
from testing.soak.victim import Sample, Victim, attacked

_WARM_UP = 1.0  # seconds in which bursts pass, and threads are made
_PATIENCE = 30.0
_OF_A_USER = ("searches",)  # what takes a login
# As they are by default: whoever started this may have switched them off.
_SETTINGS = {
    "REALTIME_REQUESTS_PER_SECOND": "20",
    "LOGIN_FAILURES_PER_ADDRESS": "0",  # the turns alone protect
    "DJANGO_SETTINGS_MODULE": "testing.streaming",
    "ALLOWED_HOSTS": f"{HOST},127.0.0.1",
}


class Scale(NamedTuple):
    seconds: float = 6
    kinds: tuple[str, ...] = tuple(KINDS)
    doors: tuple[str, ...] = ("straight", "nginx")
    # Through nginx the attackers' bodies are deciphered on the rider's two cores: they cost the
    # server 0.04 of a core there and still give 2.8.
    ack_ratio: float = 3.5
    cpu_share: float = 0.75  # the password that is checked at any moment
    rss_growth_mb: float = 30
    me_seconds: float = 0.5


FULL = Scale()
# On a busy machine everything waits for its turn; memory, and who is served at all, does not.
SHORT = Scale(
    seconds=1,
    kinds=("bodies", "streams"),
    doors=("straight",),
    ack_ratio=30,
    cpu_share=2,
    me_seconds=10,
)


def prove(scale: Scale, seed: int, progress: Progress) -> Verdict:
    names = ("ack_ratio", "cpu_share", "rss_growth_mb", "me_seconds")
    worst = dict.fromkeys(names, 0.0)
    details: list[str] = []
    checked = unanswered = 0
    for door in scale.doors:
        with ExitStack() as stack:
            for kind, figures, count in _samples(stack, scale, door):
                worst = {name: max(worst[name], figures.get(name, 0)) for name in names}
                checked += count
                unanswered += not count
                shown = " ".join(f"{name} {value:.2f}" for name, value in figures.items())
                details.append(f"{door}, {kind}: {shown or 'no answer'}")
                progress(details[-1])
    return Verdict(
        checked=checked,
        wanted=len(scale.doors) * len(scale.kinds) * 2,  # at least an ack and a page beside each
        faults={"unanswered": unanswered},
        measured={name: (value, getattr(scale, name)) for name, value in worst.items()},
        where=f"{connection.vendor}, {', '.join(scale.doors)}",
        details=details,
    )


def _samples(
    stack: ExitStack, scale: Scale, door: str
) -> Iterator[tuple[str, dict[str, float], int]]:
    server = ServerProcess(**_SETTINGS)
    stack.callback(server.discard)
    dial, address = _door(stack, server, door)
    victim = stack.enter_context(Victim(server, dial))
    token = access_token(person())
    victim.write(_WARM_UP)
    for kind in scale.kinds:
        calm = victim.write(scale.seconds)
        whose = ["--token", access_token(person())] if kind in _OF_A_USER else []
        with attacked("testing.soak.http_attackers", kind, *address, *whose):
            try:
                victim.write(_WARM_UP)
                sample, pages = _beside(server, token, lambda: victim.write(scale.seconds))
            except (TimeoutError, OSError):
                yield kind, {}, 0
                return  # the victim's socket is out of step
        figures = sample.beside(calm) | {"me_seconds": max(pages)}
        yield kind, figures, len(sample.acks) + len(pages)


def _beside(
    server: ServerProcess, token: str, write: Callable[[], Sample]
) -> tuple[Sample, list[float]]:
    """What a victim measures, and the seconds that each page took meanwhile."""
    pages: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2) or not pages:
            pages.append(_page_seconds(server, token))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        sample = write()
    finally:
        over.set()
        looking.join()
    return sample, pages or [_PATIENCE]


def _page_seconds(server: ServerProcess, token: str) -> float:
    began = time.monotonic()
    request = Request(
        f"http://{server.address}/api/me/", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
            answer.read()
    except OSError:
        return _PATIENCE
    return time.monotonic() - began


def _door(stack: ExitStack, server: ServerProcess, door: str) -> tuple[Any, list[str]]:
    if door == "straight":
        return None, [server.address]
    front = Nginx(server.address)
    stack.callback(front.stop)
    return front.connect, [f"127.0.0.1:{front.port}", "--tls", HOST]
