"""`make test`: the suite on each database, and a summary that names what did not run.

Under CI=true a part that is missing is an error.
"""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack

from testing.services import program

# These choose their database themselves, or have none: once is enough.
ONCE = (
    "chat/tests/test_console.py",
    "holodrive/accounts/tests/test_login.py",
    "holodrive/realtime/tests/test_backpressure.py",
    "holodrive/realtime/tests/test_brokers.py",
    "holodrive/realtime/tests/test_checks.py",
    "holodrive/realtime/tests/test_commands.py",
    "holodrive/realtime/tests/test_failures.py",
    "holodrive/realtime/tests/test_java_client.py",
    "holodrive/realtime/tests/test_javascript_client.py",
    "holodrive/realtime/tests/test_status.py",
    "holodrive/realtime/tests/test_stop.py",
    "holodrive/realtime/tests/test_tracing.py",
    "notifications/tests/test_alerts.py",
    "notifications/tests/test_bell.py",
    "notifications/tests/test_bell_for_all.py",
    "push/tests/test_service_worker.py",
    "holodrive/asyncapi",
    "holodrive/loadtest",
    "holodrive/tests",
    "benchmarks",
    "testing/soak/tests/test_soak.py",
    "testing/sabotage",
)


# Tests wait for processes more than they compute. Each worker has its own database and Valkey, and
# takes file after file in the order of conftest.py.
_SPREAD = ("--dist", "loadfile", "--no-loadscope-reorder")


class _Run:
    """The suite on one database, in its own process; what it prints is kept until asked for."""

    def __init__(self, stack: ExitStack, database: str, *, whole: bool) -> None:
        self.database = database
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
        stack.callback(self._output.close)
        ignored = [] if whole else [f"--ignore={path}" for path in ONCE]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-rs",
                "--durations=15",
                *("-n", "3" if whole else "2"),
                *_SPREAD,
                *ignored,
                *sys.argv[1:],
            ],
            env=os.environ | {"TEST_DATABASE": database},
            stdout=None if whole else self._output,
            stderr=None if whole else subprocess.STDOUT,
        )
        stack.callback(self._process.wait)
        stack.callback(self._process.terminate)

    def report(self) -> int:
        """Wait for the end, print what was kept; the exit code."""
        code = self._process.wait()
        self._output.seek(0)
        print(f"\n== The suite on {self.database}: what it printed is", end=" ", flush=True)
        print(
            "above" if not (kept := self._output.read().decode()) else f"this\n{kept}", flush=True
        )
        return code


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and the runs are ended with it
    missing: list[str] = []
    databases = ["sqlite"]
    try:
        program("initdb")
        databases.append("postgresql")
    except FileNotFoundError as problem:
        missing.append(f"the suite on PostgreSQL: no {problem}")
    failed = []
    with ExitStack() as stack:
        runs = [_Run(stack, database, whole=database == databases[0]) for database in databases]
        for run in runs:
            if run.report():
                failed.append(run.database)
    for part in missing:
        print(f"did not run: {part}")
    if failed:
        print(f"failed on {', '.join(failed)}")
    return 1 if failed or (missing and os.environ.get("CI") == "true") else 0


if __name__ == "__main__":
    sys.exit(main())
