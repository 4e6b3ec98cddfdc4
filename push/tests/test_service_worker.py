"""Push in the admin, in a real Chromium: its service worker is real, and so is what it shows. The
push service that Chromium is built for cannot be had here: pages get the subscription of the
stand-in, and what that decrypts is handed to the worker by DevTools.
"""

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from notifications import services
from notifications.models import Notification
from notifications.tests.tabs import open_admin, ring
from push.backends.web import WebPush
from push.models import Device, Push
from push.tests.test_web_push import keys  # noqa: F401 - a fixture
from testing.browser import expect_nothing_refused, tighten
from testing.client import wait_until
from testing.patience import PATIENCE, patience
from testing.push import WebPushService

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Worker

pytestmark = pytest.mark.django_db(transaction=True)

SUBSCRIBES = """
const made = %s;
const subscription = {
    endpoint: made.endpoint,
    toJSON: () => made,
    unsubscribe: async () => { delete localStorage.subscribed; return true; },
};
PushManager.prototype.subscribe = async function ({userVisibleOnly, applicationServerKey}) {
    const key = btoa(String.fromCharCode(...applicationServerKey));
    localStorage.subscribed = `${userVisibleOnly} ${key}`;
    return subscription;
};
PushManager.prototype.getSubscription =
    async () => localStorage.subscribed ? subscription : null;
"""
# No test can click on a system's notification, and only such a click lets a worker focus a page.
CLICK = """async (tag) => {
    const opened = [];
    WindowClient.prototype.focus = async function () { opened.push(`focus ${this.url}`); };
    Clients.prototype.openWindow = async (url) => { opened.push(`open ${url}`); };
    const [notification] = await registration.getNotifications({tag});
    const waited = [];
    const click = new NotificationEvent("notificationclick", {notification});
    click.waitUntil = (promise) => waited.push(promise);
    self.dispatchEvent(click);
    await Promise.all(waited);
    return opened;
}"""
COUNTS = "() => { self.heard = 0; self.addEventListener('push', () => { self.heard += 1; }); }"
SHOWN = """async () => (await registration.getNotifications()).map(
    ({title, body, tag, data, renotify}) => [title, body, tag, data.id, renotify])"""


@pytest.fixture
def service(keys):  # noqa: F811
    running = WebPushService(WebPush().public_key)
    yield running
    running.close()


@pytest.fixture
def subscribed(service):
    return service.subscribe()


@pytest.fixture
def admin(make_user) -> Any:
    return make_user("admin")


@pytest.fixture
def pushing(start_site, keys, service) -> Any:  # noqa: F811
    return start_site(
        **keys,
        PUSH_WEB_HOSTS=service.host,
        PUSH_DELAY_SECONDS="1.5",
        REQUESTS_CA_BUNDLE=str(service.certificate),
    )


@pytest.fixture
def browser(log_in, admin, pushing, subscribed) -> "BrowserContext":
    context: BrowserContext = log_in(admin, at=pushing)
    tighten(context)
    context.grant_permissions(["notifications", "local-network-access"])
    made = {"endpoint": subscribed.endpoint, "keys": subscribed.keys}
    context.add_init_script(SUBSCRIBES % json.dumps(made))
    return context


def switch_of(page: "Page") -> Any:
    return page.get_by_role("switch", name="Push when this page is closed")


def turn_on(page: "Page") -> "Worker":
    """The service worker that then runs."""
    from playwright.sync_api import expect

    page.click("#bell")
    switch = switch_of(page)
    expect(switch).not_to_be_checked()
    switch.click()
    expect(switch).to_be_checked()
    page.keyboard.press("Escape")
    [worker] = page.context.service_workers
    return worker


class DevTools:
    """Hands a push to the service worker of the admin."""

    def __init__(self, page: "Page", worker: "Worker", origin: str) -> None:
        self._worker = worker
        worker.evaluate(COUNTS)
        self._session = page.context.new_cdp_session(page)
        self._origin = origin
        self._known: list[str] = []
        self._session.on("ServiceWorker.workerRegistrationUpdated", self._heard)
        self._session.send("ServiceWorker.enable")
        self._page = page

    def _heard(self, event: dict[str, Any]) -> None:
        self._known += [one["registrationId"] for one in event["registrations"]]

    def deliver(self, content: dict[str, Any]) -> None:
        while not self._known:
            self._page.wait_for_timeout(20)  # events come while Playwright waits
        heard = self._worker.evaluate("self.heard")
        wait_until(lambda: self._arrives(content, heard))

    def _arrives(self, content: dict[str, Any], heard: int) -> bool:
        """Of what DevTools delivers Chromium drops one in ten, without a word; it is sent again
        until the worker has heard it, as a push service would.
        """
        self._session.send(
            "ServiceWorker.deliverPushMessage",
            {
                "origin": self._origin,
                "registrationId": self._known[-1],
                "data": json.dumps(content),
            },
        )
        with suppress(AssertionError):
            wait_until(lambda: self._worker.evaluate("self.heard") > heard, patience(0.5))
        return bool(self._worker.evaluate("self.heard") > heard)


def shown_by(worker: "Worker", count: int) -> list[Any]:
    """What stands on the screen, once there are so many."""
    wait_until(lambda: len(worker.evaluate(SHOWN)) == count)
    found: list[Any] = worker.evaluate(SHOWN)
    return found


def test_the_switch_registers_this_browser_and_takes_it_away(browser, admin, subscribed, service):
    from playwright.sync_api import expect

    page = open_admin(browser)
    worker = turn_on(page)
    assert worker.url.endswith("/api/push/worker.js")
    device = Device.objects.get()
    assert (device.user_id, device.platform) == (admin.pk, "web")
    assert (device.token, device.keys) == (subscribed.endpoint, subscribed.keys)
    visible, key = page.evaluate("localStorage.subscribed").split()
    public = WebPush().public_key
    assert visible == "true"
    assert key.rstrip("=").replace("+", "-").replace("/", "_") == public
    page.reload()
    page.click("#bell")
    expect(switch_of(page)).to_be_checked()
    switch_of(page).click()
    expect(switch_of(page)).not_to_be_checked()
    assert not Device.objects.exists()
    assert page.evaluate("localStorage.subscribed") is None
    expect_nothing_refused(page)


def test_a_page_that_can_be_seen_keeps_the_devices_silent(browser, admin, subscribed):
    page = open_admin(browser)
    turn_on(page)
    ring(admin, "Seen")
    wait_until(lambda: not Push.objects.exists())
    assert Notification.objects.get().status == "unread"
    assert subscribed.received == []


def test_a_page_in_the_background_keeps_no_device_silent(browser, admin, subscribed, pushing):
    browser.add_init_script(
        "Object.defineProperty(document, 'hidden', {get: () => !window.isShown})"
    )
    page = open_admin(browser)
    turn_on(page)
    ring(admin, "Unseen")
    wait_until(lambda: subscribed.received, 3 * PATIENCE, explain=pushing.log)
    page.evaluate("window.isShown = true; document.dispatchEvent(new Event('visibilitychange'))")
    ring(admin, "Seen")
    wait_until(lambda: Push.objects.count() == 1)  # that on the device, until it is read


def test_with_every_page_closed_it_is_shown_and_taken_back(browser, admin, subscribed, pushing):
    page = open_admin(browser)
    worker = turn_on(page)
    page.goto("/api/push/")  # no page of the admin any more, but one to look from
    ring(admin, "Your rider asks", message="Where?")
    wait_until(lambda: subscribed.received, 3 * PATIENCE, explain=pushing.log)
    row = Notification.objects.get()
    tools = DevTools(page, worker, pushing.url)
    tools.deliver(subscribed.received[0])
    tag = f"notification-{row.pk}"
    assert shown_by(worker, 1) == [["Your rider asks", "Where?", tag, row.pk, False]]
    services.mark_read(user=admin, notification_id=row.pk)
    wait_until(lambda: len(subscribed.received) == 2, 3 * PATIENCE, explain=pushing.log)
    tools.deliver(subscribed.received[1])
    assert shown_by(worker, 0) == []


def push(id: int, title: str, tag: str = "conversation-7") -> dict[str, Any]:
    created_at = "2026-11-24T02:00:00.000000+00:00"
    shown = {"id": id, "title": title, "message": "", "created_at": created_at}
    return {"type": "show", "tag": tag, "notification": shown, "unread_count": 1}


def test_of_one_conversation_the_newest_is_shown_however_they_come(browser, admin, pushing):
    page = open_admin(browser)
    worker = turn_on(page)
    tools = DevTools(page, worker, pushing.url)
    tools.deliver(push(1, "a"))
    assert [row[0] for row in shown_by(worker, 1)] == ["a"]
    tools.deliver(push(3, "c"))
    wait_until(lambda: worker.evaluate(SHOWN)[0][0] == "c")
    assert worker.evaluate(SHOWN)[0][4] is True  # it rings again
    tools.deliver(push(3, "c"))  # a double
    tools.deliver(push(2, "b"))  # one that was overtaken
    tools.deliver({"type": "clear", "tag": "conversation-7", "up_to_id": 2, "unread_count": 1})
    tools.deliver(push(4, "d", "conversation-8"))  # behind all of them
    found = {row[2]: row for row in shown_by(worker, 2)}
    assert found["conversation-7"][0] == "c"
    tools.deliver({"type": "clear", "tag": "conversation-7", "up_to_id": 3, "unread_count": 1})
    assert [row[0] for row in shown_by(worker, 1)] == ["d"]


def test_a_click_leads_to_the_page_that_is_open(browser, admin, pushing):
    from playwright.sync_api import expect

    ring(admin, "Your rider asks")
    row = Notification.objects.get()
    page = open_admin(browser)
    worker = turn_on(page)
    tools = DevTools(page, worker, pushing.url)
    tools.deliver(push(row.pk, "Your rider asks"))
    shown_by(worker, 1)
    assert worker.evaluate(CLICK, "conversation-7") == [f"focus {pushing.url}/admin/"]
    expect(page.locator("#bell-panel")).to_be_visible()
    wait_until(lambda: Notification.objects.get().status == "read")
    shown_by(worker, 0)


def test_a_click_opens_the_admin_when_no_page_of_it_is_open(browser, admin, pushing):
    page = open_admin(browser)
    worker = turn_on(page)
    tools = DevTools(page, worker, pushing.url)
    tools.deliver(push(1, "a"))
    shown_by(worker, 1)
    page.goto("/api/push/")
    assert worker.evaluate(CLICK, "conversation-7") == [f"open {pushing.url}/admin/"]


def test_where_no_key_is_configured_there_is_no_switch(log_in, admin, site):
    from playwright.sync_api import expect

    page = open_admin(log_in(admin))
    with page.expect_response("**/api/push/") as asked:
        page.click("#bell")
    assert asked.value.json()["web_public_key"] is None
    expect(page.get_by_role("switch", name="Sound")).to_be_visible()
    expect(switch_of(page)).to_be_hidden()


def test_the_script_may_act_for_the_admin_and_is_never_stale(client):
    answer = client.get("/api/push/worker.js")
    assert answer["Service-Worker-Allowed"] == "/admin/"
    assert answer["Content-Type"].startswith("text/javascript")
    assert answer["Cache-Control"] == "no-cache"
    assert client.post("/api/push/worker.js").status_code == 405
