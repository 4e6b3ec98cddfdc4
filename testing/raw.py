"""A client of the bare contract, without a library: it does the handshake, and then what a test
says. So it can read nothing, answer nothing, and send more than any library would.
"""

import socket
import struct
from pathlib import Path

from testing.patience import PATIENCE
from testing.server import ServerProcess

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3
_MASK = b"\x00\x00\x00\x00"  # a mask there must be; this one changes nothing


class RawSocket:
    """Connected and upgraded; nothing of what the server sends is read unless asked for. A small
    `receive_buffer` (bytes) leaves more of it to the server.
    """

    def __init__(
        self, server: ServerProcess, path: str, token: str, receive_buffer: int = 0
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", server.port))
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {server.address}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {_KEY}",
            "Sec-WebSocket-Version: 13",
            f"Authorization: Bearer {token}",
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def read(self) -> str | int:
        """The text of the next frame, or the code of a close."""
        while True:
            first, size = self._exactly(2)
            if size > 125:
                size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
            body = self._exactly(size)
            if first == 0x81:
                return body.decode()
            if first == 0x88:
                return int.from_bytes(body[:2], "big")

    def _exactly(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            part = self.socket.recv(size - len(got))
            assert part, "the connection was cut"
            got += part
        return got

    def send(self, text: str) -> None:
        self.socket.sendall(frame(text))

    def close(self) -> None:
        self.socket.close()


def frame(text: str) -> bytes:
    """One final, masked text frame."""
    body = text.encode()
    size = len(body)
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x81, 0x80 | 126)) + struct.pack("!H", size)
    else:
        head = bytes((0x81, 0x80 | 127)) + struct.pack("!Q", size)
    return head + _MASK + body


def resident_bytes(server: ServerProcess) -> int:
    """What the server's process has in memory, as the system sees it (VmRSS)."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
