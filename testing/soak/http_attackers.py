"""HTTP clients that cost as much as they can: `python -m testing.soak.http_attackers KIND ADDRESS
[--tls HOST] [--token TOKEN]`, a process of its own for `victim.attacked`. Each has several
connections, and begins anew whenever one ends.
"""

import argparse
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

_PATIENCE = 30.0
_LARGE = 400_000_000
_PART = 65_536
# One for all, and without the system's authorities: to load those costs more than a handshake, on
# the cores that the server needs.
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_TLS.check_hostname, _TLS.verify_mode = False, ssl.CERT_NONE


class Door(NamedTuple):
    """Where the server is, and as whom to come."""

    host: str
    port: int
    tls: str
    token: str

    def send(
        self, request: str, *headers: str, body: bytes = b"", small: bool = False
    ) -> socket.socket:
        line = socket.socket()
        if small:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(_PATIENCE)
        line.connect((self.host, self.port))
        if self.tls:
            line = _TLS.wrap_socket(line, server_hostname=self.tls)
        lines = [f"{request} HTTP/1.1", f"Host: {self.tls or self.host}", *headers]
        lines += [f"Authorization: Bearer {self.token}"] if self.token else []
        line.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return line


def bodies(door: Door) -> None:
    with door.send("POST /healthz", "Transfer-Encoding: chunked") as line:
        for _ in range(_LARGE // _PART):
            line.sendall(b"%x\r\n%b\r\n" % (_PART, b"x" * _PART))


def announced_bodies(door: Door) -> None:
    with door.send("POST /api/token/", f"Content-Length: {_LARGE}") as line:
        for _ in range(_LARGE // _PART):
            line.sendall(b"x" * _PART)


def halves(door: Door) -> None:
    """Of the largest body that is allowed, the half, and then no more."""
    with door.send("POST /api/token/", "Content-Length: 2600000", body=b"x" * 1_300_000) as line:
        line.recv(1)


def drips(door: Door) -> None:
    with door.send("POST /api/token/", "Content-Length: 60000") as line:
        while True:
            line.sendall(b"x")
            time.sleep(0.2)


def logins(door: Door) -> None:
    body = b'{"username": "nobody", "password": "guess"}'
    headers = (
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    with door.send("POST /api/token/", *headers, body=body) as line:
        while line.recv(_PART):
            pass


def searches(door: Door) -> None:
    with door.send("GET /api/messages/search/?q=where", "Connection: close") as line:
        while line.recv(_PART):
            pass


def streams(door: Door) -> None:
    for path in ("/events/", "/generated/", "/poll/"):
        door.send(f"GET {path}").detach()
    time.sleep(_PATIENCE)


def slow_readers(door: Door) -> None:
    with door.send("GET /download/", small=True) as line:
        while line.recv(512):
            time.sleep(0.5)


KINDS: dict[str, tuple[Callable[[Door], None], int]] = {
    "bodies": (bodies, 4),
    "announced_bodies": (announced_bodies, 4),
    "halves": (halves, 40),
    "drips": (drips, 100),
    "logins": (logins, 16),
    "searches": (searches, 16),
    "streams": (streams, 40),
    "slow_readers": (slow_readers, 40),
}


def _again_and_again(attack: Callable[[Door], None], door: Door) -> None:
    while True:
        with suppress(OSError):
            attack(door)
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m testing.soak.http_attackers")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("address")
    parser.add_argument("--tls", default="")
    parser.add_argument("--token", default="")
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    attack, count = KINDS[options.kind]
    door = Door(host, int(port), options.tls, options.token)
    for _ in range(count):
        threading.Thread(target=_again_and_again, args=(attack, door), daemon=True).start()
    print("under way", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
