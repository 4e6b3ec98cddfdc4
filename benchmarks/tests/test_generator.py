"""A benchmark that cannot see a fault proves nothing: what it checks by is checked here."""

import mmap
import os
import time
from dataclasses import replace

import msgspec
import pytest

from benchmarks.frames import LoadError, client_frame, faults, split_frame
from benchmarks.persisted import Pairs, Speaker, number_in, preview_of, text_of
from benchmarks.processes import cpu_seconds, memory_bytes
from benchmarks.servers import Pair, Person, Server
from benchmarks.workers import Worker
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


@pytest.mark.parametrize("expected", [text_of, preview_of])
def test_a_text_must_be_the_one_that_was_sent(expected) -> None:
    assert number_in(expected(42), expected) == 42
    with pytest.raises(LoadError):
        number_in(expected(42)[:-1], expected)


_SERVER = Server("none", 1, (), greets=True)
_PAIR = Pair(1, Person(1, "-"), Person(2, "-"))


class _Silent:
    def send(self, payload: bytes) -> None:
        pass


def _two_speakers() -> tuple[Pairs, Speaker, Speaker]:
    talks = Pairs(_SERVER, (_PAIR,))
    rider, driver = Speaker(talks, _PAIR.rider), Speaker(talks, _PAIR.driver)
    rider.other, driver.other = driver, rider
    rider.chat = driver.chat = _Silent()  # type: ignore[assignment]
    talks._speakers = [rider, driver]
    return talks, rider, driver


def _message(number: int, seq: int) -> bytes:
    return msgspec.json.encode(
        {"type": "chat_message", "sender_id": 1, "message": text_of(number), "seq": seq}
    )


def _notification(number: int) -> bytes:
    told = {"message": preview_of(number)}
    return msgspec.json.encode({"type": "notification", "notification": told, "seq": number})


async def test_a_message_is_complete_when_echo_message_and_notification_are_there() -> None:
    talks, rider, driver = _two_speakers()
    rider.say(time.perf_counter())
    driver.take("chat", _message(1, seq=1))
    driver.take("bell", _notification(1))
    assert talks._complete == 0
    rider.take("chat", _message(1, seq=1))
    assert talks._complete == 1
    assert len(talks.talk.latencies) == len(talks.talk.notified) == 1


async def test_a_hole_in_the_numbers_of_a_stream_is_counted() -> None:
    talks, rider, driver = _two_speakers()
    for number, seq in ((1, 1), (2, 3)):
        rider.say(time.perf_counter())
        driver.take("chat", _message(number, seq))
    assert talks.gaps == 1


async def test_what_was_never_acknowledged_or_came_twice_is_told(monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.persisted._SETTLE_SECONDS", 0)
    talks, rider, driver = _two_speakers()
    rider.say(time.perf_counter())
    driver.take("bell", _notification(1))
    for _ in range(2):
        driver.take("chat", _message(1, seq=1))
    rider.take("chat", _message(1, seq=1))
    talk = await talks._end(time.perf_counter(), 1.0, 1)
    assert (talk.lost, talk.doubled, talk.unacknowledged) == (0, 1, 1)


async def test_a_refused_message_is_counted() -> None:
    talks, rider, _ = _two_speakers()
    rider.take("chat", b'{"type": "error", "code": "internal"}')
    assert talks.refused == 1


@pytest.mark.parametrize("payload", [b"{", b"{}", b'{"type":"chat_message","sender_id":1}'])
async def test_a_frame_that_is_none_of_ours_ends_the_run(payload: bytes) -> None:
    talks, rider, _ = _two_speakers()
    rider.take("chat", payload)
    with pytest.raises(LoadError):
        talks._raise()


def test_a_worker_tells_what_came_of_it_and_what_went_wrong() -> None:
    worker = Worker(Pairs, replace(_SERVER, port=1), ())
    try:
        assert worker.run(Pairs.pace, 1.0, 0.0).messages == 0
        assert worker.share > 0
        with pytest.raises(LoadError, match="ValueError"):
            worker.run(Pairs.pace, 1.0, float("nan"))
    finally:
        worker.end()


def test_cpu_is_that_of_the_process() -> None:
    before, own = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() < own + 0.2:
        pass
    assert 0.15 < cpu_seconds(os.getpid()) - before < 2


def test_memory_is_that_of_the_process() -> None:
    before = memory_bytes(os.getpid())
    kept = mmap.mmap(-1, 20_000_000)  # of new pages: the allocator may have some to give again
    for _ in range(20):
        kept.write(bytes(1_000_000))
    assert 15_000_000 < memory_bytes(os.getpid()) - before < 30_000_000
    assert kept
