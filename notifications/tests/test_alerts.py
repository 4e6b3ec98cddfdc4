"""Sound and desktop notifications of the bell, in a real Chromium. Its Web Audio is real, only
counted when a tone has ended; the system's notifications are recorded: no test sees a desktop.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction
from django.utils import timezone

from chat.models import Conversation
from notifications import services
from notifications.tests.tabs import expect_unread, open_admin, ring
from testing.browser import RECONNECT
from testing.client import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.django_db(transaction=True)

RECORD = """
window.tones = 0;
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (at) {
    this.addEventListener("ended", () => window.tones++);
    return start.call(this, at);
};
window.popups = [];
window.Notification = class {
    static get permission() { return localStorage.permission ?? "default"; }
    static async requestPermission() {
        return localStorage.permission = localStorage.answer ?? "granted";
    }
    constructor(title, options) {
        Object.assign(this, options, {title});
        window.popups.push(this);
    }
    close() { this.isClosed = true; this.onclose?.(); }
};
document.hasFocus = () => window.isLookedAt ?? false;  // in Playwright, all pages have the focus
"""
TONES = 2  # of one sound


@pytest.fixture
def tabs(browser: "BrowserContext") -> list["Page"]:
    """Two tabs of one browser, with RECORD."""
    browser.add_init_script(RECORD)
    browser.clock.install()
    return [open_admin(browser), open_admin(browser)]


def turn_on(page: "Page", name: str) -> None:
    from playwright.sync_api import expect

    page.click("#bell")
    switch = page.get_by_role("switch", name=name)
    expect(switch).not_to_be_checked()
    switch.click()
    expect(switch).to_be_checked()
    page.keyboard.press("Escape")


def tell(*tabs: "Page") -> None:
    """What each tab has gathered is told now, or it never is."""
    for page in tabs:
        page.clock.run_for(1_000)
        page.evaluate("navigator.locks.query().then(() => 0)")  # what was asked before is answered


def tones(tabs: list["Page"]) -> int:
    return sum(page.evaluate("window.tones") for page in tabs)


def expect_tones(tabs: list["Page"], count: int) -> None:
    """So many in all tabs together."""
    tell(*tabs)
    wait_until(lambda: tones(tabs) >= count)
    assert tones(tabs) == count


def popups(tabs: list["Page"], what: str = "title") -> list[str]:
    """In all tabs together."""
    tell(*tabs)
    script = "what => window.popups.map(popup => popup[what])"
    return [one for page in tabs for one in page.evaluate(script, what)]


def look_at(page: "Page", is_looked_at: bool) -> None:
    page.evaluate(
        "isLookedAt => { window.isLookedAt = isLookedAt;"
        " dispatchEvent(new Event(isLookedAt ? 'focus' : 'blur')); }",
        is_looked_at,
    )
    page.evaluate("navigator.locks.query().then(() => 0)")


def ring_in(tabs: list["Page"], user: Any, title: str, unread: int, **fields: Any) -> None:
    """Save a notification, and wait until each tab has it: so many are unread then."""
    ring(user, title, **fields)
    for page in tabs:
        expect_unread(page, unread)


def test_one_of_two_tabs_sounds_and_only_after_a_click(tabs, admin):
    ring_in(tabs, admin, "Nobody has asked for a sound", 1)
    expect_tones(tabs, 0)
    turn_on(tabs[1], "Sound")
    expect_tones(tabs, TONES)  # what it will be like
    for count in (2, 3, 4):
        ring_in(tabs, admin, f"Number {count}", count)
        expect_tones(tabs, count * TONES)
    silent, speaker = sorted(tabs, key=lambda page: page.evaluate("window.tones"))
    speaker.close()
    before = tones([silent])
    silent.click("#content", position={"x": 5, "y": 5})  # without one, no browser lets it sound
    ring_in([silent], admin, "The other tab takes over", 5)
    expect_tones([silent], before + TONES)
    silent.click("#bell")
    silent.get_by_role("switch", name="Sound").click()
    ring_in([silent], admin, "Turned off again", 6)
    expect_tones([silent], before + TONES)


def test_the_choice_is_remembered_on_the_next_page_and_in_other_tabs(tabs):
    from playwright.sync_api import expect

    for name in ("Sound", "Desktop notifications"):
        turn_on(tabs[0], name)
    tabs[0].goto("/admin/accounts/user/")
    for page in tabs:
        page.click("#bell")
        expect(page.get_by_role("switch", checked=True)).to_have_count(2)


def test_the_desktop_is_told_once_and_only_while_nobody_looks(tabs, admin):
    turn_on(tabs[1], "Desktop notifications")
    look_at(tabs[1], True)
    ring_in(tabs, admin, "Seen in a tab", 1)
    assert popups(tabs) == []
    look_at(tabs[1], False)
    ring_in(tabs, admin, "Not seen", 2)
    assert popups(tabs) == ["Not seen"]
    with transaction.atomic():
        for number in (3, 4, 5):
            ring(admin, f"Number {number}")
    for page in tabs:
        expect_unread(page, 5)
    assert popups(tabs) == ["Not seen", "3 new notifications"]
    assert popups(tabs, "body") == ["", "Number 3\nNumber 4\nNumber 5"]
    assert popups(tabs, "isClosed") == [None, None]
    services.mark_all_read(user=admin)  # on a telephone, say
    for page in tabs:
        expect_unread(page, 0)
    assert popups(tabs, "isClosed") == [True, True]


def test_a_click_on_the_desktop_reads_and_opens_the_object(tabs, admin):
    from playwright.sync_api import expect

    conversation = Conversation.objects.create()
    turn_on(tabs[0], "Desktop notifications")
    fields = {"related": "conversation", "related_id": conversation.pk}
    ring_in(tabs, admin, "New message", 1, **fields)
    assert popups(tabs) == ["New message"]
    speaker, other = sorted(tabs, key=lambda page: -page.evaluate("window.popups.length"))
    speaker.evaluate("window.popups[0].onclick()")
    speaker.wait_for_url(f"**/admin/chat/console/?conversation={conversation.pk}")
    expect_unread(other, 0)

    other.goto("/admin/accounts/user/add/")
    other.fill("#id_username", "half-written")
    speaker.close()
    expect(other.locator("#bell")).to_have_attribute("data-state", "live")
    ring_in([other], admin, "New message", 1, **fields)
    assert popups([other]) == ["New message"]
    with other.expect_popup() as opened:  # what is not saved yet stays
        other.evaluate("window.popups[0].onclick()")
    opened.value.wait_for_url(f"**/admin/chat/console/?conversation={conversation.pk}")
    expect(other.locator("#id_username")).to_have_value("half-written")


def test_what_is_caught_up_on_later_than_a_minute_is_no_news(site, tabs, admin):
    from playwright.sync_api import expect

    long_ago = timezone.now() - timedelta(minutes=2)
    turn_on(tabs[0], "Desktop notifications")
    ring_in(tabs, admin, "Happens now, by whatever clock", 1, created_at=long_ago)
    assert popups(tabs) == ["Happens now, by whatever clock"]
    site.kill()
    expect(tabs[0].locator("#bell")).to_have_attribute("data-state", "waiting")
    ring(admin, "Long ago", created_at=long_ago)
    ring(admin, "A moment ago")
    site.start()
    for page in tabs:
        page.evaluate("dispatchEvent(new Event('online'))")
        expect(page.locator("#bell")).to_have_attribute("data-state", "live", timeout=RECONNECT)
        expect_unread(page, 3)
    assert popups(tabs) == ["Happens now, by whatever clock", "A moment ago"]


@pytest.mark.parametrize(
    ("before", "names", "words"),
    [
        (
            "localStorage.answer = 'denied'",
            ["Desktop notifications"],
            "The browser blocks notifications of this site. "
            "Its settings for this site can allow them.",
        ),
        (
            "localStorage.answer = 'default'",
            ["Desktop notifications"],
            "The browser was not allowed to show notifications.",
        ),
        (
            "delete window.Notification",
            ["Desktop notifications"],
            "This browser shows no desktop notifications.",
        ),
        (
            "Object.defineProperty(navigator, 'locks', {value: undefined})",
            ["Sound", "Desktop notifications"],
            "Sound and desktop notifications need a page on https.",
        ),
    ],
)
def test_what_cannot_be_turned_on_says_why(browser, before, names, words):
    from playwright.sync_api import expect

    browser.add_init_script(RECORD)
    browser.add_init_script(f"if (location.protocol === 'http:') {before}")
    page = open_admin(browser)
    page.click("#bell")
    hint = page.locator("#bell-hint")
    for name in names:
        expect(hint).to_be_hidden()
        switch = page.get_by_role("switch", name=name)
        switch.click()
        expect(hint).to_have_text(words)
        expect(switch).not_to_be_checked()
        expect(switch).to_have_accessible_description(words)
        page.keyboard.press("Escape")
        page.click("#bell")


def test_a_permission_that_was_taken_back_is_said(tabs):
    from playwright.sync_api import expect

    turn_on(tabs[0], "Desktop notifications")
    tabs[0].evaluate("localStorage.permission = 'denied'")
    tabs[0].reload()
    tabs[0].click("#bell")
    expect(tabs[0].get_by_role("switch", name="Desktop notifications")).not_to_be_checked()
    expect(tabs[0].locator("#bell-hint")).to_contain_text("The browser blocks notifications")
