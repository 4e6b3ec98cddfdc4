"""Every server of the fan-out gets and delivers as many bytes, in its own form."""

import asyncio

import pytest

from benchmarks import fanout
from benchmarks.bench import Bench, Row, percentiles
from benchmarks.fanout import OURS, PAYLOAD, PLAIN, SOCKETIO, TUTORIAL, Crowd, Dialect
from benchmarks.frames import LoadError
from benchmarks.processes import Processes
from benchmarks.servers import Servers

_DELIVERED = {
    "tutorial": (TUTORIAL, '{"message": "%s"}'),
    "plain": (PLAIN, '{"type":"chat_message","message":"%s"}'),
    "Socket.IO": (SOCKETIO, '42["chat_message",{"type":"chat_message","message":"%s"}]'),
}


@pytest.mark.parametrize(("dialect", "delivered"), _DELIVERED.values(), ids=_DELIVERED)
def test_what_is_delivered_has_the_same_size_and_its_number_is_found(
    dialect: Dialect, delivered: str
) -> None:
    payload = (delivered % fanout.text_of(42, dialect.length)).encode()
    assert len(payload) == PAYLOAD
    assert dialect.number_of(payload) == 42


@pytest.mark.parametrize("dialect", [OURS, TUTORIAL, PLAIN, SOCKETIO])
def test_other_frames_are_no_messages(dialect: Dialect) -> None:
    assert dialect.number_of(b'40{"sid":"x"}') is None
    assert dialect.number_of(b'{"type":"connection_established","message":"Connected"}') is None


def test_a_text_cut_short_is_no_message() -> None:
    text = fanout.text_of(42, OURS.length)[:-1]
    assert OURS.number_of(f'{{"type":"chat_message","message":"{text}"}}'.encode()) is None


def test_an_error_frame_ends_the_run() -> None:
    with pytest.raises(LoadError, match="rate_limited"):
        OURS.number_of(b'{"type":"error","code":"rate_limited"}')


async def _crowd(tmp_path, do):
    with Processes() as processes:
        crowd = Crowd(Servers(processes, tmp_path).null("null"), PLAIN)
        await crowd.join(5)
        try:
            return await do(crowd)
        finally:
            await crowd.leave()


async def test_every_socket_gets_each_message_and_is_timed(tmp_path) -> None:
    async def send(crowd):
        await crowd.expect(range(1, 4))
        return await crowd.send(range(1, 4), 100.0)

    part = await _crowd(tmp_path, send)
    assert {number: len(times) for number, times in part.arrivals.items()} == {1: 5, 2: 5, 3: 5}
    assert (part.lost, part.doubled, part.disordered) == (0, 0, 0)
    assert part.frame_bytes == PAYLOAD


async def test_what_does_not_come_is_lost(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fanout, "_PATIENCE", 0.3)

    async def send_less(crowd):
        await crowd.expect(range(1, 4))
        crowd._links[0].send(PLAIN.sent(1))
        return await crowd.receive(range(1, 4))

    part = await _crowd(tmp_path, send_less)
    assert part.lost == 10


async def test_a_server_that_goes_ends_the_run(tmp_path) -> None:
    async def wait(crowd):
        await crowd.expect(range(1, 2))
        crowd._links[0].transport.abort()
        await asyncio.sleep(0)
        await crowd.receive(range(1, 2))

    with pytest.raises(LoadError, match="was lost"):
        await _crowd(tmp_path, wait)


def test_percentiles_are_of_one_run() -> None:
    assert percentiles("", [place / 1000 for place in range(100, 0, -1)]) == {
        "p50 ms": pytest.approx(51),
        "p99 ms": pytest.approx(100),
    }


def test_a_row_gives_medians_and_sums_what_went_wrong(capsys) -> None:
    bench = Bench(3, 1.0, [], quick=False)
    for value, lost in ((3.0, 0), (1.0, 2), (2.0, 1)):
        bench.record("fanout", "ours", "fast", {"p50 ms": value}, {"lost": lost})
    row = bench.row("fanout", "ours", "fast")
    assert row is not None
    assert row["p50 ms"] == 2.0
    assert row.wrong == {"lost": 3}


@pytest.mark.parametrize(("adds", "runs"), [(False, 1), (True, 2)])
def test_what_is_measured_anew_replaces_what_was_there(adds: bool, runs: int) -> None:
    bench = Bench(1, 1.0, [], quick=False)
    bench.rows, bench.adds = [Row("fanout", "ours", "fast", [{"p50 ms": 9.0}], {"lost": 9})], adds
    bench.record("fanout", "ours", "fast", {"p50 ms": 1.0}, {"lost": 0})
    assert len(bench.rows[0].runs) == runs
    assert bench.rows[0].wrong["lost"] == 9 * adds


def test_a_program_that_is_not_there_is_named(monkeypatch) -> None:
    bench = Bench(1, 1.0, ["nchan"], quick=True)

    def absent(servers):
        raise FileNotFoundError("nginx with nchan")

    assert list(bench.each({"nchan": absent})) == []
    assert bench.missing == ["nchan was not measured: nginx with nchan"]
