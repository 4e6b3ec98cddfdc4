"""Typing, on a clock of the test's own."""

import pytest

from chat.typing_state import TypingState


class Timer:
    def __init__(self, at, call):
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self):
        self.cancelled = True


class FakeLoop:
    """The two methods of an event loop that the timers use."""

    def __init__(self):
        self.now, self.timers = 0.0, []

    def time(self):
        return self.now

    def call_later(self, delay, call):
        self.timers.append(Timer(self.now + delay, call))
        return self.timers[-1]

    def advance(self, seconds):
        self.now += seconds
        due = [t for t in self.timers if t.at <= self.now and not t.cancelled]
        self.timers = [t for t in self.timers if t not in due]
        for timer in due:
            timer.call()


@pytest.fixture
def told():
    return []


@pytest.fixture
def loop():
    return FakeLoop()


@pytest.fixture
def state(told, loop):
    return TypingState(told.append, 6, loop)


def test_the_server_ends_what_the_client_forgets_to_end(state, told, loop):
    state.typing()
    loop.advance(5.9)
    assert told == [True]
    loop.advance(0.2)
    assert told == [True, False]


def test_going_on_moves_the_end(state, told, loop):
    state.typing()
    loop.advance(5)
    state.typing()
    loop.advance(5)
    assert told == [True, True]
    loop.advance(1)
    assert told == [True, True, False]


def test_more_than_once_a_second_is_coalesced(state, told, loop):
    for _ in range(10):
        state.typing()
        loop.advance(0.05)
    assert told == [True]


def test_stopping_twice_says_it_once(state, told):
    state.stopped()
    state.typing()
    state.stopped()
    state.stopped()
    assert told == [True, False]


def test_on_and_off_is_no_amplifier(state, told):
    for _ in range(100):
        state.typing()
        state.stopped()
    assert told == [True, False]
