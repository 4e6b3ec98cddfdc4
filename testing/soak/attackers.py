"""Clients that cost as much as they can, without a library: `python -m testing.soak.attackers KIND
ADDRESS PATH ... --sockets N`, a process of its own for `victim.attacked`. It imports nothing of
Django's. Each socket sends what its KIND says, again and again, reads nothing unless its KIND
reads, and connects again whenever it was cut.
"""

import argparse
import selectors
import socket
import ssl
import sys
import time
from contextlib import suppress
from typing import NamedTuple

_MASK = b"\x00\x00\x00\x00"  # a mask there must be; this one changes nothing
_PATIENCE = 20.0  # seconds for a handshake
_CHUNK = 65_536
_REST = 0.2  # seconds before a connect that was refused is tried again


def frame(opcode: int, body: bytes = b"", *, final: bool = True, masked: bool = True) -> bytes:
    """One frame of less than 126 bytes or of less than 65,536 (RFC 6455, 5.2)."""
    size, mask = len(body), 0x80 if masked else 0
    head = bytes((0x80 * final | opcode, mask | min(size, 126)))
    if size > 125:
        head += size.to_bytes(2, "big")
    return head + (_MASK if masked else b"") + body


class Kind(NamedTuple):
    """What a socket sends first, and then for ever: as fast as it can, or `every` so many seconds
    (within all limits of frames).
    """

    again: bytes
    first: bytes = b""
    reads: bool = False
    every: float = 0.0


KINDS = {
    "pings": Kind(frame(9)),
    "long_pings": Kind(frame(9, b"p" * 125)),
    "pongs": Kind(frame(10)),
    "empty_texts": Kind(frame(1)),
    "empty_binaries": Kind(frame(2)),
    "small_texts": Kind(frame(1, b'{"type":"ping"}')),
    "large_texts": Kind(frame(1, b"x" * 65_000)),
    "tiny_fragments": Kind(frame(0, b"x", final=False), first=frame(1, b"x", final=False)),
    "empty_fragments": Kind(frame(0, final=False), first=frame(1, final=False)),
    "split_texts": Kind(frame(1, b" ", final=False) + frame(0, b"{}")),
    "unmasked": Kind(frame(9, masked=False)),
    "reserved": Kind(frame(11)),
    "bare_bytes": Kind(b"\x00"),
    "read_pings": Kind(frame(9), reads=True),
    "resumes": Kind(frame(1, b'{"type":"resume","last_seq":0}'), reads=True, every=0.11),
}


class Attacker:
    """One connection after another."""

    def __init__(self, kind: Kind, path: str, options: argparse.Namespace) -> None:
        self._kind = kind
        self._path = path
        self._options = options
        self._chunk = kind.again * (1 if kind.every else max(1, _CHUNK // len(kind.again)))
        self._due = 0.0
        self.line = self._connect()

    def _connect(self) -> socket.socket:
        host, port = self._options.address.split(":")
        line = socket.create_connection((host, int(port)), _PATIENCE)
        if self._options.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            line = context.wrap_socket(line, server_hostname=self._options.tls)
        lines = (
            f"GET {self._path} HTTP/1.1", f"Host: {self._options.tls or host}",
            "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
        )  # fmt: skip
        line.sendall("\r\n".join(lines).encode())
        line.setblocking(False)
        self._rest = self._kind.first or self._chunk
        self._is_open = False
        return line

    @property
    def events(self) -> int:
        """What it waits for: the answer to its handshake, and then its turn to send."""
        if not self._is_open or self._kind.every:
            return selectors.EVENT_READ
        return selectors.EVENT_WRITE | selectors.EVENT_READ * self._kind.reads

    def turn(self, events: int) -> bool:
        """Send, and read if it does; whether the connection is still there."""
        try:
            if events & selectors.EVENT_READ:
                if not self.line.recv(_CHUNK):
                    return False
                self._is_open = True
            if events & selectors.EVENT_WRITE:
                sent = self.line.send(self._rest)
                # A frame that was cut goes on where it was: behind the rest comes a whole chunk.
                self._rest = self._rest[sent:] or self._chunk
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            return False
        return True

    def send_if_due(self) -> None:
        """For a kind that keeps to its limit."""
        if self._kind.every and self._is_open and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._kind.every
            with suppress(OSError):  # it is noticed when it reads
                self.line.send(self._chunk)

    def again(self) -> bool:
        """Connect once more; False if that was refused."""
        self.line.close()
        try:
            self.line = self._connect()
        except OSError:
            return False
        return True


def main() -> int:
    options = _options()
    kind = KINDS[options.kind]
    selector = selectors.DefaultSelector()
    paths = options.path
    attackers = [Attacker(kind, paths[n % len(paths)], options) for n in range(options.sockets)]
    for each in attackers:
        selector.register(each.line, each.events, each)
    print("under way", flush=True)
    down: dict[Attacker, float] = {}
    while True:
        for each in attackers:
            each.send_if_due()
        for key, events in selector.select(0.02):
            one: Attacker = key.data
            if not one.turn(events):
                selector.unregister(key.fileobj)
                down[one] = 0.0
            elif one.events != key.events:
                selector.modify(key.fileobj, one.events, one)
        for each, since in list(down.items()):
            if time.monotonic() - since < _REST:
                continue
            if each.again():
                del down[each]
                selector.register(each.line, each.events, each)
            else:
                down[each] = time.monotonic()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("address")
    parser.add_argument("path", nargs="+")
    parser.add_argument("--sockets", type=int, default=20)
    parser.add_argument("--tls", default="", metavar="NAME")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
