"""Sockets on which nothing is said stay open behind nginx: the heartbeats alone hold them."""

import time
from contextlib import ExitStack
from typing import Any, NamedTuple

from django.db import connection
from websockets.exceptions import ConnectionClosed

from testing.client import access_token
from testing.nginx import HOST, Nginx
from testing.patience import ANSWER, patience
from testing.server import ServerProcess
from testing.soak import NO_LIMITS, Progress, Verdict
from testing.soak.people import person


class Scale(NamedTuple):
    sockets: int = 20
    seconds: float = 300
    heartbeat: int = 25  # as it is by default
    nginx_waits: int = 75  # as deploy/nginx says


FULL = Scale()
# A busy machine may take seconds from a heartbeat, and from the answer that `serve` expects before
# the next.
_BEATS, _WAITS = round(patience(1)), round(patience(3))
SHORT = Scale(sockets=2, seconds=2 * _WAITS + 1, heartbeat=_BEATS, nginx_waits=_WAITS)


def prove(scale: Scale, seed: int, progress: Progress) -> Verdict:
    closed = checked = 0
    token = access_token(person("idle"))
    with ExitStack() as stack:
        heartbeat = {"REALTIME_HEARTBEAT_SECONDS": str(scale.heartbeat)}
        server = ServerProcess(ALLOWED_HOSTS=HOST, **heartbeat, **NO_LIMITS)
        stack.callback(server.discard)
        waits = {"proxy_read_timeout 75s": f"proxy_read_timeout {scale.nginx_waits}s"}
        front = Nginx(server.address, **waits)
        stack.callback(front.stop)
        path = f"/ws/notifications/?token={token}"
        sockets = [
            stack.enter_context(front.connect(path, ping_interval=None))
            for _ in range(scale.sockets)
        ]
        for socket in sockets:
            socket.recv(timeout=ANSWER)
        end = time.monotonic() + scale.seconds
        while (left := end - time.monotonic()) > 0:
            progress(f"idle for another {left:.0f} s")
            time.sleep(min(1, left))
        for socket in sockets:
            closed += not _answers(socket)
            checked += 1
    return Verdict(
        checked=checked,
        wanted=scale.sockets,
        faults={"closed": closed},
        where=f"{connection.vendor}, {scale.seconds:g} s idle",
    )


def _answers(socket: Any) -> bool:
    try:
        socket.send('{"type":"ping"}')
        return '"pong"' in socket.recv(timeout=ANSWER)
    except (ConnectionClosed, TimeoutError):
        return False
