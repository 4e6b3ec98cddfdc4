"""Clients that are not ours: Python's `websockets`, and Node's `ws` behind a process of its own."""

import json
import queue
import shutil
import subprocess
import threading
from itertools import count
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from testing.patience import ANSWER, PATIENCE, patience
from testing.services import ROOT

_NODE = ROOT / "testing" / "node"


class Foreign:
    """A socket of a client that is not ours: what both have in common."""

    protocol: str | None

    def __init__(self) -> None:
        self._waiting: list[str] = []

    def read(self) -> str | int:
        """The text of the next frame, or the code that the server closed with."""
        raise NotImplementedError

    def write(self, text: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def text(self, kind: str) -> str:
        """The next frame of that type, as it was sent; others stay for later."""
        for text in self._waiting:
            if json.loads(text)["type"] == kind:
                self._waiting.remove(text)
                return text
        while isinstance(event := self.read(), str):
            if json.loads(event)["type"] == kind:
                return event
            self._waiting.append(event)
        raise AssertionError(f"closed with {event} before a frame {kind}: {self._waiting}")

    def frame(self, kind: str) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self.text(kind))
        return frame

    def send(self, kind: str, **fields: Any) -> None:
        self.write(json.dumps({"type": kind, **fields}))


class RefusedError(Exception):
    """The server answered the handshake with this HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class PythonSocket(Foreign):
    def __init__(
        self, address: str, path: str, headers: dict[str, str], protocols: list[str]
    ) -> None:
        super().__init__()
        host, _, port = address.partition(":")
        try:
            self._socket = connect(
                f"ws://{headers.get('Host', address)}{path}",
                legacy=True,
                address=(host, int(port)),
                additional_headers={k: v for k, v in headers.items() if k != "Host"},
                subprotocols=[Subprotocol(name) for name in protocols] or None,
                open_timeout=PATIENCE,
                close_timeout=PATIENCE,
                ping_timeout=ANSWER,
                proxy=None,
            )
        except InvalidStatus as refusal:
            raise RefusedError(refusal.response.status_code) from None
        self.protocol = self._socket.subprotocol

    def read(self) -> str | int:
        try:
            return str(self._socket.recv(PATIENCE))
        except ConnectionClosed:
            return int(self._socket.close_code or 0)

    def write(self, text: str) -> None:
        self._socket.send(text)

    def close(self) -> None:
        self._socket.close()


class Node:
    """One process of testing/node/client.mjs, for any number of sockets."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "client.mjs"],
            cwd=_NODE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._happened: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._ids = count(1)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            self._happened[event.pop("id")].put(event)

    def open(self, **how: Any) -> int:
        id = next(self._ids)
        self._happened[id] = queue.Queue()
        self.order("open", id, **how)
        return id

    def order(self, what: str, id: int, **how: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "id": id, **how}) + "\n")
        self._process.stdin.flush()

    def next(self, id: int) -> dict[str, Any]:
        return self._happened[id].get(timeout=PATIENCE)

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # at which it ends
        self._thread.join(PATIENCE)
        self._process.__exit__(None, None, None)


class NodeSocket(Foreign):
    def __init__(
        self, node: Node, address: str, path: str, headers: dict[str, str], protocols: list[str]
    ) -> None:
        super().__init__()
        self._node = node
        url = f"ws://{address}{path}"
        self._id = node.open(url=url, headers=headers, protocols=protocols)
        self._code: int | None = None
        event = node.next(self._id)
        if "status" in event:
            raise RefusedError(event["status"])
        assert "protocol" in event, event
        self.protocol = event["protocol"] or None

    def read(self) -> str | int:
        event = self._node.next(self._id)
        if "code" in event:
            self._code = event["code"]
            return self._code
        text: str = event["text"]
        return text

    def write(self, text: str) -> None:
        self._node.order("send", self._id, text=text)

    def close(self) -> None:
        if self._code is None:
            self._node.order("close", self._id)
            while not isinstance(self.read(), int):
                pass


def missing_for_node() -> list[str]:
    """What the Node client lacks here; installs `ws` by npm where that is all."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if not missing and not _is_installed():
        install = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"],
            cwd=_NODE,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience(120),
        )
        if install.returncode:
            missing = [f"ws (npm ci in testing/node: {install.stderr.strip()[-300:]})"]
    return missing


def _is_installed() -> bool:
    wanted = json.loads((_NODE / "package.json").read_text())["dependencies"]["ws"]
    package = Path(_NODE, "node_modules", "ws", "package.json")
    return package.exists() and json.loads(package.read_text())["version"] == wanted
