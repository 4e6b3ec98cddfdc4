"""Tabs of the admin in a browser, and what rings in them."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from notifications.models import Notification

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


def ring(
    user: Any, title: str, related: str = "", related_id: int | None = None, **fields: Any
) -> None:
    """Save a notification, in another process than the server's."""
    Notification.objects.create(
        recipient=user,
        title=title,
        related_object_type=related,
        related_object_id=related_id,
        **fields,
    )


def open_admin(browser: "BrowserContext", path: str = "/admin/") -> "Page":
    """A new tab whose bell is connected."""
    from playwright.sync_api import expect

    page = browser.new_page()
    page.goto(path)
    expect(page.locator("#bell")).to_have_attribute("data-state", "live")
    return page


def expect_unread(page: "Page", count: int) -> None:
    from playwright.sync_api import expect

    badge = page.locator(".bell-badge")
    if count:
        expect(badge).to_have_text(str(count))
        expect(page.locator("#bell")).to_have_accessible_name(f"Notifications, {count} unread")
    else:
        expect(badge).to_be_hidden()
        expect(page.locator("#bell")).to_have_accessible_name("Notifications")
    expect(page).to_have_title(re.compile(rf"^\({count}\) " if count else r"^[^(]"))


def stop_clock(page: "Page") -> None:
    """Toasts stay, however long a test takes, and lists are not drawn, until `clock.resume()`."""
    page.clock.install()
    page.clock.pause_at(timezone.now() + timedelta(minutes=1))
