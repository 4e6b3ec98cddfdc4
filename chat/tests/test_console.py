"""The support console: its page, and its scripts in a real Chromium against a real server and a
real Valkey.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat import services
from chat.models import CannedReply, Conversation, Message, Note, Participant
from holodrive.realtime import log
from testing.browser import (
    RECONNECT,
    Site,
    accessibility_problems,
    expect_nothing_refused,
    tighten,
)
from testing.client import wait_until
from testing.patience import patience
from testing.services import Valkey

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.django_db(transaction=True)

PROMISED = 5_000  # milliseconds; an event is promised within 3 s
CONSOLE = "/admin/chat/console/"


@pytest.fixture
def admin(make_user) -> Any:
    return make_user("admin", first_name="Aziza", last_name="Karimova")


@pytest.fixture
def rider(make_user) -> Any:
    return make_user("rider", first_name="Sobirjon", last_name="Bobojonov")


@pytest.fixture
def support(rider) -> Any:
    """The rider's support conversation, with one message."""
    conversation = services.open_support(user=rider).conversation
    say(conversation, rider, "I left my phone in the car")
    return conversation


def say(conversation: Any, user: Any, text: str) -> Message:
    return services.send_message(user=user, conversation_id=conversation.pk, text=text).message


# The page


def test_the_page_is_for_staff_that_may_view_conversations(make_user, admin):
    staff = make_user("driver", is_staff=True)
    allowed = make_user("driver", is_staff=True)
    allowed.user_permissions.add(Permission.objects.get(codename="view_conversation"))
    answers = []
    for user in (None, make_user("rider"), staff, allowed, admin):
        client = Client()
        if user:
            client.force_login(user)
        answers.append(client.get(CONSOLE).status_code)
    assert answers == [302, 302, 403, 200, 200]


def test_conversations_pages_lead_to_the_console(admin, support):
    client = Client()
    client.force_login(admin)
    pages = "/admin/chat/conversation/", f"/admin/chat/conversation/{support.pk}/change/"
    assert f'href="{CONSOLE}"' in client.get(pages[0]).content.decode()
    assert f'href="{CONSOLE}?conversation={support.pk}"' in client.get(pages[1]).content.decode()


def fill(users: list[Any], conversations: int, messages: int) -> None:
    """That many conversations more, each with as many messages, by bulk SQL: nobody listens."""
    made = Conversation.objects.bulk_create(
        Conversation(kind="support", subject=f"Number {n}") for n in range(conversations)
    )
    Participant.objects.bulk_create(
        Participant(conversation=one, user=users[n % len(users)], role="rider")
        for n, one in enumerate(made)
    )
    newest = "SELECT MAX(created_at) FROM chat_message WHERE conversation_id = chat_conversation.id"
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s) "
            "INSERT INTO chat_message (conversation_id, sender_id, text, original,"
            " is_from_support, seq, created_at) "
            "SELECT conversation_id, user_id, 'Text', '', %s, i, %s "
            "FROM chat_participant, n WHERE conversation_id >= %s",
            [messages, False, timezone.now(), made[0].pk],
        )
        cursor.execute(f"UPDATE chat_conversation SET last_message_at = ({newest})")  # noqa: S608
        cursor.execute("ANALYZE")


def test_the_queries_are_few_and_do_not_grow_with_the_data(admin, make_user):
    riders = [make_user("rider") for _ in range(20)]
    client = Client()
    client.force_login(admin)
    first = Conversation.objects.create()
    paths = [
        CONSOLE,
        "/api/conversations/?filter=all&limit=30",
        "/api/conversations/?filter=mine&limit=30",
        "/api/conversations/?filter=unassigned&limit=30",
        f"/api/conversations/{first.pk}/",
        f"/api/conversations/{first.pk}/messages/",
    ]

    def queries() -> list[int]:
        counts = []
        for path in paths:
            with CaptureQueriesContext(connection) as captured:
                assert client.get(path).status_code == 200
            counts.append(len(captured))
        return counts

    fill(riders, 50, 20)
    queries()  # the first look at a conversation is written down
    few = queries()
    fill(riders, 4_950, 20)
    assert Message.objects.count() == 100_000
    queries()  # as is that of those that the lists show now
    assert queries() == few
    assert max(few) <= 12


# In a browser


@pytest.fixture
def browser(log_in: Any, admin: Any) -> "BrowserContext":
    context: BrowserContext = log_in(admin)
    return context


def open_console(browser: "BrowserContext", conversation: Any = None) -> "Page":
    """A new tab with the console, and that conversation open and live in it."""
    from playwright.sync_api import expect

    page = browser.new_page()
    page.goto(CONSOLE + (f"?conversation={conversation.pk}" if conversation else ""))
    expect(page.locator("#console .console-skeletons").first).to_be_hidden()
    if conversation:
        expect(page.locator("#console")).to_have_attribute("data-state", "live")
        expect(page.locator("#console-text")).to_be_visible()
    return page


def texts(page: "Page") -> Any:
    return page.locator("article .console-text")


def rows(page: "Page") -> Any:
    return page.locator(".console-conversation .console-row-name")


def test_a_reply_is_shown_at_once_and_reaches_the_rider_and_another_agent(
    site, browser, log_in, dial, make_user, rider, support
):
    from playwright.sync_api import expect

    socket = dial(site, f"/ws/chat/{support.pk}/", rider)
    other = open_console(log_in(make_user("admin")), support)
    page = open_console(browser)
    page.get_by_role("link", name="Sobirjon Bobojonov").click()
    expect(page).to_have_url(re.compile(rf"\?conversation={support.pk}$"))
    expect(texts(page)).to_have_text(["I left my phone in the car"])
    page.fill("#console-text", "Which trip\nwas it? <b>Thanks</b>")
    page.keyboard.press("Enter")
    assert socket.frame("chat_message")["message"] == "Which trip\nwas it? <b>Thanks</b>"
    expect(texts(page).last).to_have_text("Which trip\nwas it? <b>Thanks</b>")
    expect(page.locator("#console-text")).to_have_value("")
    expect(texts(other).last).to_have_text("Which trip\nwas it? <b>Thanks</b>")
    expect(other.locator(".console-entry-name").last).to_contain_text("Aziza Karimova")
    say(support, rider, "The one at 18:40")
    for one in (page, other):
        expect(texts(one)).to_have_count(3)
        expect(texts(one).last).to_have_text("The one at 18:40")


def test_ticks_typing_and_presence(site, browser, dial, rider, support):
    from playwright.sync_api import expect

    page = open_console(browser, support)
    expect(page.locator(".console-presence")).to_have_text("offline")
    socket = dial(site, f"/ws/chat/{support.pk}/", rider)
    expect(page.locator(".console-presence")).to_have_text("online")
    page.reload()
    expect(page.locator(".console-presence")).to_have_text("online")
    page.locator("#console-text").press_sequentially("Hi")
    assert socket.frame("typing")["is_typing"] is True
    page.keyboard.press("Enter")
    id = socket.frame("chat_message")["message_id"]
    tick = page.locator(".console-tick")
    expect(tick).to_have_text("Sent")
    socket.send({"type": "message_delivered", "up_to_id": id})
    expect(tick).to_have_text("Delivered")
    socket.send({"type": "message_read", "up_to_id": id})
    expect(tick).to_have_text("Read")
    socket.send({"type": "typing", "is_typing": True})
    expect(page.locator(".console-typing")).to_have_text("Sobirjon Bobojonov is typing")
    socket.send({"type": "typing", "is_typing": False})
    expect(page.locator(".console-typing")).to_have_text("")
    socket.close()
    expect(page.locator(".console-presence")).to_contain_text("last seen", timeout=RECONNECT)


def test_the_list_filters_searches_and_follows_what_happens(browser, make_user, rider, support):
    from playwright.sync_api import expect

    malika = make_user("rider", first_name="Malika", last_name="Yusupova")
    other = services.open_support(user=malika).conversation
    say(other, malika, "I paid twice")
    page = open_console(browser)
    expect(rows(page)).to_have_text(["Malika Yusupova", "Sobirjon Bobojonov"])
    for searched, found in {"twice": "Malika Yusupova", "Bobojonov": "Sobirjon Bobojonov"}.items():
        page.get_by_role("searchbox").fill(searched)
        expect(rows(page)).to_have_text([found])
    page.get_by_role("searchbox").fill("nobody says this")
    expect(page.locator(".console-list-nothing")).to_contain_text("Nothing found")
    page.get_by_role("searchbox").fill("")
    expect(rows(page)).to_have_count(2)
    page.get_by_role("button", name="Mine").click()
    expect(page.locator(".console-list-nothing")).to_contain_text("You’re all caught up")
    page.get_by_role("button", name="Unassigned").click()
    page.get_by_role("link", name="Malika").click()
    page.get_by_role("button", name="Resolve").click()
    expect(page.get_by_role("button", name="Open again")).to_be_visible()
    page.get_by_role("link", name="Sobirjon").click()
    expect(rows(page)).to_have_text(["Sobirjon Bobojonov"])
    page.get_by_role("button", name="Closed").click()
    expect(rows(page)).to_have_text(["Malika Yusupova"])
    page.get_by_role("button", name="All").click()
    expect(rows(page)).to_have_text(["Sobirjon Bobojonov"])
    say(other, malika, "It happened again")  # opens it again
    expect(rows(page)).to_have_text(["Malika Yusupova", "Sobirjon Bobojonov"])
    expect(page.locator(".console-row-preview").first).to_have_text("It happened again")
    timur = make_user("rider", first_name="Timur", last_name="Aliev")
    say(services.open_support(user=timur).conversation, timur, "New here")
    expect(rows(page)).to_have_text(["Timur Aliev", "Malika Yusupova", "Sobirjon Bobojonov"])


def test_a_search_that_finds_nothing_open_leads_to_what_is_closed(browser, rider, support):
    from playwright.sync_api import expect

    page = open_console(browser)
    closed = page.get_by_role("button", name="Search closed ones")
    expect(rows(page)).to_have_count(1)
    expect(closed).to_be_hidden()
    Conversation.objects.get(pk=support.pk).delete()
    old = services.open_support(user=rider).conversation
    say(old, rider, "My umbrella")
    old.status = "resolved"
    old.save(update_fields=["status"])
    page.get_by_role("searchbox").fill("umbrella")
    closed.click()
    expect(page.get_by_role("button", name="Closed", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(rows(page)).to_have_text(["Sobirjon Bobojonov"])
    page.get_by_role("searchbox").fill("parasol")
    expect(page.locator(".console-list-nothing")).to_contain_text("Nothing found")
    expect(closed).to_be_hidden()


def test_among_all_it_says_which_are_nobodys(browser, admin, support):
    from playwright.sync_api import expect

    page = open_console(browser, support)
    chip = page.locator(".console-chip", has_text="Unassigned")
    expect(chip).to_be_visible()
    page.locator("[data-filter=unassigned]").click()
    expect(rows(page)).to_have_count(1)
    expect(chip).to_have_count(0)  # all are, there
    page.locator("[data-filter=all]").click()
    expect(chip).to_be_visible()
    page.get_by_role("button", name="Claim").click()
    expect(chip).to_have_count(0)


def test_how_long_somebody_waits_goes_on_and_stands_out_after_a_quarter_of_an_hour(
    browser, support
):
    from playwright.sync_api import expect

    since = timezone.now() - timedelta(minutes=12, seconds=5)
    Conversation.objects.filter(pk=support.pk).update(waiting_since=since)
    page = browser.new_page()
    page.clock.install()
    page.goto(CONSOLE)
    chip, late = page.locator(".console-waiting"), re.compile("console-is-late")
    expect(chip).to_have_text("waiting 12 min")
    expect(chip).not_to_have_class(late)
    page.clock.fast_forward("05:00")
    expect(chip).to_have_text("waiting 17 min")
    expect(chip).to_have_class(late)
    page.clock.fast_forward("02:00:00")
    expect(chip).to_have_text("waiting 2 h")


def test_the_list_follows_trips(browser, make_user, support, trip):
    from playwright.sync_api import expect

    page = open_console(browser)
    expect(rows(page)).to_have_count(2)
    row = page.locator(f'.console-conversations [data-id="{trip.pk}"]')
    # What is in no log is told at once or never: the server may not have joined on Redis yet.
    for _ in range(5):
        say(trip, trip.driver, "I am at the gate")
        with suppress(AssertionError):
            expect(row).to_contain_text("I am at the gate", timeout=2_000)
            break
    expect(row.locator(".console-row-preview")).to_have_text("I am at the gate")
    begun = services.open_trip(rider=make_user("rider"), driver=make_user("driver"))
    say(begun, begun.participants.first().user, "Where are you?")
    row = page.locator(f'.console-conversations [data-id="{begun.pk}"]')
    expect(row.locator(".console-row-preview")).to_have_text("Where are you?")
    services.delete_message(
        user=begun.participants.first().user,
        conversation_id=begun.pk,
        message_id=Message.objects.latest("pk").pk,
    )
    expect(row.locator(".console-row-preview")).to_have_text("Message deleted")


def test_what_is_read_on_one_device_is_unread_on_no_other(log_in, admin, rider, support):
    from playwright.sync_api import expect

    page, elsewhere = open_console(log_in(admin)), open_console(log_in(admin))
    badge = elsewhere.locator(".console-badge")
    expect(badge).to_have_text(re.compile("1 unread message"))
    say(support, rider, "A black one")
    expect(badge).to_have_text(re.compile("2 unread messages"))
    page.locator(".console-conversation").click()
    expect(badge).to_have_count(0, timeout=PROMISED)
    say(support, rider, "Are you there?")
    expect(texts(page).last).to_have_text("Are you there?")
    expect(badge).to_have_count(0, timeout=PROMISED)


def test_the_bell_rings_for_whom_a_conversation_is_given_to(browser, log_in, make_user, support):
    from playwright.sync_api import expect

    jasur = make_user("admin", first_name="Jasur", last_name="Tashkentov")
    other = log_in(jasur).new_page()
    other.goto("/admin/")
    expect(other.locator("#bell")).to_have_attribute("data-state", "live")
    page = open_console(browser, support)
    page.get_by_label("Assignee").select_option(label="Jasur Tashkentov")
    toast = other.get_by_role("link", name="A conversation was assigned to you")
    expect(toast).to_contain_text("Aziza Karimova gave you the conversation with Sobirjon")
    toast.click()
    expect(other).to_have_url(re.compile(rf"/console/\?conversation={support.pk}$"))
    expect(texts(other)).to_have_text(["I left my phone in the car"])


def test_of_two_agents_who_claim_one_wins_and_the_other_sees_who(
    browser, log_in, make_user, support
):
    from playwright.sync_api import expect

    jasur = make_user("admin", first_name="Jasur", last_name="Tashkentov")
    pages = [open_console(browser, support), open_console(log_in(jasur), support)]
    names = ["Aziza Karimova", "Jasur Tashkentov"]
    held: list[Any] = []
    for page in pages:  # both have pressed before either is heard
        page.route("**/claim/", lambda route: held.append(route))
        page.get_by_role("button", name="Claim").click()
    for _ in range(100):
        if len(held) == 2:
            break
        pages[0].wait_for_timeout(50)
    for route in held:
        route.continue_()
    for page in pages:
        expect(page.get_by_role("button", name="Claim")).to_be_hidden()
    support.refresh_from_db()
    winner = names.index(support.assignee.get_full_name())
    loser = pages[1 - winner]
    expect(loser.get_by_role("alert")).to_have_text(
        f"{names[winner]} was faster and has this conversation."
    )
    expect(pages[winner].get_by_role("alert")).to_have_text("")
    for page in pages:
        expect(page.get_by_label("Assignee")).to_have_value(str(support.assignee_id))


def test_what_one_agent_changes_another_sees(browser, log_in, make_user, admin, support):
    from playwright.sync_api import expect

    jasur = make_user("admin", first_name="Jasur", last_name="Tashkentov")
    page, other = open_console(browser, support), open_console(log_in(jasur), support)
    page.get_by_label("Priority").select_option("urgent")
    expect(other.get_by_label("Priority")).to_have_value("urgent")
    expect(other.locator(".console-chip-urgent")).to_be_visible()
    page.get_by_label("Assignee").select_option(label="Jasur Tashkentov")
    expect(other.get_by_label("Assignee")).to_have_value(str(jasur.pk))
    page.get_by_label("Status", exact=True).select_option("snoozed")
    expect(other.get_by_label("Status", exact=True)).to_have_value("snoozed")
    expect(other.get_by_label("Snoozed until")).to_be_visible()
    support.refresh_from_db()
    assert (support.priority, support.assignee, support.status) == (3, jasur, "snoozed")
    assert support.snoozed_until > timezone.now()


def test_private_notes_stay_with_support(site, browser, log_in, dial, make_user, rider, support):
    from playwright.sync_api import expect

    socket = dial(site, f"/ws/chat/{support.pk}/", rider)
    other = open_console(log_in(make_user("admin")), support)
    page = open_console(browser, support)
    page.keyboard.press("n")
    page.keyboard.type("He has called us twice")
    page.keyboard.press("Enter")
    for one in (page, other):
        expect(one.locator(".console-entry.console-is-note")).to_contain_text("Private note")
        expect(texts(one).last).to_have_text("He has called us twice")
    page.get_by_role("button", name="Reply", exact=True).click()
    page.keyboard.type("Hello")
    page.keyboard.press("Enter")
    assert socket.frame("chat_message")["message"] == "Hello"
    expected = ["I left my phone in the car", "He has called us twice", "Hello"]
    expect(texts(page)).to_have_text(expected)
    page.reload()
    expect(texts(page)).to_have_text(expected)
    assert Message.objects.count() == 2


def test_ones_own_note_is_edited_and_taken_back_for_other_agents_too(
    browser, log_in, make_user, support
):
    from playwright.sync_api import expect

    other = open_console(log_in(make_user("admin")), support)
    page = open_console(browser, support)
    page.keyboard.press("n")
    page.keyboard.type("Clled him")
    page.keyboard.press("Enter")
    expect(texts(other).last).to_have_text("Clled him")
    assert other.locator("article").last.get_by_role("button").count() == 0
    note = page.locator("article").last
    note.hover()
    note.get_by_role("button", name="Edit").click()
    expect(page.locator(".console-editing")).to_contain_text("Editing a note")
    page.fill("#console-text", "Called him")
    page.press("#console-text", "Enter")
    for one in (page, other):
        expect(texts(one).last).to_have_text("Called him")
        expect(one.locator(".console-foot").last).to_contain_text("edited")
    note.hover()
    note.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete this note?")
    dialog.get_by_role("button", name="Delete").click()
    for one in (page, other):
        expect(texts(one).last).to_have_text("This note was deleted.")
    page.reload()
    expect(texts(page).last).to_have_text("This note was deleted.")
    assert Message.objects.count() == 1


def test_canned_replies_come_by_their_code(browser, support):
    from playwright.sync_api import expect

    CannedReply.objects.create(code="hello", text="Hello {rider_name}, how can I help?")
    CannedReply.objects.create(code="helpdesk", text="Our office is open until six.")
    page = open_console(browser, support)
    write = page.locator("#console-text")
    write.press_sequentially("/hel")
    expect(page.locator("#console-canned li")).to_have_count(2)
    write.press("ArrowDown")
    write.press("ArrowUp")
    write.press("Enter")
    expect(write).to_have_value("Hello Sobirjon Bobojonov, how can I help?")
    expect(page.get_by_role("listbox", name="Canned replies")).to_be_hidden()
    write.press("Enter")
    expect(texts(page).last).to_have_text("Hello Sobirjon Bobojonov, how can I help?")


def test_canned_replies_are_offered_to_who_knows_no_slash(browser, support):
    from playwright.sync_api import expect

    CannedReply.objects.create(code="hello", text="Hello {rider_name}, how can I help?")
    page = open_console(browser, support)
    button = page.get_by_role("button", name="Canned replies")
    button.click()
    page.locator("#console-canned li").click()
    expect(page.locator("#console-text")).to_have_value("Hello Sobirjon Bobojonov, how can I help?")
    expect(button).to_be_hidden()  # another would take the place of this one
    page.locator("#console-text").fill("")
    button.press("Enter")
    expect(page.locator("#console-canned li")).to_have_count(1)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(texts(page).last).to_have_text("Hello Sobirjon Bobojonov, how can I help?")


def test_what_scrolls_behind_the_day_is_covered_by_a_whole_line(browser, rider, support):
    from playwright.sync_api import expect

    for number in range(40):
        say(support, rider, f"Number {number}")
    page = open_console(browser, support)
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 700})
        day = page.locator(".console-day")
        expect(day).to_be_in_viewport()
        line = day.evaluate(
            "day => { const log = day.parentElement, line = day.getBoundingClientRect();"
            " return {missing: log.clientWidth - line.width, wider: log.scrollWidth -"
            " log.clientWidth, above: line.top - log.getBoundingClientRect().top,"
            " colour: getComputedStyle(day).backgroundColor,"
            " behind: getComputedStyle(log).backgroundColor}; }"
        )
        assert (line["missing"], line["wider"], line["above"]) == (0, 0, 0)
        assert line["colour"] == line["behind"]


def test_what_is_masked_is_shown_to_who_may(browser, log_in, make_user, trip):
    from playwright.sync_api import expect

    say(trip, trip.driver, "Call me at +998 90 123 45 67")
    staff = make_user("driver", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_conversation"))
    page = open_console(browser)
    page.goto(f"{CONSOLE}?conversation={trip.pk}")
    expect(texts(page)).to_contain_text(["•••"])
    page.locator("article").hover()
    page.get_by_role("button", name="Show what is hidden").click()
    expect(texts(page)).to_contain_text(["+998 90 123 45 67"])
    other = log_in(staff).new_page()
    other.goto(f"{CONSOLE}?conversation={trip.pk}")
    expect(texts(other)).to_contain_text(["•••"])
    assert other.get_by_role("button", name="Show what is hidden").count() == 0
    expect(other.get_by_label("Status", exact=True)).to_be_disabled()
    assert not Participant.objects.filter(conversation=trip, role="support").exists()


def test_what_is_seen_is_read_and_what_is_only_open_is_not(site, browser, dial, rider, support):
    from playwright.sync_api import expect

    socket = dial(site, f"/ws/chat/{support.pk}/", rider)
    page = open_console(browser)
    expect(page.locator(".console-badge")).to_have_text(re.compile("1 unread message"))
    page.get_by_role("link", name="Sobirjon Bobojonov").click()
    assert socket.frame("message_read")["up_to_id"] == Message.objects.get().pk
    expect(page.locator(".console-badge")).to_have_count(0)
    for number in range(40):
        say(support, rider, f"Number {number}")
    expect(texts(page)).to_have_count(41)
    page.locator(".console-log").evaluate("log => log.scrollTop = log.scrollHeight / 2")
    expect(page.locator(".console-newest")).to_have_text("To the newest message")
    last = say(support, rider, "Below what is seen")
    expect(page.locator(".console-newest")).to_have_text("1 new message")
    page.locator(".console-newest").click()
    frame = socket.frame("message_read")
    while frame["up_to_id"] < last.pk:
        frame = socket.frame("message_read")
    expect(page.locator(".console-newest")).to_be_hidden()


def send_from(page, text):
    """Return the field, once the text that was written there is sent."""
    from playwright.sync_api import expect

    field = page.locator("#console-text")
    field.fill(text)
    field.press("Enter")
    expect(page.locator(".console-tick-sent")).to_be_visible()
    return field


def test_edits_and_deletions(site, browser, dial, rider, support):
    from playwright.sync_api import expect

    socket = dial(site, f"/ws/chat/{support.pk}/", rider)
    page = open_console(browser, support)
    write = send_from(page, "Wich trip?")
    write.press("ArrowUp")
    expect(write).to_have_value("Wich trip?")
    write.fill("Which trip?")
    write.press("Enter")
    assert socket.frame("message_edited")["message"] == "Which trip?"
    expect(texts(page).last).to_have_text("Which trip?")
    expect(page.locator(".console-foot").last).to_contain_text("edited")
    expect(write).to_have_value("")
    page.locator("article").last.hover()
    page.get_by_role("button", name="Delete", exact=True).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    socket.frame("message_deleted")
    expect(texts(page).last).to_have_text("This message was deleted.")
    assert Message.objects.order_by("pk").last().text == ""
    theirs = page.locator("article").first
    assert theirs.get_by_role("button").count() == 0


def test_an_edit_that_is_refused_stays_in_the_field_until_it_is_saved(browser, make_user, support):
    from playwright.sync_api import expect

    other = services.open_support(user=make_user("rider", first_name="Malika")).conversation
    page = open_console(browser, support)
    write = send_from(page, "Wich trip?")
    write.fill("Half a sen")
    page.locator("article").last.hover()
    page.get_by_role("button", name="Edit").last.click()
    write.fill("Which trip was it?")
    answers = [(401, {"code": "unauthenticated"}), (403, {"code": "forbidden"}), (520, {}), None]

    def answer(route):
        refusal = answers.pop(0) if route.request.method == "PATCH" else None
        if refusal is None:
            route.continue_()
        else:
            route.fulfill(status=refusal[0], json=refusal[1])

    page.route("**/messages/*/", answer)
    for said in ("You are signed out.", "You may not do this."):
        write.press("Enter")
        expect(page.locator(".console-toast")).to_have_text(said)
        expect(write).to_have_value("Which trip was it?")
    write.press("Enter")
    expect(texts(page).last).to_have_text("Which trip was it?")
    expect(write).to_have_value("Half a sen")
    assert not answers
    # Nor does it go with the conversation that it was written in.
    write.fill("")
    write.press("ArrowUp")
    write.fill("Which of them?")
    held: list[Any] = []
    page.route("**/messages/*/", lambda route: held.append(route))
    with page.expect_request(lambda request: request.method == "PATCH"):
        write.press("Enter")
    page.get_by_role("link", name="Malika").click()
    expect(page).to_have_url(re.compile(f"conversation={other.pk}$"))
    held[0].fulfill(status=403, json={"code": "forbidden"})
    expect(page.locator(".console-toast")).to_have_text("You may not do this.")
    page.get_by_role("link", name="Sobirjon").click()
    expect(write).to_have_value("Which of them?")


def test_the_history_has_no_end_and_no_holes(browser, rider, support):
    from playwright.sync_api import expect

    with log.writing(f"conversation.{support.pk}"):
        for number in range(1, 180):
            say(support, rider, f"Number {number}")
    page = open_console(browser, support)
    expect(texts(page)).to_have_count(50)
    for _ in range(12):
        page.locator(".console-log").evaluate("log => log.scrollTop = 0")
        if texts(page).count() == 180:
            break
        page.wait_for_timeout(100)
    expect(texts(page)).to_have_count(180)
    expected = ["I left my phone in the car", *(f"Number {n}" for n in range(1, 180))]
    assert texts(page).all_text_contents() == expected
    assert page.locator(".console-earlier").count() == 0


def test_each_conversation_keeps_its_draft(browser, make_user, support):
    from playwright.sync_api import expect

    other = services.open_support(user=make_user("rider", first_name="Malika")).conversation
    page = open_console(browser, support)
    write = page.locator("#console-text")
    write.fill("Half a sen")
    page.goto(f"{CONSOLE}?conversation={other.pk}")
    expect(write).to_have_value("")
    write.fill("Another")
    page.get_by_role("link", name="Sobirjon").click()
    expect(write).to_have_value("Half a sen")
    page.reload()
    expect(write).to_be_visible()
    expect(write).to_have_value("Half a sen")
    write.press("Enter")
    expect(texts(page).last).to_have_text("Half a sen")
    page.reload()
    expect(texts(page).last).to_have_text("Half a sen")
    expect(write).to_have_value("")
    page.go_back()
    expect(write).to_have_value("Another")


def test_the_keyboard_alone_does_it_all(browser, make_user, rider, support):
    from playwright.sync_api import expect

    malika = make_user("rider", first_name="Malika", last_name="Yusupova")
    say(services.open_support(user=malika).conversation, malika, "I paid twice")
    page = open_console(browser)
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator("#console-thread-title")).to_have_text("Malika Yusupova")
    page.keyboard.press("j")
    expect(page.locator("#console-thread-title")).to_have_text("Sobirjon Bobojonov")
    page.keyboard.press("k")
    expect(page.locator("#console-thread-title")).to_have_text("Malika Yusupova")
    expect(texts(page)).to_have_text(["I paid twice"])
    page.keyboard.press("r")
    write = page.locator("#console-text")
    expect(write).to_be_focused()
    before = write.evaluate("field => field.clientHeight")
    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Two jkr")
    expect(write).to_have_value("One\nTwo jkr")
    assert write.evaluate("field => field.clientHeight") > before
    page.keyboard.press("Enter")
    expect(texts(page).last).to_have_text("One\nTwo jkr")
    expect(page.locator(".console-tick-sent")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("log")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Delete")
    expect(page.get_by_role("dialog", name="Delete this message?")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(texts(page).last).to_have_text("This message was deleted.")
    page.keyboard.press("Escape")
    expect(page.locator(".console-welcome")).to_be_visible()
    expect(page).to_have_url(re.compile(f"{CONSOLE}$"))
    expect(page.locator(".console-conversation:focus")).to_contain_text("Malika")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_a_conversation_from_first_look_to_last_without_a_mouse(
    site, browser, dial, admin, make_user, rider, support
):
    from playwright.sync_api import expect

    malika = make_user("rider", first_name="Malika", last_name="Yusupova")
    say(services.open_support(user=malika).conversation, malika, "I paid twice")
    socket = dial(site, f"/ws/chat/{support.pk}/", rider)
    page = open_console(browser)
    expect(rows(page)).to_have_count(2)
    press = page.keyboard.press
    press("2")
    expect(page.get_by_role("button", name="Unassigned")).to_have_attribute("aria-pressed", "true")
    expect(rows(page)).to_have_count(2)
    press("/")
    press("ArrowDown")
    focused = page.locator(".console-conversation:focus")
    expect(focused).to_contain_text("Malika")
    press("ArrowDown")
    expect(focused).to_contain_text("Sobirjon")
    press("Enter")
    expect(page.locator("#console-thread-title")).to_be_focused()
    expect(page.locator("#console")).to_have_attribute("data-state", "live")
    press("c")
    expect(page.get_by_label("Assignee")).to_have_value(str(admin.pk))
    press("r")
    page.keyboard.type("Which trip was it?")
    press("Enter")
    assert socket.frame("chat_message")["message"] == "Which trip was it?"
    press("Escape")
    expect(page.get_by_role("log")).to_be_focused()
    press("n")
    page.keyboard.type("Asked him for the trip")
    press("Enter")
    expect(texts(page)).to_have_count(3)
    press("Escape")
    press("e")
    expect(page.get_by_role("button", name="Open again")).to_be_visible()
    press("Escape")
    expect(page.locator(".console-welcome")).to_be_visible()
    expect(rows(page)).to_have_text(["Malika Yusupova"])
    press("4")
    expect(rows(page)).to_have_text(["Sobirjon Bobojonov"])
    support.refresh_from_db()
    assert (support.status, support.assignee) == ("resolved", admin)


@pytest.mark.parametrize("width", [1280, 360])
def test_from_right_to_left_all_is_mirrored(browser, admin, support, width):
    from playwright.sync_api import expect

    say(support, admin, "Hello")
    page = browser.new_page()
    page.set_viewport_size({"width": width, "height": 700})
    page.add_init_script(
        "document.addEventListener('DOMContentLoaded', () => document.documentElement.dir = 'rtl')"
    )
    page.goto(f"{CONSOLE}?conversation={support.pk}")
    expect(texts(page)).to_have_count(2)

    def middle(selector: str) -> float:
        box = page.locator(selector).first.bounding_box()
        assert box is not None, selector
        assert box["x"] >= 0, selector
        assert box["x"] + box["width"] <= width, selector
        return float(box["x"] + box["width"] / 2)

    theirs, ours = ".console-from-them .console-bubble", ".console-from-support .console-bubble"
    assert middle(theirs) > middle(ours)
    assert middle(".console-send") < middle("#console-text")
    if width == 360:
        assert middle(".console-back") > middle("#console-thread-title")
    else:
        list_, thread, details = map(
            middle, (".console-list", ".console-thread", "#console-details")
        )
        assert list_ > thread > details
    assert page.evaluate("document.documentElement.scrollWidth") <= width


# Where each of these words begins on the screen, within an element.
_PLACES = """([selector, words]) => words.map((word) => {
  const texts = document.createTreeWalker(document.querySelector(selector), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const start = texts.currentNode.data.indexOf(word);
    if (start < 0) continue;
    const range = document.createRange();
    range.setStart(texts.currentNode, start);
    range.setEnd(texts.currentNode, start + word.length);
    return range.getBoundingClientRect().left;
  }
  throw new Error(`${word} is not in ${selector}`);
})"""


@pytest.mark.parametrize("turn", ["\u202e", "\u2069\u202e", "\u05d0"])
def test_a_name_turns_no_word_around_it(site, browser, dial, admin, rider, support, turn):
    """By where the words stand, in the lines of the admin, of the list and of who is typing."""
    from playwright.sync_api import expect

    rider.first_name, rider.last_name = f"{turn}x", ""
    admin.first_name = f"x{turn}"
    for user in (rider, admin):
        user.save()
    support.subject = f"{turn}x"
    support.save()
    say(support, admin, f"{turn}x")
    page = open_console(browser, support)
    socket = dial(site, f"/ws/chat/{support.pk}/", rider)
    expect(page.locator(".console-presence")).to_have_text("online")
    socket.send({"type": "typing", "is_typing": True})
    expect(page.locator(".console-typing")).to_contain_text("is typing")
    for selector, words in (
        ("#user-tools", ["Welcome", "console", "site", "Log"]),
        (".console-row-preview", ["You", "x"]),
        (".console-thread-about", ["Rider", "·", "x", "online"]),
        (".console-typing", ["x", "is", "typing"]),
    ):
        places = page.evaluate(_PLACES, [selector, words])
        assert places == sorted(places), (selector, words)
    turned = "document.querySelector('.console-typing').lastChild.data = '\u202ex is typing'"
    page.evaluate(turned)  # the measure sees it where nothing isolates
    places = page.evaluate(_PLACES, [".console-typing", ["x", "is", "typing"]])
    assert places == sorted(places, reverse=True)


def test_what_shows_nothing_is_not_sent(browser, support):
    from playwright.sync_api import expect

    page = open_console(browser, support)
    for blank, text in (
        ("\u200b \u3164", "x"),
        ("\u2800", "👨‍👩‍👧‍👦"),
        ("\ufe0f", "1\ufe0f\u20e3"),
    ):
        page.fill("#console-text", blank)
        expect(page.locator(".console-send")).to_have_attribute("aria-disabled", "true")
        page.keyboard.press("Enter")
        expect(page.locator("#console-text")).to_have_value(blank)
        page.fill("#console-text", text)
        expect(page.locator(".console-send")).to_have_attribute("aria-disabled", "false")
    expect(texts(page)).to_have_count(1)


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_for_whom_motion_is_too_much(site, browser, dial, rider, support, motion):
    from playwright.sync_api import expect

    page = browser.new_page()
    page.emulate_media(reduced_motion=motion)
    page.goto(f"{CONSOLE}?conversation={support.pk}")
    expect(page.locator("#console")).to_have_attribute("data-state", "live")
    socket = dial(site, f"/ws/chat/{support.pk}/", rider)
    expect(page.locator(".console-presence")).to_have_text("online")
    socket.send({"type": "typing", "is_typing": True})
    dots = page.locator(".console-dots i")
    expect(dots).to_have_count(3)
    moving = dots.evaluate_all("dots => dots.flatMap((dot) => dot.getAnimations()).length")
    assert moving == (0 if motion == "reduce" else 3)
    page.locator("article").last.hover()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    if motion == "reduce":
        assert page.evaluate("document.getAnimations().length") == 0


def test_a_narrow_screen_shows_one_column_at_a_time(browser, support):
    from playwright.sync_api import expect

    page = browser.new_page()
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(CONSOLE)
    expect(page.locator(".console-thread")).to_be_hidden()
    page.get_by_role("link", name="Sobirjon").click()
    expect(texts(page)).to_have_count(1)
    expect(page.locator(".console-list")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for part in ("#console-text", ".console-send", ".console-back", "#bell"):
        box = page.locator(part).bounding_box()
        assert box is not None
        assert box["x"] >= 0, part
        assert box["x"] + box["width"] <= 360, part
        assert box["y"] + box["height"] <= 640, part
    page.get_by_role("button", name="Details", exact=True).click()
    expect(page.locator(".console-people")).to_be_visible()
    page.get_by_role("button", name="Close the details").click()
    page.get_by_role("button", name="Back to the list").click()
    expect(page.locator(".console-list")).to_be_visible()
    expect(page.locator(".console-thread")).to_be_hidden()


def test_light_and_dark_are_the_admins(browser, support):
    page = open_console(browser, support)
    background = "getComputedStyle(document.querySelector('.console-list')).backgroundColor"
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(background) == "rgb(18, 18, 18)"
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert page.evaluate(background) == "rgb(255, 255, 255)"


@pytest.mark.parametrize(
    ("locale", "send", "you", "today", "status"),
    [
        ("ru-RU", "Отправить", "Вы", "Сегодня", "Открыта"),
        ("uz-UZ", "Yuborish", "Siz", "Bugun", "Ochiq"),
    ],
)
def test_it_speaks_the_browsers_language(log_in, admin, support, locale, send, you, today, status):
    from playwright.sync_api import expect

    page = open_console(log_in(admin, locale=locale), support)
    page.fill("#console-text", "Salom")
    page.get_by_role("button", name=send).click()
    expect(page.locator(".console-entry-name").last).to_contain_text(you)
    expect(page.locator(".console-day")).to_have_text(today)
    expect(page.locator("#console-status option").first).to_have_text(status)
    assert "M11" not in page.locator("#console").inner_text()


def test_a_strict_content_security_policy_refuses_nothing(browser, support):
    from playwright.sync_api import expect

    tighten(browser)
    page = open_console(browser, support)
    page.fill("#console-text", "One\nTwo\nThree")
    page.press("#console-text", "Enter")
    expect(page.locator(".console-tick-sent")).to_be_visible()
    page.locator("article").last.hover()
    page.get_by_role("button", name="Edit", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    expect_nothing_refused(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(browser, admin, rider, support, scheme):
    from playwright.sync_api import expect

    say(support, admin, "Hello")
    page = browser.new_page()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(CONSOLE)
    expect(rows(page)).to_have_count(1)
    assert accessibility_problems(page, "#console") == []
    page.get_by_role("link", name="Sobirjon").click()
    expect(texts(page)).to_have_count(2)
    page.keyboard.press("n")
    page.keyboard.type("A note")
    page.keyboard.press("Enter")
    expect(texts(page)).to_have_count(3)
    expect(page.locator(".console-is-sending")).to_have_count(0)
    assert accessibility_problems(page, "#console") == []
    page.get_by_role("button", name="Keyboard shortcuts").click()
    assert accessibility_problems(page, "#console-help") == []
    page.keyboard.press("Escape")
    page.locator("#console-text").evaluate("field => field.removeAttribute('aria-label')")
    page.locator("#console-text").evaluate("field => field.removeAttribute('placeholder')")
    assert accessibility_problems(page, "#console") != []  # so axe looks


def test_a_conversation_that_there_is_not_is_said(browser, support):
    from playwright.sync_api import expect

    page = browser.new_page()
    page.goto(f"{CONSOLE}?conversation=99999")
    expect(page.locator(".console-banner")).to_have_text("There is no such conversation.")
    expect(page.locator("#console-text")).to_be_hidden()
    page.get_by_role("link", name="Sobirjon").click()
    expect(page.locator(".console-banner")).to_be_hidden()
    expect(texts(page)).to_have_count(1)


def test_a_list_that_could_not_be_loaded_says_so_and_tries_again(browser, support):
    from playwright.sync_api import expect

    # A socket that says nothing: its welcome would load the list before the button does.
    browser.route_web_socket(re.compile("/ws/"), lambda socket: None)
    browser.route("**/api/conversations/?*", lambda route: route.abort())
    page = browser.new_page()
    page.goto(CONSOLE)
    expect(page.locator(".console-list-nothing")).to_contain_text("The list could not be loaded")
    browser.unroute("**/api/conversations/?*")
    page.get_by_role("button", name="Try again").click()
    expect(rows(page)).to_have_text(["Sobirjon Bobojonov"])


def test_where_sockets_are_blocked_it_asks_over_rest_and_says_so(browser, rider, support):
    from playwright.sync_api import expect

    blocked = "Live updates are blocked here: checking every 5 seconds."
    is_open: list[bool] = []

    def answer(socket):
        if is_open:
            socket.connect_to_server()
        else:
            socket.close()

    browser.route_web_socket(re.compile("/ws/(chat|support)/"), answer)
    page = browser.new_page()
    page.goto(CONSOLE)
    expect(page.locator(".console-list-state")).to_have_text(blocked)
    say(services.open_support(user=rider).conversation, rider, "Found by asking")
    expect(page.locator(".console-row-preview")).to_have_text("Found by asking")
    page.locator(".console-conversation").click()
    expect(page.locator(".console-list-state")).to_be_hidden()
    write = page.locator("#console-text")
    for text in ("Before it knows", "In order"):
        write.fill(text)
        write.press("Enter")
    expect(page.locator(".console-banner")).to_have_text(blocked)
    expect(page.locator(".console-tick-sent")).to_have_count(2)
    write.fill("After")
    write.press("Enter")
    write.press("Escape")
    page.keyboard.press("n")
    page.keyboard.type("A note")
    page.keyboard.press("Enter")
    wait_until(Note.objects.exists)
    say(support, rider, "Heard")
    expected = [
        "I left my phone in the car",
        "Found by asking",
        "Before it knows",
        "In order",
        "After",
        "A note",
        "Heard",
    ]
    expect(texts(page)).to_have_text(expected)
    newest = Message.objects.latest("pk").pk
    read = Participant.objects.filter(role="support", last_read_id=newest)
    wait_until(read.exists, seconds=patience(15))
    expect(page.locator(".console-badge")).to_have_count(0)
    is_open.append(True)
    wake(page)
    expect(page.locator(".console-banner")).to_be_hidden(timeout=RECONNECT)
    say(support, rider, "Live again")
    expect(texts(page)).to_have_text([*expected, "Live again"])
    expect(page.locator(".console-is-sending, .console-is-failed")).to_have_count(0)
    assert Message.objects.count() == 7


# When the login ends


PASSWORD = "a good password 1"


def log_in_by_hand(page: "Page", user: Any) -> None:
    page.fill("#id_username", user.get_username())
    page.fill("#id_password", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_selector("#logout-form button")


def test_after_another_login_it_goes_on_for_the_same_user_and_stops_for_another(
    site, log_in, make_user, support
):
    from playwright.sync_api import expect

    user, other = (make_user("admin", password=PASSWORD) for _ in range(2))
    browser = log_in(user)
    page = open_console(browser, support)
    second = browser.new_page()
    second.goto("/admin/")
    second.click("#logout-form button")
    banner = page.locator(".console-banner")
    expect(banner).to_contain_text("You are signed out.")
    page.fill("#console-text", "Sent without a login")
    page.press("#console-text", "Enter")
    page.press("#console-text", "Escape")
    page.keyboard.press("n")
    page.keyboard.type("Noted without a login")
    page.keyboard.press("Enter")
    expect(page.locator(".console-is-sending")).to_have_count(2)
    with browser.expect_page() as opened:
        banner.get_by_role("link", name="Log in").click()
    third = opened.value
    log_in_by_hand(third, user)
    expect(third).to_have_url(re.compile(rf"{CONSOLE}\?conversation={support.pk}$"))
    expect(banner).to_be_hidden()
    expect(page.locator(".console-tick-sent")).to_have_count(1)
    expect(page.locator(".console-is-sending, .console-is-failed")).to_have_count(0)
    page.fill("#console-text", "With the CSRF token of now")
    page.press("#console-text", "Enter")
    noted = Note.objects.order_by("pk").values_list("text", flat=True)
    both = ["Noted without a login", "With the CSRF token of now"]
    wait_until(lambda: [*noted.all()] == both, explain=lambda: str([*noted.all()]))
    third.click("#logout-form button")
    expect(banner).to_contain_text("You are signed out.")
    page.press("#console-text", "Escape")
    page.keyboard.press("r")
    page.keyboard.type("In whose name?")
    page.keyboard.press("Enter")
    third.goto("/admin/login/")
    log_in_by_hand(third, other)
    expect(banner).to_have_text("Another user is logged in now. Reload the page.")
    expect(page.locator("#console-text")).to_be_hidden()
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator(".console-toast")).to_have_text(
        "Another user is logged in now. Reload the page."
    )
    support.refresh_from_db()
    assert support.status == "open"
    assert {one.sender for one in Message.objects.filter(is_from_support=True)} == {user}
    assert Message.objects.filter(text="In whose name?").count() == 0


def test_a_csrf_token_that_is_in_no_cookie_is_read_from_the_page_once_more(browser, support):
    page = open_console(browser, support)
    browser.clear_cookies(name=settings.CSRF_COOKIE_NAME)  # the page's own token is worth nothing
    page.keyboard.press("n")
    page.keyboard.type("Stored")
    page.keyboard.press("Enter")
    wait_until(Note.objects.exists)


def test_a_note_is_sent_again_while_the_server_is_busy_and_says_in_ones_language_why_not(
    log_in, admin, support
):
    from playwright.sync_api import expect

    answers = [
        (503, {"code": "unavailable", "message": "The database.", "retryable": True}),
        (502, {}),
        None,
        (403, {"code": "forbidden", "message": "You may not."}),
        (400, {"code": "invalid_message", "message": "Some field."}),
    ]

    def answer(route):
        refusal = answers.pop(0) if route.request.method == "POST" else None
        if refusal is None:
            route.continue_()
        else:
            route.fulfill(status=refusal[0], json=refusal[1])

    page = open_console(log_in(admin, locale="ru-RU"), support)
    page.route("**/notes/", answer)
    page.keyboard.press("n")
    page.keyboard.type("Stored once")
    page.keyboard.press("Enter")
    expect(page.locator("article.console-is-note")).to_have_count(1)
    expect(page.locator(".console-is-sending")).to_have_count(0)
    assert [one.text for one in Note.objects.all()] == ["Stored once"]
    failure = page.locator(".console-failure span")
    for said in ("У вас нет на это прав.", "Сервер этого не принял."):
        page.keyboard.type("Refused")
        page.keyboard.press("Enter")
        expect(failure.last).to_have_text(said)
    assert Note.objects.count() == 1


# When the server and Redis die


def wake(page: "Page") -> None:
    """As when the network comes back: a wait for the next attempt ends."""
    page.evaluate("dispatchEvent(new Event('online'))")


@pytest.fixture(scope="module")
def mortal(django_db_setup: None, django_db_blocker: Any) -> Iterator[tuple[Site, Valkey]]:
    """A server and a Valkey that may be killed; more than 3 missed events cannot be resumed."""
    valkey = Valkey()
    with django_db_blocker.unblock():
        server = Site(REDIS_URL=valkey.url, REALTIME_RESUME_LIMIT="3")
    yield server, valkey
    server.discard()
    valkey.kill()


def test_what_is_sent_while_all_is_dead_arrives_once(mortal, log_in, admin, rider, support):
    from playwright.sync_api import expect

    server, valkey = mortal
    page = open_console(log_in(admin, server), support)
    server.kill()
    valkey.kill()
    expect(page.locator(".console-banner")).to_contain_text("Reconnecting…")
    write = page.locator("#console-text")
    for text in ("First", "Second"):
        write.fill(text)
        write.press("Enter")
    expect(page.locator(".console-is-sending")).to_have_count(2)
    services.send_message(user=rider, conversation_id=support.pk, text="Are you there?")
    valkey.start()
    server.start()
    wake(page)
    expect(page.locator(".console-banner")).to_be_hidden(timeout=RECONNECT)
    expect(page.locator(".console-tick-sent")).to_have_count(2)
    expected = ["I left my phone in the car", "Are you there?", "First", "Second"]
    expect(texts(page)).to_have_text(expected)
    assert [one.text for one in Message.objects.order_by("pk")] == expected


def test_without_redis_all_arrives_and_with_it_again_at_once(mortal, log_in, admin, rider, support):
    from playwright.sync_api import expect

    server, valkey = mortal
    page = open_console(log_in(admin, server), support)
    valkey.kill()
    say(support, rider, "Are you there?")
    expect(texts(page).last).to_have_text("Are you there?")
    expect(page.locator(".console-banner")).to_be_hidden()  # it is no matter of the agent's
    page.fill("#console-text", "Yes")
    page.press("#console-text", "Enter")
    expect(page.locator(".console-tick-sent")).to_have_count(1)
    page.get_by_label("Priority").select_option("urgent")
    expect(page.locator(".console-chip-urgent")).to_be_visible()
    valkey.start()
    say(support, rider, "Good")
    expect(texts(page)).to_have_text(
        ["I left my phone in the car", "Are you there?", "Yes", "Good"]
    )
    expect(page.locator(".console-row-preview")).to_have_text("Good")


def test_what_cannot_be_resumed_is_loaded_again(mortal, log_in, admin, rider, support):
    from playwright.sync_api import expect

    server, _ = mortal
    page = open_console(log_in(admin, server), support)
    server.kill()
    expect(page.locator(".console-banner")).to_contain_text("Reconnecting…")
    for number in range(60):
        say(support, rider, f"Number {number}")
    server.start()
    wake(page)
    expect(texts(page).last).to_have_text("Number 59", timeout=RECONNECT)
    found = texts(page).all_text_contents()
    assert found == [f"Number {n}" for n in range(60)][-len(found) :]


def test_what_had_no_ack_when_the_page_went_waits_for_a_decision(log_in, admin, mortal, support):
    from playwright.sync_api import expect

    server, _ = mortal
    page = open_console(log_in(admin, server), support)
    # Stored, but the ack does not come: the server dies behind the commit.
    page.evaluate("Object.defineProperty(WebSocket.prototype, 'onmessage', {set() {}})")
    server.kill()
    expect(page.locator(".console-banner")).to_contain_text("Reconnecting…")
    write = page.locator("#console-text")
    write.fill("Is it there?")
    write.press("Enter")
    expect(page.locator(".console-is-sending")).to_have_count(1)
    letters = page.evaluate("Object.values(sessionStorage)")
    id = json.loads(letters[0])[0]["id"]
    server.start()
    services.send_message(
        user=admin, conversation_id=support.pk, text="Is it there?", client_message_id=id
    )
    page.reload()
    expect(texts(page)).to_have_text(["I left my phone in the car", "Is it there?"])
    expect(page.locator(".console-is-failed, .console-is-sending")).to_have_count(0)
    assert page.evaluate("sessionStorage.length") == 0
