"""In a conversation that is closed, and of whoever has left one, no one is seen to type, to come or
to go. Nothing that must not come is waited for: what is sent behind it comes first.
"""

from datetime import timedelta

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.utils import timezone

from chat import events, openness, services
from chat.models import Conversation, Participant
from holodrive.realtime import hub, wire

pytestmark = pytest.mark.django_db(transaction=True)


@sync_to_async
def change(trip, **fields):
    row = Conversation.objects.get(pk=trip.pk)
    for name, value in fields.items():
        setattr(row, name, value)
    row.save(update_fields=fields)


@pytest.fixture
def clock(monkeypatch):
    """Moves the time that conversations close by."""

    class Clock:
        ahead = timedelta()

        def now(self):
            return timezone.now() + self.ahead

    moved = Clock()
    monkeypatch.setattr(openness, "timezone", moved)
    return moved


@pytest_asyncio.fixture
async def two(trip, connect):
    await change(trip, closes_at=timezone.now() + timedelta(hours=1))
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    assert (await driver.frame("presence"))["status"] == "online"
    return rider, driver


def come_and_go(user, is_online):
    """As if all of that user's sockets had come or gone."""
    roster = hub.here().presence.roster
    roster._tell(user.pk, is_online, 0.0)


async def next_kind(socket, kinds=("typing", "presence", "message_read")):
    while (frame := await socket.frame())["type"] not in kinds:
        pass
    return frame["type"]


async def end(trip, clock, how):
    if how == "time passes":
        clock.ahead = timedelta(hours=2)
    elif how == "it is closed":
        await change(trip, status="closed")
    else:
        await change(trip, closes_at=timezone.now() - timedelta(seconds=1))


ENDS = ["time passes", "it is closed", "its end is set"]


@pytest.mark.parametrize("how", ENDS)
async def test_what_closes_while_sockets_are_open_shows_no_one_any_more(how, two, trip, clock):
    rider, driver = two
    message = await sync_to_async(services.send_message)(
        user=trip.driver, conversation_id=trip.pk, text="Hi"
    )
    rider.send({"type": "typing", "is_typing": True})
    assert await next_kind(driver) == "typing"
    await end(trip, clock, how)
    for is_typing in (False, True):
        rider.send({"type": "typing", "is_typing": is_typing})
    come_and_go(trip.rider, False)
    come_and_go(trip.rider, True)
    rider.send({"type": "message_read", "up_to_id": message.message.pk})
    assert await next_kind(driver) == "message_read"


@pytest.mark.parametrize("how", ENDS)
async def test_who_opens_a_closed_one_sees_no_one(how, two, trip, connect, clock):
    again = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    assert again.welcome["online"] == [trip.rider.pk]
    await end(trip, clock, how)
    again = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    assert again.welcome["online"] == []


async def test_what_is_opened_again_shows_who_is_there(two, trip):
    _, driver = two
    await change(trip, status="closed")
    await change(trip, status="open")
    frame = await driver.frame("presence")
    assert (frame["user_id"], frame["status"]) == (trip.rider.pk, "online")
    come_and_go(trip.rider, False)
    assert (await driver.frame("presence"))["status"] == "offline"


async def test_whoever_was_removed_is_not_seen_to_go(two, trip, connect):
    rider, driver = two
    await sync_to_async(Participant.objects.filter(user=trip.rider).delete)()
    assert await rider.closed() == 4404
    assert (await driver.frame("participant_removed"))["user_id"] == trip.rider.pk
    come_and_go(trip.rider, False)
    await sync_to_async(services.send_message)(
        user=trip.driver, conversation_id=trip.pk, text="Gone?"
    )
    assert await next_kind(driver, ("presence", "chat_message")) == "chat_message"
    await sync_to_async(Participant.objects.create)(
        user=trip.rider, conversation=trip, role="rider"
    )
    await connect(f"/ws/chat/{trip.pk}/", trip.driver)  # whoever enters now sees them again
    come_and_go(trip.rider, True)
    assert (await driver.frame("presence"))["status"] == "online"


@pytest.mark.parametrize("id", [7, 2**53, 2**63 - 1])
def test_a_removal_is_understood_however_large_the_id(id):
    known = openness.Openness()
    known(wire.encode_logged(events.ParticipantRemoved(user_id=id, seq=1)))
    assert known.removed == {id}


async def test_whoever_may_not_reply_is_not_seen_to_type(two, trip, make_agent, connect, settings):
    _, driver = two
    settings.CHAT_REPLY_NEEDS_PERMISSION = True
    for names, kind in (
        (("view_conversation",), "message_read"),
        (("view_conversation", "reply_conversation"), "typing"),
    ):
        agent = await connect(f"/ws/chat/{trip.pk}/", await sync_to_async(make_agent)(*names))
        agent.send({"type": "typing", "is_typing": True})
        agent.send({"type": "message_read", "up_to_id": 1})
        agent.send({"type": "ping"})
        await agent.frame("pong")
        message = await sync_to_async(services.send_message)(
            user=trip.rider, conversation_id=trip.pk, text="Hi"
        )
        agent.send({"type": "message_read", "up_to_id": message.message.pk})
        assert await next_kind(driver, ("typing", "message_read")) == kind


def test_an_event_that_came_first_knows_better_than_the_database():
    known = openness.Openness()
    state = '{{"id":1,"kind":"trip","subject":"","status":"{}","closes_at":null}}'
    updated = '{{"type":"conversation_updated","seq":{},"conversation":' + state + "}}"
    known(updated.format(5, "closed"))
    known.learn(4, "open", None, ())
    assert not known.is_open()
    known.learn(5, "open", None, ())
    assert known.is_open()
