"""`manage.py realtime`: real processes answer, as an operator would ask them."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from contextlib import ExitStack, closing

import pytest

from chat.events import stream_of
from holodrive.realtime import status
from holodrive.realtime.layer import ConfirmedPubSubLayer
from holodrive.realtime.publish import SyncWaker, WakeUp, signed
from testing.client import access_token, wait_until
from testing.patience import ANSWER, PATIENCE, START
from testing.raw import RawSocket
from testing.services import ROOT, Valkey, free_port

pytestmark = pytest.mark.django_db(transaction=True)


def realtime(*options, **settings):
    return subprocess.run(
        [sys.executable, "manage.py", "realtime", *options],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=START,
    )


def seen(url, **settings):
    run = realtime("--json", REDIS_URL=url, **settings)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def one_line(run):
    assert run.returncode == 1
    assert len(run.stderr.strip().splitlines()) == 1, run.stderr
    return run.stderr


@pytest.fixture
def opened():
    """Opens raw sockets, which are closed at the end."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(closing(RawSocket(*args, **options)))


@pytest.fixture
def fleet(start_server, valkey):
    """Two processes on a Valkey of their own, where nobody else answers."""
    return [start_server(REDIS_URL=valkey.url) for _ in range(2)]


def test_it_shows_the_sockets_of_each_process(fleet, valkey, dial, trip):
    first, second = fleet
    dial(first, f"/ws/chat/{trip.pk}/", trip.rider)
    dial(first, "/ws/notifications/", trip.rider)
    dial(second, f"/ws/chat/{trip.pk}/", trip.driver)
    shown = {process["process"].split(":")[1]: process for process in seen(valkey.url)["processes"]}
    assert shown.keys() == {str(server.process.pid) for server in fleet}
    of_first, of_second = (shown[str(server.process.pid)] for server in fleet)
    assert of_first["sockets"] == {"chat": 1, "notifications": 1}
    assert of_second["sockets"] == {"chat": 1}
    assert (of_first["users"], of_second["users"]) == (1, 1)
    assert (of_first["streams"], of_second["streams"]) == (2, 1)


def test_a_process_without_a_socket_answers_as_well(fleet, valkey):
    wait_until(lambda: len(seen(valkey.url)["processes"]) == 2, 20)


def test_deliveries_lag_and_closes_are_counted(fleet, valkey, dial, trip):
    rider = dial(fleet[0], f"/ws/chat/{trip.pk}/", trip.rider)
    driver = dial(fleet[1], f"/ws/chat/{trip.pk}/", trip.driver)
    rider.send({"type": "chat_message", "message": "a secret", "client_message_id": "1"})
    driver.frame("chat_message")
    rider.close()

    def is_closed():
        return {"1000": 1} in [process["closes"] for process in seen(valkey.url)["processes"]]

    wait_until(is_closed, ANSWER)
    processes = seen(valkey.url)["processes"]
    assert all(process["deliveries"] >= 1 for process in processes)
    assert all(process["lag_p99"] is not None for process in processes)
    assert all(process["reconciled_seconds_ago"] < 60 for process in processes)
    assert all(process["database"]["queue"] == 0 for process in processes)


def test_the_slowest_reader_is_named_by_its_id_and_without_its_token(fleet, valkey, opened, trip):
    token = access_token(trip.driver)
    opened(fleet[0], f"/ws/chat/{trip.pk}/", token, receive_buffer=4096)
    layer = ConfirmedPubSubLayer(hosts=[valkey.url], prefix="holodrive")
    waker, stream = SyncWaker(layer), stream_of(trip.pk)
    told = [[stream, json.dumps({"type": "typing", "x": "x" * 60_000}), 0]] * 64

    def slowest():
        waker.send([WakeUp(stream, signed({"x": told}))])
        return [one for each in seen(valkey.url)["processes"] for one in each["slowest"]]

    found = []
    wait_until(lambda: found.extend(slowest()) or found, 40)
    assert found[0]["user"] == trip.driver.pk
    assert found[0]["endpoint"] == "chat"
    assert found[0]["bytes"] > 0
    shown = realtime("--once", REDIS_URL=valkey.url).stdout
    assert f"{trip.driver.pk}" in shown.split("slow reader")[1]
    assert token not in shown + json.dumps(seen(valkey.url))


def test_a_process_that_died_is_not_there_and_a_stuck_one_is_said(fleet, valkey):
    wait_until(lambda: len(seen(valkey.url)["processes"]) == 2, 20)
    fleet[0].process.send_signal(signal.SIGSTOP)
    try:
        answers = seen(valkey.url)
        assert (len(answers["processes"]), answers["silent"]) == (1, 1)
        shown = realtime("--once", REDIS_URL=valkey.url).stdout
        assert "without an answer in 2 s: 1 of 2 processes" in shown
    finally:
        fleet[0].process.send_signal(signal.SIGCONT)
    fleet[0].kill()
    wait_until(lambda: seen(valkey.url)["silent"] == 0, 20)
    assert len(seen(valkey.url)["processes"]) == 1


def test_another_installation_on_the_same_redis_is_not_shown(start_server, valkey):
    start_server(REDIS_URL=valkey.url, REALTIME_PREFIX="ours")
    theirs = start_server(REDIS_URL=valkey.url, REALTIME_PREFIX="theirs")
    wait_until(
        lambda: not realtime("--once", REDIS_URL=valkey.url, REALTIME_PREFIX="theirs").returncode,
        20,
    )
    (process,) = seen(valkey.url, REALTIME_PREFIX="theirs")["processes"]
    assert process["process"].endswith(f":{theirs.process.pid}")


def test_several_redis_hosts(start_server, valkey):
    another = Valkey()
    try:
        urls = f"{valkey.url},{another.url}"
        server = start_server(REDIS_URL=urls)
        wait_until(lambda: not realtime("--once", REDIS_URL=urls).returncode, 20)
        (process,) = seen(urls)["processes"]
        assert process["process"].endswith(f":{server.process.pid}")
    finally:
        another.kill()


def test_without_redis_or_a_server_it_is_one_line(valkey):
    assert "no server runs" in one_line(realtime("--once", REDIS_URL=valkey.url))
    away = f"redis://127.0.0.1:{free_port()}/0"
    assert "Redis does not answer" in one_line(realtime("--once", REDIS_URL=away))


def test_a_frozen_redis_is_one_line(valkey):
    valkey.freeze()
    assert "Redis does not answer" in one_line(realtime("--once", REDIS_URL=valkey.url))


def test_without_a_terminal_it_prints_once(fleet, valkey):
    wait_until(lambda: len(seen(valkey.url)["processes"]) == 2, 20)
    run = realtime(REDIS_URL=valkey.url)
    assert run.returncode == 0
    assert run.stdout.startswith("HoloDrive realtime   2 processes")
    assert "\033" not in run.stdout


def test_in_a_terminal_it_goes_on_until_ctrl_c_and_outlives_redis(fleet, valkey, dial, trip):
    wait_until(lambda: len(seen(valkey.url)["processes"]) == 2, 20)
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    view = subprocess.Popen(
        [sys.executable, "manage.py", "realtime"],
        cwd=ROOT,
        env=os.environ | {"REDIS_URL": valkey.url},
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    )
    os.close(side)
    shown = ""

    def shows(text, since):
        nonlocal shown
        if select.select([main], [], [], 0)[0]:
            shown += os.read(main, 65_536).decode()
        return text in shown[since:]

    try:
        wait_until(lambda: shows("2 processes   0 sockets", 0), 20, explain=lambda: shown)
        dial(fleet[0], f"/ws/chat/{trip.pk}/", trip.rider)
        wait_until(lambda: shows("2 processes   1 sockets", 0), 20, explain=lambda: shown)
        valkey.kill()
        wait_until(lambda: shows("Redis does not answer", 0), 20, explain=lambda: shown)
        valkey.start()
        so_far = len(shown)
        wait_until(lambda: shows("1 sockets", so_far), 20, explain=lambda: shown)
        view.send_signal(signal.SIGINT)
        assert view.wait(PATIENCE) == 0
        assert "Traceback" not in shown
    finally:
        view.kill()
        view.wait()
        os.close(main)


def test_a_quantile_is_the_bound_that_covers_it():
    buckets = {"0.001": 90.0, "0.01": 98.0, "0.1": 99.0, "+Inf": 100.0}
    assert status.quantile(buckets, 0.5) == 0.001
    assert status.quantile(buckets, 0.99) == 0.1
    assert status.quantile(buckets, 1) == float("inf")
    assert status.quantile(dict.fromkeys(buckets, 0.0), 0.99) is None
    assert status.quantile({}, 0.99) is None
