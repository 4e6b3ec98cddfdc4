"""A pytest plugin: with --outcomes=FILE it writes down how a run ended, for `make test` to read."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Outcomes(NamedTuple):
    """`failed`: the first traceback of each test that failed, by node id. `broken`: whether files
    could not even be collected.
    """

    passed: int = 0
    skipped: int = 0
    failed: dict[str, str] = {}  # noqa: RUF012 - read only
    broken: bool = False


def read(file: Path) -> Outcomes | None:
    """The outcomes that a run has left in this file; None if it did not come to its end."""
    text = file.read_text() if file.exists() else ""
    return Outcomes(**json.loads(text)) if text else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", metavar="FILE", help="write down what passed and what failed")


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--outcomes")
    if file and not hasattr(config, "workerinput"):  # a worker of xdist reports to its controller
        config.pluginmanager.register(_Recorder(Path(file)))


class _Recorder:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._passed = self._skipped = 0
        self._failed: dict[str, str] = {}
        self._broken = False

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._failed.setdefault(report.nodeid, report.longreprtext)
        elif report.skipped:
            self._skipped += 1
        elif report.when == "call":
            self._passed += 1

    def pytest_collectreport(self, report: Any) -> None:
        self._broken |= report.failed

    def pytest_sessionfinish(self) -> None:
        outcomes = Outcomes(self._passed, self._skipped, self._failed, self._broken)
        self._file.write_text(json.dumps(outcomes._asdict()))
