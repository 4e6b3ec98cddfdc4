"""Work that every process of `manage.py serve` does beside serving, in a thread of its own. Apps
register theirs; none of it may be lost when the process is killed, so what is to be done stands in
the database.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Work = Callable[[threading.Event], None]

_END_SECONDS = 3.0  # that work has to notice its end; then the process goes all the same

_works: dict[str, Work] = {}


def register(name: str, work: Work) -> None:
    """`work` returns soon after the event is set; or at once, if there is nothing to do here."""
    _works[name] = work


@contextmanager
def running() -> Iterator[None]:
    """All of it runs until the block ends."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=work, args=[stop], name=name, daemon=True)
        for name, work in _works.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(_END_SECONDS)
