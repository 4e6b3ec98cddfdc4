"""Chromium for tests, the distribution's own, driven by Playwright; and a real site for its pages.

While Playwright runs its loop in a thread, Django refuses the ORM there: what a test needs of the
database it makes before, or has another process do (`Site.shell`).
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.test import Client

from testing.parts import missing
from testing.server import ServerProcess
from testing.services import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PATIENCE = 15_000  # milliseconds
RECONNECT = 45_000  # two of the longest backoffs, and a start of the server
_NODE = ROOT / "testing" / "node"
_AXE = _NODE / "node_modules" / "axe-core" / "axe.min.js"
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


def context_of(
    browser: "Browser", site: Site, session: str = "", **options: Any
) -> "BrowserContext":
    """A profile of its own for pages of that site, logged in with that session; `options` are
    Playwright's: `locale`, say.
    """
    context = browser.new_context(base_url=site.url, **options)
    if session:
        name = settings.SESSION_COOKIE_NAME
        context.add_cookies([{"name": name, "value": session, "url": site.url}])
    return context


def accessibility_problems(page: "Page", *selectors: str) -> list[str]:
    """What axe-core finds wrong inside these elements as they are now: rule, element, and why. It
    is not a part of the page, so its policy does not stop it. An animation must have ended before.
    """
    if not _AXE.exists():
        npm = shutil.which("npm") or missing("Accessibility", "npm (Debian: npm)")
        install = [npm, "ci", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=_NODE, capture_output=True, timeout=120)
    if not _AXE.exists():
        missing("Accessibility", "axe-core (npm ci in testing/node)")
    page.evaluate(_AXE.read_text())
    result = page.evaluate(
        "selectors => axe.run({include: selectors.map(one => [one])})", list(selectors)
    )
    assert result["passes"], "axe looked at nothing"
    return [
        f"{problem['id']}: {node['html'][:120]}: {node['failureSummary']}"
        for problem in result["violations"]
        for node in problem["nodes"]
    ]
