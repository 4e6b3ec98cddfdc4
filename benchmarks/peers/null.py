"""A server that only passes on: each frame to all sockets of its path, the number of its sender
put beside it. What the load generator reaches with it is the generator's own limit.
"""

import asyncio
import json
import socket
import sys
from base64 import b64encode
from hashlib import sha1
from urllib.parse import parse_qs

from benchmarks.frames import TEXT

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MASKED = 0x80


def server_frame(payload):
    size = len(payload)
    if size < 126:
        return bytes((0x80 | TEXT, size)) + payload
    return bytes((0x80 | TEXT, 126)) + size.to_bytes(2, "big") + payload


class Null(asyncio.Protocol):
    rooms = {}  # noqa: RUF012

    def connection_made(self, transport):
        self.transport, self.rest, self.room, self.user = transport, b"", None, {}

    def data_received(self, data):
        data = self.rest + data
        if self.room is None:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self.rest = head
                return
            lines = head.split(b"\r\n")
            path, _, query = lines[0].split()[1].decode().partition("?")
            self.user = {name: values[0] for name, values in parse_qs(query).items()}
            if path == "/ws/notifications/":
                path = f"notifications {self.user.get('user')}"
            self.room = self.rooms.setdefault(path, set())
            self.room.add(self.transport)
            key = next(
                line[18:].strip() for line in lines if line.lower().startswith(b"sec-websocket-key")
            )
            accept = b64encode(sha1(key + _MAGIC).digest())  # noqa: S324
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
        while len(data) >= 2:
            size, start = data[1] & ~_MASKED, 6
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 8
            if len(data) < start + size:
                break
            if data[0] == 0x80 | TEXT:
                self.pass_on(data[start : start + size])
            elif data[0] & 0x0F == 8:
                self.transport.close()
            data = data[start + size :]
        self.rest = data

    def pass_on(self, payload):
        if not self.user:
            frame = server_frame(payload)
        else:
            content = json.loads(payload)
            frame = server_frame(
                json.dumps({**content, "sender_id": int(self.user["user"])}).encode()
            )
            preview = f"New message in conversation: {content['message'][:50]}..."
            told = {"type": "notification", "notification": {"message": preview}}
            for transport in self.rooms.get(f"notifications {self.user['other']}", ()):
                transport.write(server_frame(json.dumps(told).encode()))
        for transport in self.room:
            transport.write(frame)

    def connection_lost(self, problem):
        if self.room is not None:
            self.room.discard(self.transport)


async def main():
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
    server = await loop.create_server(Null, sock=listener)
    await server.serve_forever()


asyncio.run(main())
