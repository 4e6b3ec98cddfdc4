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
# What an agent finds after lunch: oldest first; how many minutes ago, title, text, read.
STORY = [
    (1_500, "Payout report is ready", "Week 47, 214 drivers", True),
    (190, "New message from Malika Yusupova", "Thank you, the refund has arrived!", True),
    (64, "Driver documents expire soon", "Jasur Karimov, licence, in 5 days", True),
    (17, "New message from Sobirjon Bobojonov", "I left my phone in the car...", False),
    (4, "Trip was cancelled by the driver", "Trip 1842, airport, rider waits outside", False),
    (0, "New message from Anna Petrova", "My driver went to the wrong gate...", False),
]
FILL = """
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.utils import timezone
from chat.models import Conversation
from notifications.models import Notification
admin = get_user_model().objects.create_superuser(username="agent", first_name="Dilnoza")
conversation = Conversation.objects.create()
for minutes, title, message, is_read in {story!r}:
    Notification.objects.create(
        recipient=admin, title=title, message=message, status="read" if is_read else "unread",
        created_at=timezone.now() - timedelta(minutes=minutes, seconds=5),
        related_object_type="conversation" if "message" in title else "",
        related_object_id=conversation.pk if "message" in title else None,
    )
from django.test import Client
client = Client()
client.force_login(admin)
print(client.cookies["sessionid"].value)
"""


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
        from testing.browser import Site, chromium

        call_command("migrate", verbosity=0)
        IMAGES.mkdir(exist_ok=True)
        site = Site()
        try:
            session = site.shell(FILL.format(story=STORY)).strip().splitlines()[-1]
            with chromium("The pictures") as browser:
                take_bell(browser, site, session)
        finally:
            site.discard()
    return 0


if __name__ == "__main__":
    sys.exit(main())
