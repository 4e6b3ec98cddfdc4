"""A bar on standard error for commands that take a while."""

import time
from typing import Any

_WIDTH = 30


class Progress:
    """One line, rewritten, for whoever looks on; nothing where nobody does."""

    def __init__(self, name: str, total: int, stream: Any) -> None:
        self._name = name
        self._total = total
        self._stream = stream
        self._began = time.monotonic()
        self.done = 0

    def add(self, count: int) -> None:
        self.done += count
        if not self._stream.isatty():
            return
        share = min(1.0, self.done / max(1, self._total))
        bar = "#" * round(share * _WIDTH)
        rate = self.done / max(time.monotonic() - self._began, 0.001)
        self._stream.write(
            f"\r\033[K{self._name} [{bar:{_WIDTH}}] {share:4.0%}  {self.done:,} of {self._total:,}"
            f"  {rate:,.0f}/s",
            ending="",
        )
        self._stream.flush()

    def end(self) -> None:
        if self._stream.isatty():
            self._stream.write("\r\033[K", ending="")
