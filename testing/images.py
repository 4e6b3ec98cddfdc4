"""`make images`: the pictures of docs/images/, taken of a real server with demo data."""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from testing.services import ROOT, prepare

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from testing.browser import Site

IMAGES = ROOT / "docs" / "images"
SIZE = {"width": 1040, "height": 580}
# What an agent finds after lunch: oldest first; how many minutes ago, read, and title and text; or
# who wrote and what, whose notification is made by the message itself.
STORY = [
    (1_500, True, "Payout report is ready", "Week 47, 214 drivers"),
    (190, True, ("Malika", "Yusupova"), "Thank you, the refund has arrived!"),
    (64, True, "Driver documents expire soon", "Jasur Karimov, licence, in 5 days"),
    (17, False, ("Sobirjon", "Bobojonov"), "I left my phone in the car"),
    (4, False, "Trip was cancelled by the driver", "Trip 1842, airport, rider waits outside"),
    (0, False, ("Anna", "Petrova"), "My driver went to the wrong gate"),
]
FILL = """
from datetime import timedelta
from django.utils import timezone
from chat.models import Message
from chat.services import open_support
from holodrive.accounts.models import User
from notifications.models import Notification
admin = User.objects.create_superuser(username="agent", first_name="Dilnoza")
for minutes, is_read, about, text in {story!r}:
    if isinstance(about, str):
        Notification.objects.create(recipient=admin, title=about, message=text)
    else:
        first, last = about
        rider = User.objects.create(username=first, first_name=first, last_name=last, role="rider")
        Message(conversation=open_support(user=rider).conversation, sender=rider, text=text).save()
    # What is made now happened then. (The plain manager: nobody listens yet.)
    Notification._base_manager.filter(pk=Notification.objects.latest("pk").pk).update(
        created_at=timezone.now() - timedelta(minutes=minutes, seconds=5),
        status="read" if is_read else "unread",
    )
from django.test import Client
client = Client()
client.force_login(admin)
print(client.cookies["sessionid"].value)
"""


# Conversations as (minutes ago, name, priority, text), then what was said in the first of them as
# (minutes ago, who, text).
QUEUE = [
    (230, "Otabek Ismoilov", 1, "Where is my receipt?"),
    (95, "Nigora Saidova", 1, "My promo code does not work"),
    (48, "Timur Aliev", 2, "The app shows the wrong address"),
    (21, "Malika Yusupova", 3, "I paid twice for one trip"),
    (34, "Sobirjon Bobojonov", 1, "Hello, I left my phone in the car"),
]
TALK = [
    (31, "agent", "Hello Sobirjon! I am sorry to hear that. Which trip was it?"),
    (30, "rider", "At 18:40, from the airport; a black phone, blue cover"),
    (25, "note", "The driver has it. He ends his shift at ten."),
    (
        24,
        "agent",
        "The driver has found it. He can bring it to you this evening.",
    ),
    (6, "rider", "Wonderful, thank you so much! This evening is great."),
    (5, "agent", "He will call you when he is near."),
]
FILL_QUEUE = """
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.utils import timezone
from chat import services
from chat.models import Conversation, Message, Note
from holodrive.accounts.models import User
agent = User.objects.get(username="agent")
User.objects.filter(pk=agent.pk).update(last_name="Karimova")
def ago(minutes):
    return timezone.now() - timedelta(minutes=minutes)
Conversation.objects.all().delete()
for minutes, name, priority, text in {queue!r}:
    first, last = name.split()
    rider, _ = User.objects.get_or_create(
        username=first, defaults={{"first_name": first, "last_name": last, "role": "rider"}}
    )
    conversation = services.open_support(user=rider).conversation
    Message(conversation=conversation, sender=rider, text=text, created_at=ago(minutes)).save()
    Conversation.objects.filter(pk=conversation.pk).update(
        priority=priority, waiting_since=ago(minutes), created_at=ago(minutes)
    )
for minutes, who, text in {talk!r}:
    if who == "note":
        Note(conversation=conversation, author=agent, text=text, created_at=ago(minutes)).save()
    else:
        sender = agent if who == "agent" else rider
        Message(
            conversation=conversation, sender=sender, text=text, created_at=ago(minutes)
        ).save()
last = Message.objects.latest("pk").pk
services.mark_read(user=rider, conversation_id=conversation.pk, up_to_id=last)
Conversation.objects.filter(pk=conversation.pk).update(assignee=agent)
print(conversation.pk)
"""


def take_console(browser: "Browser", site: "Site", session: str) -> None:
    from playwright.sync_api import expect

    from testing.browser import context_of

    said = site.shell(FILL_QUEUE.format(queue=QUEUE, talk=TALK)).strip().splitlines()[-1]
    for scheme in ("light", "dark"):
        page = context_of(browser, site, session).new_page()
        page.set_viewport_size({"width": 1280, "height": 930})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.goto(f"/admin/chat/console/?conversation={said}")
        expect(page.locator("article")).to_have_count(len(TALK) + 1)
        expect(page.locator(".console-conversation")).to_have_count(len(QUEUE))
        page.fill("#console-text", "Is there anything else that I can do for you?")
        page.screenshot(path=IMAGES / f"console-{scheme}.png")


def take_bell(browser: "Browser", site: "Site", session: str) -> None:
    from playwright.sync_api import expect

    from testing.browser import context_of

    for scheme in ("light", "dark"):
        page = context_of(browser, site, session).new_page()
        page.set_viewport_size(SIZE)  # type: ignore[arg-type]
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.goto("/admin/")
        expect(page.locator("#bell")).to_have_attribute("data-state", "live")
        page.click("#bell")
        expect(page.locator(".bell-row")).to_have_count(len(STORY))
        page.locator(".bell-tabs").hover()
        page.screenshot(path=IMAGES / f"bell-{scheme}.png")


def main() -> int:
    prepare()
    os.environ["DJANGO_SETTINGS_MODULE"] = "holodrive.settings"
    with tempfile.TemporaryDirectory() as home:
        os.environ["DATABASE_URL"] = f"sqlite:///{Path(home, 'images.sqlite3')}"
        import django
        from django.core.management import call_command

        django.setup()
        from testing.browser import Site, running_chromium

        call_command("migrate", verbosity=0)
        IMAGES.mkdir(exist_ok=True)
        site = Site()
        try:
            session = site.shell(FILL.format(story=STORY)).strip().splitlines()[-1]
            with running_chromium("The pictures") as browser:
                take_bell(browser, site, session)
                take_console(browser, site, session)
        finally:
            site.discard()
    return 0


if __name__ == "__main__":
    sys.exit(main())
