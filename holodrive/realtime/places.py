"""Places of a process for what is dear, shared fairly: whoever waits takes turns by address, so a
thousand requests of one client are one place in the queue of everybody else.

Used from the event loop and from threads alike; no call here waits.
"""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable

Begin = Callable[[], None]


class Places:
    """At most `most` at once, and of one key at most `most_of_one`."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._lock = threading.Lock()
        self._most = most
        self._most_of_one = most_of_one
        self._taken: Counter[Hashable] = Counter()
        self._queues: OrderedDict[Hashable, deque[Begin]] = OrderedDict()  # whose turn comes first

    @property
    def taken(self) -> int:
        return self._taken.total()

    @property
    def waiting(self) -> int:
        with self._lock:
            return sum(map(len, self._queues.values()))

    def waiting_of(self, key: Hashable) -> int:
        return len(self._queues.get(key, ()))

    def take(self, key: Hashable, begin: Begin) -> None:
        """Call `begin` once there is a place: now, or in the thread that gives one back."""
        with self._lock:
            self._queues.setdefault(key, deque()).append(begin)
        self._fill()

    def give_back(self, key: Hashable) -> None:
        with self._lock:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
        self._fill()

    def withdraw(self, key: Hashable, begin: Begin) -> bool:
        """Wait no longer; False if it has its place already."""
        with self._lock:
            queue = self._queues.get(key, ())
            if begin not in queue:
                return False
            self._dequeue(key, begin)
            return True

    def _fill(self) -> None:
        while (begin := self._next()) is not None:
            begin()

    def _next(self) -> Begin | None:
        with self._lock:
            if self._taken.total() >= self._most:
                return None
            for key, queue in self._queues.items():
                if self._taken[key] < self._most_of_one:
                    begin = queue[0]
                    self._taken[key] += 1
                    self._dequeue(key, begin)
                    return begin
            return None

    def _dequeue(self, key: Hashable, begin: Begin) -> None:
        queue = self._queues[key]
        queue.remove(begin)
        if queue:
            self._queues.move_to_end(key)
        else:
            del self._queues[key]
