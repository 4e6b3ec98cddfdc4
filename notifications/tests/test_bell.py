"""The bell in a real Chromium, against a real server process, and against a mocked socket."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from chat.models import Conversation, Message
from chat.services import open_support
from notifications.tests.tabs import expect_unread, open_admin, ring, stop_clock
from testing.browser import (
    PATIENCE,
    RECONNECT,
    Site,
    accessibility_problems,
)
from testing.client import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocketRoute

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_save_in_another_process_rings(site, browser, admin):
    from playwright.sync_api import expect

    page = open_admin(browser)
    page.click("#bell")
    expect(page.get_by_text("You’re all caught up")).to_be_visible()
    expect_unread(page, 0)
    ring(admin, "<b>Your driver</b> is here")
    expect(page.locator(".bell-row-title")).to_have_text(["<b>Your driver</b> is here"])
    expect(page.get_by_role("status")).to_have_text("New notification: <b>Your driver</b> is here")
    expect_unread(page, 1)


def test_the_next_page_knows_the_count_and_the_list(site, browser, admin):
    from playwright.sync_api import expect

    ring(admin, "Saved while nobody looked")
    page = open_admin(browser)
    expect_unread(page, 1)
    page.click("#bell")
    expect(page.locator(".bell-row-title")).to_have_text(["Saved while nobody looked"])


def test_of_a_message_it_shows_what_was_said(site, browser, admin, make_user):
    from playwright.sync_api import expect

    rider = make_user("rider", first_name="Malika", last_name="Yusupova")
    page = open_admin(browser)
    stop_clock(page)
    asked = open_support(user=rider).conversation
    long = "I have been waiting at the north gate for twenty minutes"
    for text in ("I am here", "I wait...", long):
        Message(conversation=asked, sender=rider, text=text).save()
    expect(page.locator(".bell-toast-title").last).to_have_text("New message from Malika Yusupova")
    expect(page.locator(".bell-toast-message").last).to_have_text(f"{long[:50]}...")
    page.clock.resume()
    page.click("#bell")
    shown = [f"{long[:50]}...", "I wait...", "I am here"]
    expect(page.locator(".bell-row-message")).to_have_text(shown)
    as_stored = "New message in conversation: I am here..."
    ring(admin, "Not a message", message=as_stored, notification_type="general")
    expect(page.locator(".bell-row-message")).to_have_text([as_stored, *shown])


def test_times_go_on_while_nobody_touches_the_page(site, browser, admin):
    from playwright.sync_api import expect

    ring(admin, "Your driver is here", created_at=timezone.now() - timedelta(minutes=2, seconds=5))
    page = browser.new_page()
    page.clock.install()
    page.goto("/admin/")
    page.click("#bell")
    time = page.locator(".bell-time")
    expect(time).to_have_text("2 min ago")
    page.clock.fast_forward("05:00")
    expect(time).to_have_text("7 min ago")
    page.clock.fast_forward("02:00:00")
    expect(time).to_have_text("2 h ago")
    page.keyboard.press("Escape")
    page.clock.fast_forward("24:00:00")
    page.click("#bell")
    expect(time).to_have_text("1 d ago")


def test_reading_in_one_tab_clears_the_other(site, browser, admin):
    from playwright.sync_api import expect

    one, other = open_admin(browser), open_admin(browser)
    ring(admin, "First")
    ring(admin, "Second")
    for page in (one, other):
        expect_unread(page, 2)
        page.click("#bell")
    one.get_by_role("button", name="First").click()
    for page in (one, other):
        expect_unread(page, 1)
        expect(page.locator(".bell-is-unread .bell-row-title")).to_have_text(["Second"])
    other.get_by_role("button", name="Mark all as read").click()
    for page in (one, other):
        expect_unread(page, 0)
        expect(page.locator(".bell-is-unread")).to_have_count(0)
        expect(page.locator(".bell-row")).to_have_count(2)


def test_reading_in_one_browser_clears_another(log_in, admin):
    from playwright.sync_api import expect

    pages = []
    for _ in range(2):
        browser = log_in(admin)  # shares nothing with the other but the user
        page = browser.new_page()
        with page.expect_websocket():  # one of its own
            page.goto("/admin/")
        expect(page.locator("#bell")).to_have_attribute("data-state", "live")
        pages.append(page)
    one, other = pages
    stop_clock(other)
    ring(admin, "First")
    ring(admin, "Second")
    ring(admin, "Third")
    for page in pages:
        expect_unread(page, 3)
    expect(other.locator(".bell-toast")).to_have_count(3)
    one.click("#bell")
    one.get_by_role("button", name="Second").click()
    expect_unread(other, 2)
    expect(other.locator(".bell-toast-title")).to_have_text(["First", "Third"])
    other.clock.resume()
    other.click("#bell")
    expect(other.locator(".bell-is-unread .bell-row-title")).to_have_text(["Third", "First"])
    other.get_by_role("button", name="Mark all as read").click()
    expect_unread(one, 0)
    expect(one.locator(".bell-is-unread")).to_have_count(0)


def test_tabs_share_one_socket_and_the_next_one_takes_over(site, browser, admin):
    from playwright.sync_api import expect

    dialled: list[str] = []
    browser.on("page", lambda page: page.on("websocket", lambda socket: dialled.append(socket.url)))
    first, second, third = (open_admin(browser) for _ in range(3))
    assert len(dialled) == 1
    ring(admin, "To all")
    for page in (first, second, third):
        expect_unread(page, 1)
    third.click("#bell")
    third.get_by_role("button", name="Mark as read").click()  # a follower's command
    for page in (first, second, third):
        expect_unread(page, 0)
    first.close()
    ring(admin, "While the lock changes hands")
    for page in (second, third):
        expect_unread(page, 1)
        expect(page.locator("#bell")).to_have_attribute("data-state", "live")
    ring(admin, "After")
    expect(third.locator(".bell-row-title")).to_have_text(
        ["After", "While the lock changes hands", "To all"]
    )
    assert len(dialled) == 2


def test_without_web_locks_each_tab_has_a_socket_and_rings(site, browser, admin):
    from playwright.sync_api import expect

    browser.add_init_script("delete Navigator.prototype.locks")
    dialled: list[str] = []
    browser.on("page", lambda page: page.on("websocket", lambda socket: dialled.append(socket.url)))
    tabs = [open_admin(browser) for _ in range(2)]
    assert [page.evaluate("navigator.locks === undefined") for page in tabs] == [True, True]
    assert len(dialled) == 2
    ring(admin, "Your driver is here")
    for page in tabs:
        expect_unread(page, 1)
    tabs[0].close()
    ring(admin, "Your driver waits")  # nothing has to be taken over
    expect_unread(tabs[1], 2)
    tabs[1].click("#bell")
    expect(tabs[1].locator(".bell-row-title")).to_have_text(
        ["Your driver waits", "Your driver is here"]
    )
    assert len(dialled) == 2


def test_a_click_reads_and_leads_to_the_related_object(site, browser, admin):
    conversation = Conversation.objects.create()
    ring(admin, "New message", "conversation", conversation.pk)
    page, other = open_admin(browser), open_admin(browser)
    expect_unread(other, 1)
    page.click("#bell")
    page.get_by_role("link", name="New message").click()
    page.wait_for_url(f"**/admin/chat/console/?conversation={conversation.pk}")
    expect_unread(other, 0)


def test_tabs_endless_scrolling_and_marking_one(site, browser, admin):
    from playwright.sync_api import expect

    for number in range(1, 131):
        ring(admin, f"Number {number}", status="unread" if number % 50 == 5 else "read")
    page = open_admin(browser)
    expect_unread(page, 3)
    page.click("#bell")
    rows = page.locator(".bell-row")
    expect(rows).to_have_count(20)
    for count in (40, 60):
        # At once: what a wheel has still to go would bring the page after the next, too.
        page.locator(".bell-scroll").evaluate("list => list.scrollTop = list.scrollHeight")
        expect(rows).to_have_count(count)

    page.get_by_role("tab", name="All").press("ArrowRight")
    expect(page.get_by_role("tab", name="Unread")).to_be_focused()
    titles = page.locator(".bell-row-title")
    expect(titles).to_have_text(["Number 105", "Number 55", "Number 5"])
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(rows.nth(1).get_by_role("button", name="Mark as read")).to_be_focused()
    page.keyboard.press("Enter")
    expect(titles).to_have_text(["Number 105", "Number 5"])
    expect(rows.nth(1).locator(".bell-item")).to_be_focused()
    expect_unread(page, 2)
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.get_by_text("You’re all caught up")).to_be_visible()


def test_a_toast_tells_of_a_new_one_in_a_closed_panel(site, browser, admin):
    from playwright.sync_api import expect

    page = open_admin(browser)
    page.emulate_media(reduced_motion="reduce")
    toast = page.locator(".bell-toast")
    ring(admin, "Your driver is here")
    toast.hover()  # under the pointer it stays, however long axe takes
    expect(toast).to_have_text("Your driver is here")
    assert accessibility_problems(page, "#bell-toasts") == []
    toast.get_by_role("button", name="Dismiss").click()
    expect(toast).to_have_count(0)
    expect_unread(page, 1)
    ring(admin, "Your driver waits")
    toast.get_by_role("button", name="Your driver waits").click()
    expect_unread(page, 1)
    ring(admin, "Your driver left")
    expect(toast).to_have_count(1)
    page.click("#bell")
    expect(toast).to_have_count(0)


def test_a_toast_goes_by_itself_but_not_from_under_the_pointer(site, browser, admin):
    from playwright.sync_api import expect

    page = open_admin(browser)
    stop_clock(page)
    ring(admin, "Your driver is here")
    ring(admin, "Your driver waits")
    toast = page.locator(".bell-toast")
    expect(toast).to_have_count(2)
    toast.last.hover()
    page.clock.run_for(7_000)
    expect(toast).to_have_text(["Your driver waits"])
    page.mouse.move(0, 0)
    page.clock.run_for(7_000)
    expect(toast).to_have_count(0)
    expect_unread(page, 2)


def test_what_was_saved_while_the_server_was_dead_comes_exactly_once(site, browser, admin):
    from playwright.sync_api import expect

    page = open_admin(browser)
    page.click("#bell")
    ring(admin, "Before")
    expect_unread(page, 1)
    site.kill()
    expect(page.locator(".bell-state")).to_have_text("Reconnecting…")
    ring(admin, "Meanwhile")
    page.get_by_role("button", name="Before").click()  # is sent when there is a connection again
    site.start()
    expect(page.locator(".bell-state")).to_be_hidden(timeout=RECONNECT)
    expect_unread(page, 1)
    ring(admin, "After")
    expect(page.locator(".bell-row-title")).to_have_text(["After", "Meanwhile", "Before"])
    expect(page.locator(".bell-is-unread .bell-row-title")).to_have_text(["After", "Meanwhile"])
    expect_unread(page, 2)
    expect_unread(open_admin(browser), 2)  # so the click has reached the server


SAVE = (
    "from notifications.models import Notification; "
    "Notification.objects.create(recipient_id={}, title={!r})"
)


@pytest.mark.parametrize(("harm", "mend"), [("kill", "start"), ("freeze", "thaw")])
def test_without_valkey_it_misses_nothing_and_rings_exactly_once(
    valkey, start_site, log_in, admin, harm, mend
):
    from playwright.sync_api import expect

    site = start_site(REDIS_URL=valkey.url)
    browser = log_in(admin, site)
    page, other = open_admin(browser), open_admin(browser)
    page.evaluate("window.rung = []")
    page.evaluate(
        "new MutationObserver(changes => changes.forEach(({addedNodes: [toast]}) =>"
        " toast && rung.push(toast.querySelector('.bell-toast-title').textContent)))"
        ".observe(document.getElementById('bell-toasts'), {childList: true})"
    )
    state = page.locator(".bell-state")

    def save(title: str) -> None:
        site.shell(SAVE.format(admin.pk, title))  # with the site's own Valkey

    save("Before")
    expect_unread(other, 1)
    getattr(valkey, harm)()
    save("Without Valkey")
    expect_unread(other, 2)
    expect(page.locator("#bell")).to_have_attribute("data-state", "live")
    expect(state).to_have_text("")
    site.kill()
    expect(state).to_have_text("Reconnecting…")
    save("Without anything")
    site.start()
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(state).to_have_text("", timeout=RECONNECT)
    expect_unread(other, 3)
    getattr(valkey, mend)()
    save("After")
    for tab in (page, other):
        expect_unread(tab, 4)
    titles = ["Before", "Without Valkey", "Without anything", "After"]
    assert page.evaluate("rung") == titles
    other.click("#bell")
    expect(other.locator(".bell-row-title")).to_have_text(titles[::-1])


@pytest.fixture
def split_site(start_site: Callable[..., Site]) -> tuple[Site, Site]:
    """Pages on 127.0.0.1, sockets on localhost and another port: no cookie goes from one to the
    other.
    """
    sockets = start_site()
    return start_site(WEBSOCKET_URL=f"localhost:{sockets.port}"), sockets


def test_sockets_on_another_host_are_opened_with_tickets(split_site, log_in, admin):
    from playwright.sync_api import expect

    pages, sockets = split_site
    page = log_in(admin, pages).new_page()
    dialled: list[Any] = []
    page.on("websocket", lambda socket: dialled.append(urlsplit(socket.url)))
    page.goto("/admin/")
    expect(page.locator("#bell")).to_have_attribute("data-state", "live")
    page.click("#bell")
    ring(admin, "First")
    expect(page.locator(".bell-row-title")).to_have_text(["First"])
    sockets.kill()
    expect(page.locator(".bell-state")).to_have_text("Reconnecting…")
    ring(admin, "Second")
    sockets.start()
    expect(page.locator(".bell-row-title")).to_have_text(["Second", "First"], timeout=RECONNECT)
    assert {url.netloc for url in dialled} == {f"localhost:{sockets.port}"}
    tickets = [parse_qs(url.query)["ticket"][0] for url in dialled]
    assert len(set(tickets)) == len(tickets) >= 2


def test_a_session_that_ended_gets_no_ticket_and_is_signed_out(split_site, log_in, admin):
    from playwright.sync_api import expect

    pages, sockets = split_site
    browser = log_in(admin, pages)
    page = browser.new_page()
    page.goto("/admin/")
    expect(page.locator("#bell")).to_have_attribute("data-state", "live")
    browser.clear_cookies()
    sockets.kill()
    expect(page.locator("#bell")).to_have_attribute("data-state", "signed-out", timeout=RECONNECT)


def test_on_the_pages_own_host_no_ticket_is_asked_for(site, browser):
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_websocket() as socket:
        page.goto("/admin/")
    assert "ticket" not in socket.value.url
    assert [url for url in asked if "ticket" in url] == []


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/accounts/user/add/?_popup=1"])
def test_there_is_no_bell_in_pop_ups_and_when_logged_out(browser, path):
    if "login" in path:
        browser.clear_cookies()
    page = browser.new_page()
    page.goto(path)
    assert page.locator("form").count() > 0
    assert page.locator("[id^=bell], [href*='bell'], [src*='bell']").count() == 0


def test_where_sockets_are_blocked_it_asks_over_rest_and_says_so(site, browser, admin):
    from playwright.sync_api import expect

    page = browser.new_page()
    page.clock.install()
    page.route_web_socket("**/ws/notifications/**", lambda socket: socket.close())
    page.goto("/admin/")
    page.click("#bell")
    page.clock.run_for(16_000)
    expect(page.locator(".bell-state")).to_have_text(
        "Live updates are blocked here - checking every 15 seconds"
    )
    ring(admin, "Comes by asking")
    ring(admin, "And another")
    page.clock.run_for(16_000)
    expect_unread(page, 2)
    page.get_by_role("button", name="Comes by asking").click()
    expect_unread(page, 1)
    page.get_by_role("button", name="Mark all as read").click()
    expect_unread(page, 0)
    page.clock.run_for(16_000)
    expect_unread(page, 0)
    other = browser.new_page()  # follows the first, and has the server's count
    other.goto("/admin/")
    expect(other.locator("#bell")).to_have_attribute("data-state", "blocked")
    expect_unread(other, 0)


# What only a server of one's own can say


class MockedServer:
    """Answers the page's sockets: first frame and `resumed`, then `then(server, socket)`."""

    def __init__(self, page: "Page", then: Callable[..., None], *, recovers: bool = True) -> None:
        self.page = page
        self.asked: list[int] = []
        self.commands: list[dict[str, Any]] = []
        self._then = then
        self._recovers = recovers
        page.route_web_socket("**/ws/notifications/**", self._answer)

    def _answer(self, socket: "WebSocketRoute") -> None:
        last_seq = int(parse_qs(urlsplit(socket.url).query)["last_seq"][0])
        self.asked.append(last_seq)
        socket.on_message(lambda text: self._obey(socket, json.loads(text)))
        self.send(
            socket,
            "connection_established",
            last_seq=last_seq,
            unread_count=0,
            heartbeat_interval=25,
        )
        self.send(socket, "resumed", recovered=self._recovers or len(self.asked) > 1)
        self._then(self, socket)

    def _obey(self, socket: "WebSocketRoute", command: dict[str, Any]) -> None:
        if command["type"] == "notification_seen":  # whenever something can be seen; see push/tests
            return
        self.commands.append(command)
        if command["type"] == "resume":
            for seq in range(command["last_seq"] + 1, 4):
                self.notify(socket, seq)
            self.send(socket, "resumed", recovered=True)

    def send(self, socket: "WebSocketRoute", kind: str, **fields: Any) -> None:
        socket.send(json.dumps({"type": kind, **fields}))

    def notify(
        self, socket: "WebSocketRoute", seq: int, *, id: int | None = None, title: str = ""
    ) -> None:
        body = {
            "id": id or seq,
            "title": title or f"Number {id or seq}",
            "message": "",
            "notification_type": "general",
            "related_object_type": "",
            "related_object_id": None,
            "data": {},
            "created_at": "2025-11-22T13:15:22.970153+00:00",
            "status": "unread",
        }
        self.send(socket, "notification", notification=body, seq=seq, unread_count=seq)

    def was_told(self, *commands: dict[str, Any]) -> None:
        self._wait(lambda: self.commands == list(commands), lambda: f"{self.commands}")

    def was_asked(self, *last_seqs: int) -> None:
        self._wait(lambda: self.asked == list(last_seqs), lambda: f"{self.asked}")

    def _wait(self, condition: Callable[[], bool], found: Callable[[], str]) -> None:
        # Looking at the page lets Playwright deliver what it has sent.
        look = partial(self.page.evaluate, "true")
        wait_until(lambda: look() and condition(), PATIENCE / 1000, explain=found)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (4400, "Not connected - reload the page"),
        (4403, "Not connected - reload the page"),
        (4404, "Not connected - reload the page"),
    ],
)
def test_a_final_close_is_said_and_never_retried(browser, code, text):
    from playwright.sync_api import expect

    page = browser.new_page()
    page.clock.install()
    server = MockedServer(page, lambda server, socket: socket.close(code=code))
    page.goto("/admin/")
    expect(page.locator(".bell-state")).to_have_text(text)
    page.clock.run_for(120_000)
    server.was_asked(0)


def test_without_a_session_it_says_so_leads_to_the_login_and_goes_on_by_itself(browser):
    from playwright.sync_api import expect

    def refuse_three(server, socket):
        if len(server.asked) <= 3:
            socket.close(code=4401)

    page = browser.new_page()
    page.clock.install()
    server = MockedServer(page, refuse_three)
    page.goto("/admin/?all")
    page.click("#bell")
    expect(page.locator(".bell-state")).to_have_text("Signed out Log in")
    login = page.get_by_role("link", name="Log in")
    expect(login).to_have_attribute("href", "/admin/login/?next=%2Fadmin%2F%3Fall")
    page.clock.run_for(2_000)
    server.was_asked(0, 0)
    page.clock.run_for(8_000)
    server.was_asked(0, 0, 0)
    page.evaluate("dispatchEvent(new Event('focus'))")
    page.clock.run_for(1_000)
    server.was_asked(0, 0, 0, 0)
    expect(page.locator(".bell-state")).to_be_hidden()


PASSWORD = "a good password 1"


def log_in_by_hand(page: "Page", user: Any) -> None:
    page.fill("#id_username", user.get_username())
    page.fill("#id_password", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_selector("#bell")


def test_another_password_in_a_second_tab_ends_nothing_in_the_first(site, log_in, make_user):
    from playwright.sync_api import expect

    user = make_user("admin", password=PASSWORD)
    browser = log_in(user)
    page, second = open_admin(browser), browser.new_page()
    second.goto("/admin/password_change/")
    second.fill("#id_old_password", PASSWORD)
    for number in (1, 2):
        second.fill(f"#id_new_password{number}", f"{PASSWORD}, another")
    with page.expect_websocket():  # the session is a new one, and so is the socket
        second.click("#content [type=submit]")
    expect(page.locator("#bell")).to_have_attribute("data-state", "live")
    ring(user, "After")
    expect_unread(page, 1)


def test_the_login_of_another_user_shows_nothing_of_theirs_in_the_first_tab(
    site, log_in, make_user
):
    from playwright.sync_api import expect

    user, other = (make_user("admin", password=PASSWORD) for _ in range(2))
    browser = log_in(user)
    page, follower, second = open_admin(browser), open_admin(browser), open_admin(browser)
    ring(other, "For the other")
    second.click("#logout-form button")
    expect(page.locator("#bell")).to_have_attribute("data-state", "signed-out")
    second.goto("/admin/login/")
    log_in_by_hand(second, other)
    expect_unread(second, 1)
    for tab in (page, follower):
        expect(tab.locator("#bell")).to_have_attribute("data-state", "stopped")
        expect(tab.locator("#bell")).to_have_attribute(
            "title", "Another user is logged in now - reload the page"
        )
        tab.click("#bell")
        expect(tab.locator(".bell-row")).to_have_count(0)
        expect_unread(tab, 0)


def test_a_restart_is_waited_for_as_long_as_the_server_says(browser):
    from playwright.sync_api import expect

    def restart_once(server, socket):
        if len(server.asked) == 1:
            server.send(socket, "reconnect", delay_ms=90_000)
            socket.close(code=1012)

    page = browser.new_page()
    page.clock.install()
    server = MockedServer(page, restart_once)
    page.goto("/admin/")
    expect(page.locator(".bell-state")).to_have_text("Reconnecting…")
    page.clock.run_for(70_000)
    server.was_asked(0)
    page.clock.run_for(20_000)
    server.was_asked(0, 0)
    expect(page.locator(".bell-state")).to_be_hidden()


def test_a_silent_socket_is_asked_and_without_an_answer_given_up(browser):
    page = browser.new_page()
    page.clock.install()
    server = MockedServer(page, lambda server, socket: server.notify(socket, 1))
    page.goto("/admin/")
    expect_unread(page, 1)
    page.clock.run_for(50_000)  # two heartbeats
    server.was_told({"type": "ping"})
    server.was_asked(0)
    page.clock.run_for(10_500)  # the time to answer, and the longest first backoff
    server.was_asked(0, 1)


def test_a_jump_in_seq_is_filled_and_what_comes_twice_falls(browser):
    from playwright.sync_api import expect

    def jump(server, socket):
        server.notify(socket, 1)
        server.notify(socket, 1, id=9)
        server.notify(socket, 3)

    page = browser.new_page()
    server = MockedServer(page, jump)
    page.goto("/admin/")
    expect_unread(page, 3)
    server.was_told({"type": "resume", "last_seq": 1})
    page.click("#bell")
    expect(page.locator(".bell-row-title")).to_have_text(["Number 3", "Number 2", "Number 1"])


def test_an_edit_changes_the_row_and_rings_no_second_time(browser):
    from playwright.sync_api import expect

    sockets = []
    page = browser.new_page()
    page.clock.install()
    server = MockedServer(page, lambda server, socket: sockets.append(socket))
    page.goto("/admin/")
    page.click("#bell")
    server.was_asked(0)
    server.notify(sockets[0], 1)
    server.notify(sockets[0], 2)
    expect(page.locator(".bell-row-title")).to_have_text(["Number 2", "Number 1"])
    page.clock.run_for(2_000)
    expect(page.get_by_role("status")).to_have_text("2 new notifications")
    page.locator("#bell").evaluate("bell => bell.classList.remove('bell-rings')")

    server.notify(sockets[0], 3, id=2, title="Number 2, edited")
    server.notify(sockets[0], 4, id=1, title="Number 1, edited")
    rows = page.locator(".bell-row-title")
    expect(rows).to_have_text(["Number 2, edited", "Number 1, edited"])
    page.clock.run_for(2_000)
    expect(page.get_by_role("status")).to_have_text("2 new notifications")
    assert "bell-rings" not in (page.locator("#bell").get_attribute("class") or "")


def test_what_cannot_be_resumed_is_loaded_again(browser):
    page = browser.new_page()
    loads: list[str] = []
    page.on("request", lambda request: loads.append(request.url))
    server = MockedServer(page, lambda server, socket: server.notify(socket, 1), recovers=False)
    page.goto("/admin/")
    server.was_asked(0, 0)
    expect_unread(page, 1)
    assert len([url for url in loads if "/api/notifications/?" in url]) == 2
