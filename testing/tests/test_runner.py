"""`make test` itself: what it runs again, and how long its clients wait."""

import ast
import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from testing.__main__ import Run, failing_again
from testing.patience import START
from testing.services import ROOT

TESTS = """
import os
from pathlib import Path

MARK = Path(__file__).with_name("mark")

def test_that_passes():
    pass

def test_that_fails_the_first_time():
    there, _ = MARK.exists(), MARK.touch()
    assert there, "the first traceback"

def test_that_always_fails():
    assert False, "always"
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run pytest on a file of tests, without this project's services: its outcomes and options."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = ["-p", "no:django", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=."]

    def run_on(text):
        file = tmp_path / "test_something.py"
        file.write_text(text)
        with ExitStack() as stack:
            return Run(stack, "sqlite", [*options, file.name]).wait(), options

    return run_on


def names(tests):
    return [test.rpartition("::")[2] for test in tests]


def test_what_fails_is_run_again_alone_and_what_passes_then_is_flaky(run, capsys):
    found, options = run(TESTS)
    assert found.passed == 1
    assert {*names(found.failed)} == {"test_that_fails_the_first_time", "test_that_always_fails"}
    failed, flaky = failing_again("sqlite", found, options)
    assert names(flaky) == ["test_that_fails_the_first_time"]
    assert names(failed) == ["test_that_always_fails"]
    printed = capsys.readouterr().out
    assert "FLAKY" in printed
    assert "the first traceback" in printed


@pytest.mark.parametrize(
    "text", ["import nothing_of_that_name", "def test_that_is_broken(:"], ids=["import", "syntax"]
)
def test_a_file_that_cannot_be_collected_fails_the_run(run, text):
    found, options = run(text)
    assert failing_again("sqlite", found, options) == (["the run itself"], [])


def test_a_run_that_dies_fails(run):
    found, options = run("import os\ndef test_that_kills():\n    os.kill(os.getpid(), 9)")
    assert failing_again("sqlite", found, options) == (["the run itself"], [])


def test_a_test_that_is_skipped_the_second_time_has_not_passed(run):
    found, options = run(
        TESTS.replace('assert there, "the first traceback"', "assert there; pytest.skip()")
        .replace("import os", "import pytest")
        .replace("assert False", "assert True")
    )
    failed, flaky = failing_again("sqlite", found, options)
    assert names(failed) == ["test_that_fails_the_first_time"]
    assert flaky == []


def test_children_of_a_run_in_a_scripts_background_can_be_interrupted():
    child = "import signal, time; signal.raise_signal(signal.SIGINT); print('was ignored')"
    parent = (
        "import signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "from testing.services import let_interrupts_through; let_interrupts_through();"
        f"print(subprocess.run([sys.executable, '-c', {child!r}]).returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", parent], cwd=ROOT, capture_output=True, text=True, timeout=START
    )
    assert done.stdout.strip() == str(-signal.SIGINT), done.stderr


@pytest.mark.parametrize("factor", ["2.5", "1", ""])
def test_one_variable_lengthens_every_wait(factor):
    code = "from testing import client; print(client.PATIENCE)"
    environment = os.environ | {"TEST_PATIENCE": factor}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert float(done.stdout) == 5 * float(factor or 1), done.stderr


@pytest.mark.parametrize("factor", ["0", "-1", "nan", "inf", "often"])
def test_a_factor_that_makes_no_sense_is_said_in_one_line(factor):
    environment = os.environ | {"TEST_PATIENCE": factor}
    code = "import testing.patience"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.strip() == f"TEST_PATIENCE must be a number from 1 to 100, not {factor!r}."


_WAITS = {"timeout", "open_timeout", "close_timeout", "ping_timeout"}


def _bare_waits(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.keyword) and node.arg in _WAITS:
            value = getattr(node.value, "value", None)
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield f"{file.relative_to(ROOT)}:{node.value.lineno}"


def test_every_time_out_of_a_client_follows_that_variable():
    files = [*ROOT.glob("testing/**/*.py"), *ROOT.glob("*/**/tests/*.py"), ROOT / "conftest.py"]
    files = [file for file in files if not {".venv", "node_modules"} & {*file.parts}]
    assert len(files) > 100
    found = [where for file in files for where in _bare_waits(file)]
    # A message that never comes is looked for; and SQLite's own wait for a lock.
    allowed = ("chat/tests/test_console.py", "holodrive/realtime/tests/test_failures.py")
    assert [where for where in found if not where.startswith(allowed)] == []
