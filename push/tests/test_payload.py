"""What goes to a device fits into its service's bytes, by whole characters."""

from datetime import UTC, datetime

import msgspec
import pytest

from holodrive.realtime.tests.test_characters import TABLE
from notifications.events import NotificationBody
from push.backends import Show
from push.backends.payload import payload


def show(related=7, **texts):
    about = NotificationBody(
        id=1,
        notification_type="chat_message",
        related_object_type="conversation",
        related_object_id=related,
        data={"conversation_id": related, "message_id": 1},
        created_at="2025-11-22T13:15:22.970153+00:00",
        status="unread",
        **texts,
    )
    return Show(tag="t", notification=about, unread_count=1, expires_at=datetime.now(UTC))


@pytest.mark.parametrize("most", [1200, 3900])
@pytest.mark.parametrize("character", TABLE["characters"].values(), ids=TABLE["characters"])
def test_a_text_is_cut_between_characters(character, most):
    shown = payload(show(title="Hi", message=f"x{character * 4000}"), most)
    assert len(msgspec.json.encode(shown)) <= most
    kept = shown["notification"]["message"].removeprefix("x").removesuffix("…")
    assert len(kept) >= 100
    assert kept == character * (len(kept) // len(character))


def test_what_is_cut_leaves_no_isolate_open():
    text = f"New message in conversation: \u2068{'x' * 9000}\u2069..."
    assert "\u2068" not in payload(show(title="Hi", message=text), 1200)["notification"]["message"]


@pytest.mark.parametrize("title", ["\u0001" * 200, "\u0001" * 199 + "…", "👨‍👩‍👧‍👦" * 28])
def test_a_title_that_fills_the_bytes_is_cut_at_last(title):
    shown = payload(show(title=title, message="Hi"), 700)
    assert len(msgspec.json.encode(shown)) <= 700
    assert shown["notification"]["title"].endswith("…")


@pytest.mark.parametrize("large", [2**53, 1764580123456345679, 2**63 - 1])
def test_an_id_that_scripts_would_round_is_text_as_in_frames(large):
    about = payload(show(related=large, title="Paid", message="Hi"), 3900)["notification"]
    assert (about["related_object_id"], about["data"]["conversation_id"]) == (str(large),) * 2
    assert (about["id"], about["data"]["message_id"]) == (1, 1)
