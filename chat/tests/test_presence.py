"""Presence on the chat socket: with real server processes, and a Valkey of the test's own."""

import time
from datetime import datetime

import pytest

from holodrive.realtime.models import LastSeen
from testing.patience import PATIENCE

SECONDS = 2.0
FAST = {"REALTIME_PRESENCE_SECONDS": str(SECONDS)}
# A death is noticed after the seconds that were agreed on and a heartbeat; and Redis counts whole
# seconds.
NOTICED = SECONDS + SECONDS / 3 + 1 + PATIENCE


@pytest.fixture
def servers(start_server, valkey):
    return [start_server(REDIS_URL=valkey.url, **FAST) for _ in range(2)]


@pytest.fixture
def chat(trip, dial):
    """The rider's chat on a server; the user is known there before this returns."""

    def open_chat(server, user):
        return dial(server, f"/ws/chat/{trip.pk}/", user)

    return open_chat


def presence(socket, seconds=PATIENCE):
    return socket.frame("presence", seconds)


def status(socket, seconds=PATIENCE):
    frame = presence(socket, seconds)
    return frame["user_id"], frame["status"]


def last_seen(user):
    """What is stored, as soon as it is: the frame does not wait for the row."""
    deadline = time.monotonic() + PATIENCE
    while not (row := LastSeen.objects.filter(user=user).first()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return row.at


def test_who_comes_and_goes_on_another_process_is_told(servers, chat, dial, trip):
    one, two = servers
    driver = chat(two, trip.driver)
    assert driver.welcome["online"] == []
    rider = dial(one, "/ws/notifications/", trip.rider)  # any socket of the user counts
    assert presence(driver) == {
        "type": "presence",
        "user_id": trip.rider.pk,
        "status": "online",
        "last_seen": None,
    }
    late = chat(two, trip.driver)
    assert late.welcome["online"] == [trip.rider.pk]
    rider.close()
    frame = presence(driver)
    assert (frame["user_id"], frame["status"]) == (trip.rider.pk, "offline")
    assert presence(late) == frame
    assert last_seen(trip.rider) == datetime.fromisoformat(frame["last_seen"])


def test_two_devices_are_one_user_who_is_online_until_the_last_one_ends(servers, chat, trip):
    one, two = servers
    driver = chat(two, trip.driver)
    phone = chat(one, trip.rider)
    assert status(driver) == (trip.rider.pk, "online")
    tablet = chat(two, trip.rider)
    phone.close()
    # What follows is not about the phone: the driver hears of nobody until the tablet goes.
    again = chat(one, trip.rider)
    tablet.close()
    again.close()
    assert status(driver) == (trip.rider.pk, "offline")


def test_a_killed_process_takes_its_users_offline(servers, chat, trip):
    one, two = servers
    driver = chat(two, trip.driver)
    chat(one, trip.rider)
    assert status(driver) == (trip.rider.pk, "online")
    one.kill()
    assert status(driver, NOTICED) == (trip.rider.pk, "offline")
    assert last_seen(trip.rider)


def test_a_process_that_stops_takes_its_users_offline_at_once(start_server, valkey, chat, trip):
    slow = {"REALTIME_PRESENCE_SECONDS": "600"}  # so it cannot be the time that ends it
    one, two = (start_server(REDIS_URL=valkey.url, **slow) for _ in range(2))
    driver = chat(two, trip.driver)
    chat(one, trip.rider)
    assert status(driver) == (trip.rider.pk, "online")
    one.stop()
    assert status(driver) == (trip.rider.pk, "offline")


def test_presence_outlives_a_redis_that_was_killed(servers, chat, valkey, trip, make_user):
    one, two = servers
    driver = chat(two, trip.driver)
    rider = chat(one, trip.rider)
    assert status(driver) == (trip.rider.pk, "online")
    valkey.kill()
    offline = chat(two, trip.driver)  # nobody waits for Redis
    assert offline.welcome["online"] == [trip.rider.pk]
    valkey.start()
    staff = make_user("admin")
    chat(one, staff)
    # It has forgotten everything: a process that starts now learns of all of them again.
    rider.close()
    assert status(driver, NOTICED) == (trip.rider.pk, "offline")


def test_without_redis_ones_own_process_is_known(servers, chat, valkey, trip):
    _, two = servers
    valkey.kill()
    driver = chat(two, trip.driver)
    rider = chat(two, trip.rider)
    assert status(driver) == (trip.rider.pk, "online")
    rider.close()
    assert status(driver) == (trip.rider.pk, "offline")
