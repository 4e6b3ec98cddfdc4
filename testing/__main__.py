"""`make test`: the suite on each database, and a summary that names what did not run.

Under CI=true a part that is missing is an error.
"""

import os
import subprocess
import sys

from testing.services import program

# These choose their database themselves, or have none: once is enough.
ONCE = (
    "holodrive/realtime/tests/test_commands.py",
    "holodrive/realtime/tests/test_java_client.py",
    "holodrive/realtime/tests/test_javascript_client.py",
    "notifications/tests/test_bell.py",
    "holodrive/asyncapi",
    "holodrive/tests",
    "benchmarks",
    "testing/soak/tests/test_soak.py",
    "testing/sabotage",
)


def main() -> int:
    missing: list[str] = []
    databases = ["sqlite"]
    try:
        program("initdb")
        databases.append("postgresql")
    except FileNotFoundError as problem:
        missing.append(f"the suite on PostgreSQL: no {problem}")
    failed = []
    for database in databases:
        print(f"\n== The suite on {database}", flush=True)
        environment = os.environ | {"TEST_DATABASE": database}
        ignored = [f"--ignore={path}" for path in ONCE] if database != databases[0] else []
        command = [sys.executable, "-m", "pytest", "-q", "-rs", *ignored, *sys.argv[1:]]
        run = subprocess.run(command, env=environment)
        if run.returncode:
            failed.append(database)
    for part in missing:
        print(f"did not run: {part}")
    if failed:
        print(f"failed on {', '.join(failed)}")
    return 1 if failed or (missing and os.environ.get("CI") == "true") else 0


if __name__ == "__main__":
    sys.exit(main())
