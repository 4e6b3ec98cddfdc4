"""Chromium for tests, the distribution's own, driven by Playwright; a real site for its pages."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.test import Client

from testing.client import wait_until
from testing.parts import missing
from testing.patience import patience
from testing.server import ServerProcess
from testing.services import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

STRICT = "default-src 'self'; connect-src 'self' ws: wss:"
PATIENCE = 1000 * patience(15)  # milliseconds
RECONNECT = 1000 * patience(45)  # two of the longest backoffs, and a start of the server
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
def running_chromium(what: str) -> Iterator["Browser"]:
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


def tighten(context: "BrowserContext") -> None:
    """Its pages of the admin come with the policy STRICT, and remember what that refused."""

    def strict(route: "Route") -> None:
        response = route.fetch()
        headers = {**response.headers, "content-security-policy": STRICT}
        route.fulfill(response=response, headers=headers)

    context.route("**/admin/**", strict)
    # To Chromium, a page that a route answers comes from nowhere, and so may not dial 127.0.0.1.
    context.grant_permissions(["local-network-access"])
    context.add_init_script(
        "window.refused = []; document.addEventListener('securitypolicyviolation', "
        "event => window.refused.push(`${event.violatedDirective} ${event.blockedURI}`))"
    )


def expect_nothing_refused(page: "Page") -> None:
    """By the policy of `tighten`; the page is of no use afterwards."""
    assert page.evaluate("window.refused") == []
    page.evaluate("document.body.setAttribute('style', 'color: red')")
    # The policy was in force. (It would refuse what `wait_for_function` evaluates, too.)
    wait_until(lambda: page.evaluate("window.refused.length") == 1)


def accessibility_problems(page: "Page", *selectors: str) -> list[str]:
    """What axe-core finds wrong inside these elements as they are now: rule, element, and why. It
    is not a part of the page, so its policy does not stop it. An animation must have ended before.
    """
    if not _AXE.exists():
        npm = shutil.which("npm") or missing("Accessibility", "npm (Debian: npm)")
        install = [npm, "ci", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=_NODE, capture_output=True, timeout=patience(120))
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
