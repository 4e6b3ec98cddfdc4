"""`make test`: the suite on each database, and a summary that names what did not run.

What fails is run once more, alone, when the rest is through. A test that passes then is printed as
FLAKY, with its first traceback, and does not fail the run; it is a fault to mend all the same.
Under CI=true a part that is missing is an error.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from testing import outcomes
from testing.outcomes import Outcomes
from testing.services import program

# These choose their database themselves, have none, or ask nothing of it in which databases differ.
ONCE = (
    "chat/tests/test_console.py",
    "chat/tests/test_events.py",
    "holodrive/accounts/tests/test_login.py",
    "holodrive/realtime/tests/test_access_logs.py",
    "holodrive/realtime/tests/test_addresses.py",
    "holodrive/realtime/tests/test_backpressure.py",
    "holodrive/realtime/tests/test_brokers.py",
    "holodrive/realtime/tests/test_budgets.py",
    "holodrive/realtime/tests/test_characters.py",
    "holodrive/realtime/tests/test_checks.py",
    "holodrive/realtime/tests/test_clients.py",
    "holodrive/realtime/tests/test_clusters.py",
    "holodrive/realtime/tests/test_commands.py",
    "holodrive/realtime/tests/test_failures.py",
    "holodrive/realtime/tests/test_faults.py",
    "holodrive/realtime/tests/test_garbage.py",
    "holodrive/realtime/tests/test_header_types.py",
    "holodrive/realtime/tests/test_java_client.py",
    "holodrive/realtime/tests/test_javascript_client.py",
    "holodrive/realtime/tests/test_layer.py",
    "holodrive/realtime/tests/test_limits.py",
    "holodrive/realtime/tests/test_origins.py",
    "holodrive/realtime/tests/test_outbox.py",
    "holodrive/realtime/tests/test_places.py",
    "holodrive/realtime/tests/test_postgresql.py",
    "holodrive/realtime/tests/test_reach.py",
    "holodrive/realtime/tests/test_recent_refusals.py",
    "holodrive/realtime/tests/test_redaction.py",
    "holodrive/realtime/tests/test_routing.py",
    "holodrive/realtime/tests/test_status.py",
    "holodrive/realtime/tests/test_stop.py",
    "holodrive/realtime/tests/test_tracing.py",
    "holodrive/realtime/tests/test_wire.py",
    "notifications/tests/test_alerts.py",
    "notifications/tests/test_bell.py",
    "notifications/tests/test_bell_for_all.py",
    "notifications/tests/test_events.py",
    "push/tests/test_endpoints.py",
    "push/tests/test_fcm.py",
    "push/tests/test_quiet.py",
    "push/tests/test_service_worker.py",
    "holodrive/asyncapi",
    "holodrive/loadtest",
    "holodrive/tests",
    "benchmarks/tests",  # pytest ignores no folder that testpaths names
    "testing/soak/tests/test_soak.py",
    "testing/sabotage",
    "testing/tests",
)


# Tests wait for processes more than they compute. Each worker has its own database and Valkey, and
# takes file after file in the order of conftest.py.
_SPREAD = ("--dist", "loadfile", "--no-loadscope-reorder")
_MOST_AGAIN = 20  # more failures than that are no accident


_PYTEST = (sys.executable, "-m", "pytest", "-p", "testing.outcomes", "-q")


class Run:
    """One pytest process on one database; what it prints is kept until asked for, unless aloud."""

    def __init__(
        self, stack: ExitStack, database: str, options: Sequence[str], *, aloud: bool = False
    ) -> None:
        self.database = database
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holodrive-run-")))
        self._outcomes = home / "outcomes.json"
        self._printed = None if aloud else stack.enter_context((home / "printed").open("w+b"))
        self._process = subprocess.Popen(
            [*_PYTEST, f"--outcomes={self._outcomes}", *options],
            env=os.environ | {"TEST_DATABASE": database},
            stdout=self._printed,
            stderr=self._printed and subprocess.STDOUT,
        )
        stack.callback(self._process.wait)
        stack.callback(self._process.terminate)

    def wait(self) -> Outcomes | None:
        """Its outcomes; None if pytest did not come to the end of the suite."""
        code = self._process.wait()
        return outcomes.read(self._outcomes) if code in (0, 1) else None

    def printed(self) -> str | None:
        """What it has printed; None if it was aloud."""
        if self._printed is None:
            return None
        self._printed.seek(0)
        return self._printed.read().decode(errors="replace")


def failing_again(
    database: str, found: Outcomes | None, options: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """The tests that fail alone as well, and those that do not: these are printed as FLAKY.

    After a run that did not come to its end, or in which much failed, nothing is tried again.
    """
    if found is None or found.broken:
        return ["the run itself"], []
    if len(found.failed) > _MOST_AGAIN:
        return list(found.failed), []
    failed, flaky = [], []
    for test, traceback in found.failed.items():
        print(f"\n== Once more, alone, on {database}: {test}", flush=True)
        with ExitStack() as stack:
            run = Run(stack, database, [*options, test])
            if run.wait() == Outcomes(passed=1):
                flaky.append(test)
                print(f"FLAKY {test} on {database}: it passes alone; it failed with\n{traceback}")
            else:
                failed.append(test)
                print(run.printed())
    return failed, flaky


def _suite(stack: ExitStack, database: str, seed: str, *, whole: bool) -> Run:
    ignored = [] if whole else [f"--ignore={path}" for path in ONCE]
    workers = "3" if whole else "2"
    options = ["-rs", "--durations=15", seed, "-n", workers, *_SPREAD, *ignored, *sys.argv[1:]]
    return Run(stack, database, options, aloud=whole)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and the runs are ended with it
    missing: list[str] = []
    databases = ["sqlite"]
    try:
        program("initdb")
        databases.append("postgresql")
    except FileNotFoundError as problem:
        missing.append(f"the suite on PostgreSQL: no {problem}")
    seed = f"--randomly-seed={int(time.time())}"  # the same when a test is run again
    ended: dict[str, Outcomes | None] = {}
    with ExitStack() as stack:
        for run in [_suite(stack, name, seed, whole=name == databases[0]) for name in databases]:
            ended[run.database] = run.wait()
            print(f"\n== The suite on {run.database}: what it printed is", end=" ", flush=True)
            print("above" if (printed := run.printed()) is None else f"this\n{printed}", flush=True)
    again = {name: failing_again(name, found, [seed]) for name, found in ended.items()}
    return _summary(ended, again, missing)


def _summary(
    ended: dict[str, Outcomes | None],
    again: dict[str, tuple[list[str], list[str]]],
    missing: Sequence[str],
) -> int:
    """Print it, with the counts in the last line; the exit code."""
    for part in missing:
        print(f"did not run: {part}")
    for name, (failed, flaky) in again.items():
        for word, tests in (("FLAKY", flaky), ("FAILED", failed)):
            for test in tests:
                print(f"{word} on {name}: {test}")
    known = [found for found in ended.values() if found is not None]
    passed = sum(found.passed for found in known) + sum(len(flaky) for _, flaky in again.values())
    count = sum(len(failed) for failed, _ in again.values())
    print(f"{passed} passed, {count} failed, {sum(found.skipped for found in known)} skipped")
    return 1 if count or (missing and os.environ.get("CI") == "true") else 0


if __name__ == "__main__":
    sys.exit(main())
