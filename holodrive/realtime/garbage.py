"""Python's collector of cyclic garbage, for a process that holds thousands of sockets.

Each socket is a hundred objects that live long. By default Python looks through all of them again
whenever their number has grown a little: of a storm of 5,000 reconnects a third of the CPU, in
pauses of up to half a second for everybody. What a socket leaves behind is freed when it ends,
without a collection (a test says so), so that these may be rare.
"""

import gc
from functools import cache

# Objects of the youngest kind until they are looked through, and how often until the older kinds
# are. Python's own 700 are less than one reconnecting batch.
_THRESHOLDS = (10_000, 10, 10)


@cache
def collect_rarely() -> None:
    """Call it when all is imported, before the first socket. What is there by then (Django, the
    project's code) stays for good, and is never looked through again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
