"""What the tests of the bell share."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext


@pytest.fixture
def admin(make_user) -> Any:
    return make_user("admin")


@pytest.fixture
def browser(log_in: Any, admin: Any) -> "BrowserContext":
    """A browser in which the admin is logged in."""
    context: BrowserContext = log_in(admin)
    return context
