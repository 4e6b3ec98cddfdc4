"""How long tests and their clients wait for what was promised.

TEST_PATIENCE is a factor for all of these waits: 1 by default, more on a busy machine. The server's
own times, and how long a test watches for what must not happen, stay as they are.
"""

import os


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= 100:
        raise SystemExit(f"TEST_PATIENCE must be a number from 1 to 100, not {text!r}.")
    return factor


FACTOR = _factor(os.environ.get("TEST_PATIENCE") or "1")


def patience(seconds: float) -> float:
    """The time to wait on this machine for what takes that long at most on a quiet one."""
    return seconds * FACTOR


PATIENCE = patience(5.0)  # for an event, which is promised within 3
ANSWER = patience(20.0)  # for an answer over HTTP, or a handshake
START = patience(60.0)  # for a process to start, or a command to end
