"""An HTTP client without manners: it sends what a test says, when it says so, and reads or does
not.
"""

import json
import socket
from typing import Any, NamedTuple

from testing.patience import PATIENCE
from testing.server import ServerProcess


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """One connection to a server. A small `receive_buffer` (bytes) leaves more to the server."""

    def __init__(
        self,
        server: ServerProcess,
        receive_buffer: int = 0,
        seconds: float = 4 * PATIENCE,
        address: str = "",
    ) -> None:
        self._host, self._address = server.address, address
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(seconds)
        self.socket.connect(("127.0.0.1", server.port))
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, request: str, *headers: str, body: bytes = b"") -> "Line":
        """A request line, without its version, and headers."""
        lines = [f"{request} HTTP/1.1", f"Host: {self._host}", *headers]
        if self._address:
            lines.append(f"X-Real-IP: {self._address}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return self

    def answer(self, *, head_only: bool = False) -> Answer:
        """The next answer, "100 Continue" too."""
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self._file.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        length = int(headers.get("content-length", 0))
        return Answer(status, headers, b"" if head_only else self._file.read(length))

    def part(self) -> bytes:
        """The next chunk of an answer that comes in chunks; empty: the last."""
        size = int(self._file.readline(), 16)
        part = self._file.read(size)
        self._file.readline()
        return part

    def is_closed(self) -> bool:
        """Wait for the server to close it; whatever it says until then is dropped."""
        try:
            while self.socket.recv(65_536):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True
