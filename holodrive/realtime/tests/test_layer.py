"""The Redis channel layer's own part: what needs no Redis to be told."""

import pytest

from holodrive.realtime import publish
from holodrive.realtime.layer import ConfirmedPubSubLayer

GROUP, CHANNEL = "user.1", "specific.1"


@pytest.fixture
def layer():
    return ConfirmedPubSubLayer(hosts=["redis://127.0.0.1:1/0"])


async def test_of_a_leave_that_fails_the_group_goes_on_bringing_its_wake_ups(layer, monkeypatch):
    """Who comes back meanwhile joins nothing, for the group was never left."""
    of_loop = layer.loop_layer()
    name = of_loop._get_group_channel_name(GROUP)
    of_loop.groups[name] = {CHANNEL}
    (shard,) = of_loop._shards

    async def refuse(names):
        raise ConnectionError("Redis is away")

    with monkeypatch.context() as away:
        away.setattr(shard, "unsubscribe_all", refuse)
        with pytest.raises(ConnectionError):
            await layer.leave([GROUP], CHANNEL)
    assert of_loop.groups == {name: {CHANNEL}}
    await layer.leave([GROUP], CHANNEL)
    assert of_loop.groups == {}


async def test_a_group_with_another_member_is_not_left(layer):
    of_loop = layer.loop_layer()
    name = of_loop._get_group_channel_name(GROUP)
    of_loop.groups[name] = {CHANNEL, "specific.2"}
    await layer.leave([GROUP], CHANNEL)
    assert of_loop.groups == {name: {"specific.2"}}


def test_an_echo_is_known_by_how_it_begins_whatever_else_it_has(layer):
    is_echo = publish.echo_test(layer)
    own = publish.signed({"e": [["user.1", 1, "text"]], "x": [], "c": {"traceparent": "1"}})
    assert publish.is_own(own)
    assert is_echo(layer.serialize(own))
    anothers = {**own, "from": "0" * 32}
    assert not is_echo(layer.serialize(anothers))
    assert not is_echo(layer.serialize({"e": [], "from": own["from"]}))  # is_own sorts it out
    assert not is_echo(b"")
