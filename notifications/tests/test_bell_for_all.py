"""The bell for everybody: keyboard, screen reader, languages and directions, narrow screens, less
motion; and under a strict Content-Security-Policy.
"""

from typing import Any

import pytest

from chat.models import Conversation
from notifications.tests.tabs import expect_unread, open_admin, ring, stop_clock
from testing.browser import accessibility_problems, expect_nothing_refused, tighten
from testing.client import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_escape_closes_the_panel_and_gives_the_focus_back(browser):
    from playwright.sync_api import expect

    page = open_admin(browser)
    bell, panel = page.locator("#bell"), page.locator("#bell-panel")
    bell.press("Enter")
    expect(panel).to_be_visible()
    expect(bell).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Tab")
    assert panel.evaluate("panel => panel.contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(bell).to_be_focused()
    expect(bell).to_have_attribute("aria-expanded", "false")
    bell.click()
    page.locator("#content").click(position={"x": 5, "y": 5})
    expect(panel).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_the_bell_closed_and_open(site, browser, admin, scheme):
    from playwright.sync_api import expect

    ring(admin, "Your driver is here")
    page = open_admin(browser)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    assert accessibility_problems(page, "#bell") == []
    page.click("#bell")
    expect(page.locator(".bell-row")).to_have_count(1)
    assert accessibility_problems(page, "#bell", "#bell-panel") == []
    page.locator("#bell").evaluate("bell => bell.removeAttribute('aria-label')")
    assert accessibility_problems(page, "#bell") != []  # so axe looks


@pytest.mark.parametrize(
    ("language", "name", "tab", "ago"),
    [
        ("ru", "Уведомления, 120 непрочитанных", "Непрочитанные", "только что"),
        ("uz", "Bildirishnomalar, 120 ta oʻqilmagan", "Oʻqilmaganlar", "hozirgina"),
    ],
)
def test_it_speaks_other_languages_and_fits_a_narrow_screen(
    log_in, admin, language, name, tab, ago
):
    from playwright.sync_api import expect

    for _ in range(120):
        ring(admin, "1")
    page = open_admin(log_in(admin, locale=language))
    page.set_viewport_size({"width": 360, "height": 640})
    expect(page.locator("#bell")).to_have_accessible_name(name)
    expect(page.locator(".bell-badge")).to_have_text("99+")
    assert page.title().startswith("(99+) ")
    page.click("#bell")
    expect(page.get_by_role("tab", name=tab)).to_be_visible()
    expect(page.locator(".bell-time").first).to_have_text(ago)
    box = page.locator("#bell-panel").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("width", [360, 1000])
def test_from_right_to_left_it_mirrors_and_stays_on_the_screen(browser, admin, width):
    from playwright.sync_api import expect

    page = open_admin(browser)
    page.set_viewport_size({"width": width, "height": 640})
    page.emulate_media(reduced_motion="reduce")
    page.evaluate("document.documentElement.dir = 'rtl'")
    stop_clock(page)
    ring(admin, "Your driver is here", message="and has been waiting for ten minutes. " * 5)

    def box(selector: str) -> tuple[float, float]:
        """Its left and right edge."""
        found = page.locator(selector).bounding_box()
        assert found is not None
        return found["x"], found["x"] + found["width"]

    expect(page.locator(".bell-toast")).to_have_count(1)
    left, right = box(".bell-toast")
    assert 0 < left < 40  # at the end of the line
    assert right <= width
    assert box(".bell-toast-close")[1] < box(".bell-toast-target")[1]
    page.clock.resume()
    page.click("#bell")
    left, right = box("#bell-panel")
    assert left >= 0
    assert right <= width
    bell = box("#bell")
    assert left <= bell[0] < bell[1] <= right  # hangs under the button
    assert box(".bell-title")[0] > box(".bell-read-all")[1]
    assert box(".bell-mark")[0] >= box(".bell-body")[1]
    assert box(".bell-read")[1] < box(".bell-mark")[0]
    assert box(".bell-sound")[0] > box(".bell-desktop")[1]
    knob = "button => parseFloat(getComputedStyle(button, '::after').right)"
    off = page.locator(".bell-sound").evaluate(knob)
    page.click(".bell-sound")
    assert page.locator(".bell-sound").evaluate(knob) > off
    assert page.evaluate("document.documentElement.scrollWidth") <= width


MOTION = """parts => parts.map(([selector, pseudo]) => {
    bell.classList.add("bell-rings");  // which by itself it has for less than a second
    const style = getComputedStyle(document.querySelector(selector), pseudo);
    return style.animationName !== "none" || parseFloat(style.transitionDuration) > 0;
})"""


def test_who_wants_less_motion_gets_none(browser, admin):
    from playwright.sync_api import expect

    page = open_admin(browser)

    def expect_motion(*parts: list[str | None]) -> None:
        for preference, moves in (("no-preference", True), ("reduce", False)):
            page.emulate_media(reduced_motion=preference)
            assert page.evaluate(MOTION, list(parts)) == [moves] * len(parts)

    stop_clock(page)
    ring(admin, "Your driver is here")
    expect(page.locator(".bell-toast")).to_have_count(1)
    expect_motion([".bell-toast", None], [".bell-icon", None], ["#bell", None])
    page.clock.resume()
    page.click("#bell")
    expect(page.locator(".bell-row")).to_have_count(1)
    expect_motion(["#bell-panel", None], [".bell-item", None], [".bell-sound", "::after"])


def test_everything_can_be_done_with_the_keyboard_alone(browser, admin):
    from playwright.sync_api import expect

    conversation = Conversation.objects.create()
    ring(admin, "New message", "conversation", conversation.pk)
    for title in ("Second", "First"):
        ring(admin, title)
    page = open_admin(browser)

    def tab_to(role: Any, name: str) -> Any:
        wanted = page.get_by_role(role, name=name)
        for _ in range(150):  # all links of the index may lie between
            page.keyboard.press("Tab")
            if wanted.evaluate_all("all => all.includes(document.activeElement)"):
                return page.locator(":focus")
        raise AssertionError(f"Tab does not lead to the {role} {name}")

    bell = tab_to("button", "Notifications, 3 unread")
    page.keyboard.press("Enter")
    rows = page.locator(".bell-row")
    expect(rows).to_have_count(3)
    tab_to("tab", "All")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Unread")).to_be_focused()
    tab_to("button", "First")
    page.keyboard.press("Enter")  # leads nowhere, so it is only read, and leaves the unread ones
    expect(rows).to_have_count(2)
    expect(rows.first.locator(".bell-item")).to_be_focused()
    tab_to("button", "Mark as read")
    page.keyboard.press("Space")
    expect_unread(page, 1)
    sound = tab_to("switch", "Sound")
    page.keyboard.press("Space")
    expect(sound).to_be_checked()
    tab_to("switch", "Desktop notifications")
    page.keyboard.press("Escape")
    expect(page.locator("#bell-panel")).to_be_hidden()
    expect(bell).to_be_focused()

    stop_clock(page)
    ring(admin, "Your driver waits")
    expect(page.locator(".bell-toast")).to_have_count(1)
    tab_to("button", "Dismiss")
    page.keyboard.press("Enter")
    expect(page.locator(".bell-toast")).to_have_count(0)
    page.clock.resume()
    expect_unread(page, 2)
    page.locator("#bell").focus()
    page.keyboard.press("Enter")
    tab_to("link", "New message")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/admin/chat/console/?conversation={conversation.pk}")


RECORD = """
window.shown = [];
window.Notification = class extends Notification {
    constructor(title, options) { super(title, options); shown.push(title); }
};
document.hasFocus = () => false;  // in Playwright, all pages have the focus
"""


def test_a_strict_content_security_policy_refuses_nothing(browser, admin):
    from playwright.sync_api import expect

    tighten(browser)
    browser.grant_permissions(["notifications"])
    browser.add_init_script(RECORD)
    tabs = leader, follower = open_admin(browser), open_admin(browser)
    leader.click("#bell")
    for switch in leader.get_by_role("switch").all():
        switch.click()
        expect(switch).to_be_checked()
    leader.keyboard.press("Escape")
    ring(admin, "Your driver is here")
    for page in tabs:
        expect(page.locator(".bell-toast")).to_have_text("Your driver is here")
    wait_until(lambda: sum(page.evaluate("shown.length") for page in tabs) == 1)
    follower.click("#bell")
    follower.get_by_role("tab", name="Unread").click()
    expect(follower.locator(".bell-is-unread")).to_have_count(1)
    follower.get_by_role("button", name="Mark all as read").click()
    for page in tabs:
        expect_unread(page, 0)
        expect_nothing_refused(page)


def test_a_strict_content_security_policy_lets_it_ask_over_rest(browser, admin):
    from playwright.sync_api import expect

    tighten(browser)
    page = browser.new_page()
    page.clock.install()
    page.route_web_socket("**/ws/notifications/**", lambda socket: socket.close())
    page.goto("/admin/")
    page.clock.run_for(16_000)
    expect(page.locator("#bell")).to_have_attribute("data-state", "blocked")
    ring(admin, "Comes by asking")
    page.clock.run_for(16_000)
    expect_unread(page, 1)
    page.locator(".bell-toast").get_by_role("button", name="Comes by asking").click()
    page.click("#bell")
    expect(page.locator(".bell-row")).to_have_count(1)
    expect_unread(page, 0)
    expect_nothing_refused(page)
