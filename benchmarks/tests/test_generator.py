"""A benchmark that cannot see a fault proves nothing: what it checks by is checked here."""

import os
import time

import pytest

from benchmarks.generator import client_frame, faults, split_frame, text_of
from benchmarks.processes import cpu_seconds
from holodrive.realtime.outbox import text_frame


@pytest.mark.parametrize(
    ("received", "found"),
    [
        ([4, 5, 6], (0, 0, 0)),
        ([4, 6], (1, 0, 0)),
        ([4, 5, 5, 6], (0, 1, 0)),
        ([4, 6, 5], (0, 0, 1)),
        ([3, 4, 5, 6], (0, 1, 0)),  # of a run before
        ([], (3, 0, 0)),
    ],
)
def test_a_lost_doubled_or_late_message_is_counted(
    received: list[int], found: tuple[int, int, int]
) -> None:
    assert faults(received, range(4, 7)) == found


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_is_taken_when_all_of_it_is_there(size: int) -> None:
    frame = text_frame("x" * size)
    for there in {0, 1, 2, 3, 9, len(frame) - 1} - set(range(len(frame), 10)):
        assert split_frame(frame[:there]) is None
    assert split_frame(frame + b"\x81") == (len(frame) - size, len(frame))


@pytest.mark.parametrize("payload", [b"hi", b"x" * 200])
def test_the_sender_masks_what_it_sends(payload: bytes) -> None:
    frame = client_frame(1, payload)
    assert frame[0] == 0x81
    assert frame[1] & 0x80
    assert frame.endswith(bytes(4) + payload)


def test_every_text_has_the_same_length() -> None:
    assert len({len(text_of(number)) for number in (1, 99, 10_000)}) == 1


def test_cpu_is_that_of_the_process() -> None:
    before, own = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() < own + 0.2:
        pass
    assert 0.15 < cpu_seconds(os.getpid()) - before < 2
