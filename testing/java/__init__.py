"""The WebSocket of the Java library (java.net.http), behind a process of its own."""

import queue
import shutil
import subprocess
import threading
from itertools import count
from pathlib import Path

from testing.foreign import Foreign, RefusedError
from testing.patience import PATIENCE, patience

_SOURCE = Path(__file__).parent / "Client.java"
_START_SECONDS = patience(30)  # it is compiled at its start

Happened = tuple[str, str]  # what, and its value


class Java:
    """One process of Client.java, for any number of sockets."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["java", str(_SOURCE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._happened: dict[int, queue.Queue[Happened]] = {}
        self._ids = count(1)
        self._is_up = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            id, what, value = line.rstrip("\n").split("\t", 2)
            self._happened[int(id)].put((what, value))

    def open(self, url: str, headers: dict[str, str], protocols: list[str]) -> int:
        id = next(self._ids)
        self._happened[id] = queue.Queue()
        pairs = (part for header in headers.items() for part in header)
        self.order("open", id, url, ",".join(protocols), *pairs)
        return id

    def order(self, what: str, id: int, *parts: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join((what, str(id), *parts)) + "\n")
        self._process.stdin.flush()

    def next(self, id: int) -> Happened:
        event = self._happened[id].get(timeout=PATIENCE if self._is_up else _START_SECONDS)
        self._is_up = True
        return event

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # at which it ends
        self._thread.join(PATIENCE)
        self._process.__exit__(None, None, None)


class JavaSocket(Foreign):
    def __init__(
        self, java: Java, address: str, path: str, headers: dict[str, str], protocols: list[str]
    ) -> None:
        super().__init__()
        self._java = java
        self._id = java.open(f"ws://{address}{path}", headers, protocols)
        self._code: int | None = None
        what, value = java.next(self._id)
        if what == "status":
            raise RefusedError(int(value))
        assert what == "open", (what, value)
        self.protocol = value or None

    def read(self) -> str | int:
        what, value = self._java.next(self._id)
        assert what in ("text", "code"), (what, value)
        if what == "text":
            return value
        self._code = int(value)
        return self._code

    def write(self, text: str) -> None:
        self._java.order("send", self._id, text)

    def close(self) -> None:
        if self._code is None:
            self._java.order("close", self._id)
            while not isinstance(self.read(), int):
                pass


def missing_for_java() -> list[str]:
    """What the Java client lacks here: `java` alone does not compile, the JDK's compiler does."""
    if shutil.which("java") is None:
        return ["java (Debian: openjdk-17-jdk-headless)"]
    modules = subprocess.run(
        ["java", "--list-modules"], capture_output=True, text=True, timeout=_START_SECONDS
    )
    if "jdk.compiler" not in modules.stdout:
        return ["Java compiler (Debian: openjdk-17-jdk-headless)"]
    return []
