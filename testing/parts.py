"""Programs that some tests need, and that not every machine has."""

import os
from typing import NoReturn

import pytest


def missing(what: str, *parts: str) -> NoReturn:
    """Under CI=true a failure: a test that did not run must not look like one that passed."""
    reason = f"{what} was not tested: no {', '.join(parts)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
