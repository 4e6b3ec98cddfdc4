"""`make sabotage`: in a copy of the project, one defence after another is taken away, and its test
must fail. Fails itself when a test stays green, or is red with all defences in place.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from testing.sabotage.table import DEFENCES, Defence
from testing.services import ROOT

_GREEN, _RED = 0, 1  # pytest's exit codes; any other is no answer
_PATIENCE = 180  # seconds for a test; a hang is no answer either


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m testing.sabotage", description=__doc__)
    parser.add_argument("words", nargs="*", help="only defences with one of these in their names")
    words = parser.parse_args().words
    chosen = [one for one in DEFENCES if not words or any(word in one.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="holodrive-sabotage-") as home:
        project = Path(home, "project")
        _copy(project)
        if not _all_green(project, chosen):
            return 1
        unnoticed = [one.name for one in chosen if not _is_noticed(project, one)]
    print(f"defences {len(chosen)} unnoticed {len(unnoticed)}")
    for name in unnoticed:
        print(f"  nobody notices without: {name}")
    return 1 if unnoticed else 0


def _copy(project: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, project / name)


def _all_green(project: Path, defences: Sequence[Defence]) -> bool:
    for database, group in groupby(sorted(defences, key=_database), key=_database):
        tests = sorted({one.test for one in group})
        print(f"{len(tests)} tests with every defence, on {database} ...", flush=True)
        code, output = _pytest(project, tests, database, _PATIENCE * len(tests))
        if code != _GREEN:
            print(f"{output}\nred with all defences in place: nothing can be said")
            return False
    return True


def _database(defence: Defence) -> str:
    return defence.database


def _is_noticed(project: Path, defence: Defence) -> bool:
    file = project / defence.file
    source = file.read_text()
    assert source.count(defence.text) == 1, f"{defence.name}: not there exactly once"
    file.write_text(source.replace(defence.text, defence.without))
    try:
        code, output = _pytest(project, [defence.test], defence.database, _PATIENCE)
    finally:
        file.write_text(source)
    words = {_GREEN: "NOT NOTICED", _RED: "noticed"}
    print(f"{words.get(code, 'no answer')}: without “{defence.name}”", flush=True)
    if code not in words:
        print(output[-2000:])
    return code == _RED


def _pytest(project: Path, tests: Sequence[str], database: str, seconds: float) -> tuple[int, str]:
    """The exit code (-1: it hung) and what was printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    # No file's time may hide its change: byte code is neither read nor written.
    environment = os.environ | {"TEST_DATABASE": database, "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = str(project)
    with tempfile.TemporaryFile("w+") as output:  # a pipe would wait for grandchildren
        process = subprocess.Popen(
            command, cwd=project, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # the plugin ends what it has started
            process.wait()
            code = -1
        output.seek(0)
        return code, output.read()


if __name__ == "__main__":
    sys.exit(main())
