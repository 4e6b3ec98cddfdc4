"""An app that is on the screen says so on its socket."""

import pytest
from asgiref.sync import sync_to_async

from notifications.models import Notification
from push.models import Device, Push

pytestmark = pytest.mark.django_db(transaction=True)


async def test_what_an_app_shows_on_the_screen_is_not_pushed(connect, make_user, recorder):
    user = await sync_to_async(make_user)()
    await Device.objects.acreate(user=user, platform="android", token="token")
    socket = await connect("/ws/notifications/", user)
    first = await Notification.objects.acreate(recipient=user, title="a")
    second = await Notification.objects.acreate(recipient=user, title="b")
    assert await Push.objects.acount() == 2
    socket.send({"type": "notification_seen", "up_to_id": first.pk})
    socket.send({"type": "ping"})  # frames of one socket are obeyed one after another
    await socket.frame("pong")
    assert [push.pk async for push in Push.objects.all()] == [second.pk]
    await first.arefresh_from_db()
    assert first.status == "unread"


@pytest.mark.parametrize("up_to_id", [0, -1, "1", None, 2**63])
async def test_a_wrong_id_is_refused(up_to_id, connect, make_user):
    user = await sync_to_async(make_user)()
    socket = await connect("/ws/notifications/", user)
    socket.send({"type": "notification_seen", "up_to_id": up_to_id})
    error = await socket.frame("error")
    assert (error["code"], error["ref"]) == ("invalid_message", "notification_seen")


async def test_without_push_it_is_taken_and_changes_nothing(connect, make_user):
    user = await sync_to_async(make_user)()
    socket = await connect("/ws/notifications/", user)
    socket.send({"type": "notification_seen", "up_to_id": 1})
    socket.send({"type": "ping"})
    assert (await socket.frame())["type"] == "pong"
