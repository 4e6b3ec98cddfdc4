"""Chromium for tests, the distribution's own, driven by Playwright; and a real site for its pages.

While Playwright runs its loop in a thread, Django refuses the ORM there: what a test needs of the
database it makes before, or has another process do (`Site.shell`).
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.test import Client

from testing.parts import missing
from testing.server import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

PATIENCE = 15_000  # milliseconds
RECONNECT = 45_000  # two of the longest backoffs, and a start of the server
_OPTIONS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Site(ServerProcess):
    """Serves the static files as `make run` does."""

    def start(self) -> None:
        self.environment["DEBUG"] = "on"
        super().start()

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@contextmanager
def chromium(what: str) -> Iterator["Browser"]:
    """A running browser; `what` is not tested without one."""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        missing(what, "playwright (requirements-dev.txt)")
    program = shutil.which("chromium") or missing(what, "chromium (Debian: chromium)")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_OPTIONS)
        yield browser
        browser.close()


def session_of(user: Any) -> str:
    """The cookie of a new login."""
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def context_of(browser: "Browser", site: Site, session: str = "") -> "BrowserContext":
    """A profile of its own for pages of that site, logged in with that session."""
    context = browser.new_context(base_url=site.url)
    if session:
        name = settings.SESSION_COOKIE_NAME
        context.add_cookies([{"name": name, "value": session, "url": site.url}])
    return context
