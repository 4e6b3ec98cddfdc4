"""What the tests of several clients share."""

from collections.abc import Callable
from typing import Any

import pytest

from chat.services import open_trip


@pytest.fixture
def rider(make_user: Callable[..., Any]) -> Any:
    return make_user("rider")


@pytest.fixture
def driver(make_user: Callable[..., Any]) -> Any:
    return make_user("driver")


@pytest.fixture
def chat(rider: Any, driver: Any) -> int:
    """The id of a conversation of rider and driver."""
    return open_trip(rider=rider, driver=driver).pk
