"""However a socket ends: its subscription, its gauge and its outbox go, and it leaves one line."""

import asyncio

import pytest

from chat import consumers, services
from holodrive.realtime import consumer, group_commit, hub, metrics
from testing.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lines(monkeypatch):
    """The log lines of ended sockets."""
    lines = []
    monkeypatch.setattr(consumer.logger, "info", lambda text, *args: lines.append(text % args))
    return lines


@pytest.fixture
def nothing_left(lines):
    """Checks that exactly one socket has ended, and left nothing."""

    def check(trip, code):
        assert [f"code={code} " in line for line in lines] == [True]
        assert f"conversation.{trip.pk}" not in hub.here()._topics
        assert metrics.sockets.labels("chat")._value.get() == 0

    return check


@pytest.fixture
def stuck(monkeypatch):
    """Makes what consumers ask of the database wait for ever: `await stuck()` until one does."""
    asked = asyncio.Event()

    async def never(*args, **kwargs):
        asked.set()
        await asyncio.Event().wait()

    async def until_asked():
        async with asyncio.timeout(PATIENCE):
            await asked.wait()

    def begin(module):
        monkeypatch.setattr(module, "in_database", never)
        return until_asked

    return begin


async def cancelled(socket):
    """As a server does with an application that takes too long."""
    socket._task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await socket._task


async def test_the_client_leaves(connect, trip, nothing_left):
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    await socket.leave(1001)
    nothing_left(trip, 1001)


async def test_the_join_fails(connect, trip, nothing_left, monkeypatch):
    monkeypatch.setattr(services, "welcome", lambda *args: 1 / 0)
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.driver, first_frame=False)
    assert (await socket.frame())["code"] == "internal"
    with pytest.raises(ZeroDivisionError):  # every server logs it and closes with 1011
        await socket._task
    nothing_left(trip, 1006)


async def test_it_is_cancelled_while_it_joins(connect, trip, nothing_left, stuck):
    asked = stuck(consumer)
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.driver, first_frame=False)
    await asked()
    await cancelled(socket)
    nothing_left(trip, 1006)


@pytest.mark.parametrize(
    ("module", "command"),
    [
        (consumers, {"type": "message_read", "up_to_id": 1}),
        (group_commit, {"type": "chat_message", "message": "Hi"}),
    ],
)
async def test_it_is_cancelled_inside_a_command(
    connect, trip, nothing_left, stuck, module, command
):
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    asked = stuck(module)
    socket.send(command)
    await asked()
    await cancelled(socket)
    nothing_left(trip, 1006)


async def test_it_is_cancelled_inside_a_resume(connect, trip, nothing_left, stuck):
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    asked = stuck(consumer)
    socket.send({"type": "resume", "last_seq": 0})
    await asked()
    await cancelled(socket)
    nothing_left(trip, 1006)


async def test_its_client_does_not_even_take_the_close(connect, trip, nothing_left, monkeypatch):
    """A server that awaits its client (uvicorn) never returns from `send`."""
    from holodrive.realtime import outbox

    monkeypatch.setattr(outbox, "_FLUSH_SECONDS", 0.01)
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.driver)

    async def never(message):
        await asyncio.Event().wait()

    for each in list(outbox._open):
        each._send = never
        each.close(outbox.CloseCode.TOO_SLOW)
    async with asyncio.timeout(PATIENCE):
        await socket._task  # ends by itself, without an exception that a server would log
    nothing_left(trip, 4408)
