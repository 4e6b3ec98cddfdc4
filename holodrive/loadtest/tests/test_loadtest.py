"""`manage.py loadtest` against real servers, with a few sockets."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from django.contrib.auth import get_user_model

from chat.models import Conversation, Message
from holodrive.loadtest import people, report
from holodrive.loadtest.figures import Figures
from holodrive.realtime.models import Event, Stream
from notifications.models import Notification
from testing.client import wait_until
from testing.patience import START, patience
from testing.server import test_database_url
from testing.services import ROOT, free_port

SMALL = ("--riders", "4", "--drivers", "2", "--agents", "1", "--every", "0.3")


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "manage.py", "loadtest", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": test_database_url()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def loadtest(*arguments):
    with start(*arguments) as process:
        try:
            out, errors = process.communicate(timeout=patience(120))
        finally:
            process.kill()
    return process.returncode, out, errors


@pytest.fixture
def started():
    """Starts one that goes on until the test, or its end, stops it."""
    with ExitStack() as stack:

        def begin(*arguments):
            process = stack.enter_context(start(*arguments))
            stack.callback(process.kill)
            return process

        yield begin


def refusal(*arguments):
    code, _, errors = loadtest(*arguments)
    assert code == 1
    assert len(errors.strip().splitlines()) == 1, errors
    return errors


@pytest.mark.django_db(transaction=True)
def test_it_reports_what_everybody_saw_and_leaves_nothing_behind(server, tmp_path):
    page = tmp_path / "report.html"
    code, out, errors = loadtest(
        f"ws://{server.address}", *SMALL, "--ramp", "1", "--hold", "3", "--html", str(page)
    )
    assert (code, errors) == (0, ""), out
    sockets, sent = map(int, re.search(r"(\d+) sockets at most, (\d+) messages", out).groups())
    # A bell for each of 7; two sockets for each of 4 trips and of 1 conversation of support; and
    # the agent's queue.
    assert sockets == 7 + 2 * 5 + 1
    assert sent > 5
    assert "lost 0, doubled 0" in out
    assert "Problems" not in out
    for what in ("connect to first frame", "message to its ack", "message to the others"):
        assert re.search(rf"{what} +\d+ +[\d.]+", out), out
    counted = int(re.search(r"message to the bell +(\d+)", out)[1])
    assert counted > 0
    assert not get_user_model().objects.filter(username__startswith=people.PREFIX).exists()
    for model in (Conversation, Message, Notification, Event, Stream):
        left = model._base_manager.all()
        if model is Stream:
            left = left.exclude(name="support")  # everybody's
        if model is Event:
            left = left.exclude(stream__name="support")
        assert not left.exists(), model
    assert "</svg>" in page.read_text()


@pytest.mark.django_db(transaction=True)
def test_ctrl_c_ends_it_and_it_still_reports(server, started):
    process = started(f"ws://{server.address}", *SMALL, "--ramp", "1", "--hold", "600")
    wait_until(lambda: Message.objects.count() >= 3, 60)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=START)
    assert (process.returncode, errors) == (0, ""), out
    assert "Interrupted" in out
    assert "lost 0, doubled 0" in out
    assert not get_user_model().objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_server_that_restarts_meanwhile_loses_nothing(start_server, started):
    server = start_server(REALTIME_DRAIN_SECONDS="1")
    process = started(f"ws://{server.address}", *SMALL, "--ramp", "1", "--hold", "600")
    wait_until(lambda: Message.objects.count() >= 3, 60)
    server.stop()
    server.start()
    before = Message.objects.count()
    wait_until(lambda: Message.objects.count() >= before + 10, 60)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=START)
    assert (process.returncode, errors) == (0, ""), out
    assert "close 1012" in out
    assert "lost 0, doubled 0" in out


@pytest.mark.django_db(transaction=True)
def test_people_from_a_file_need_no_database_and_can_be_used_again(server, tmp_path):
    file = tmp_path / "people.json"
    code, out, errors = loadtest(*SMALL, "--prepare", str(file))
    assert (code, errors) == (0, ""), out
    assert file.stat().st_mode & 0o077 == 0
    assert len(json.loads(file.read_text())) == 7
    assert json.loads(file.read_text())[0]["token"] not in out
    for _ in range(2):
        code, out, errors = loadtest(
            f"ws://{server.address}", "--people", str(file), "--every", "0.3", "--hold", "3",
            "--ramp", "1",
        )  # fmt: skip
        assert (code, errors) == (0, ""), out
        assert "lost 0, doubled 0" in out
    assert "is there already" in refusal("--prepare", str(file))
    code, out, _ = loadtest("--forget")
    assert "7 people" in out
    assert not get_user_model().objects.exists()
    assert "refuses the token: unauthenticated" in refusal(
        f"ws://{server.address}", "--people", str(file)
    )


@pytest.mark.django_db(transaction=True)
def test_forgetting_touches_nobody_else(make_user, trip):
    people.make("abc", 1, 1, 1, timedelta(minutes=1))
    Message(conversation=trip, sender=trip.rider, text="Hi").save()
    assert people.forget("another") == 0
    assert people.forget("abc") == 3
    assert get_user_model().objects.count() == 2
    assert Message.objects.count() == 1
    assert list(Conversation.objects.all()) == [trip]


@pytest.mark.django_db(transaction=True)
def test_real_support_is_not_told_of_its_conversations(make_user):
    support = make_user("admin")
    made = people.make("abc", 1, 1, 1, timedelta(minutes=1))
    (agent,) = [person for person in made if person.role == "admin"]
    conversation = Conversation.objects.get(pk=agent.conversations[0])
    rider = conversation.participants.get(role="rider").user
    Message(conversation=conversation, sender=rider, text="Hi").save()
    assert not Notification.objects.filter(recipient=support).exists()
    assert Notification.objects.filter(recipient=conversation.assignee).count() == 1


@pytest.mark.django_db(transaction=True)
def test_nothing_is_done_to_a_host_that_was_not_confirmed():
    for host in ("rides.example.com", "192.0.2.1", "127.0.0.1.example.com"):
        for owned in ((), ("--i-own", "another.example.com")):
            assert f"{host} was not confirmed" in refusal(f"wss://{host}/", *owned)
    assert not get_user_model().objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "is wanted"),
        (("ftp://127.0.0.1",), "is wanted"),
        (("ws://127.0.0.1:99999",), "is wanted"),
        (("ws://127.0.0.1", "--hold", "3600"), "at most 3600 s"),
        (("ws://127.0.0.1", "--hold", "-20"), "at most 3600 s"),
        (("ws://127.0.0.1", "--every", "0"), "0.1 s or more"),
        (("ws://127.0.0.1", "--riders", "6000"), "at most 20,000"),
        (("ws://127.0.0.1", "--riders", "0"), "1 or more"),
        (("ws://127.0.0.1", "--riders", "20", "--drivers", "2"), "more --drivers"),
        (("ws://127.0.0.1", "--people", "/nowhere"), "/nowhere"),
    ],
)
def test_what_is_too_much_or_wrong_is_one_line(arguments, says):
    assert says in refusal(*arguments)
    assert not get_user_model().objects.exists()


@pytest.mark.django_db(transaction=True)
def test_without_a_server_it_is_one_line_and_nobody_is_left():
    assert "no socket at" in refusal(f"ws://127.0.0.1:{free_port()}", "--riders", "1")
    assert not get_user_model().objects.exists()


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def talk(lost=0):
    """Three seconds of a test with two people."""
    clock = Clock()
    figures = Figures(clock)
    figures.opened(0.050)
    figures.opened(0.070)
    for number in range(4):
        clock.now += 0.5
        figures.sent(str(number), others=1)
        clock.now += 0.010
        figures.acked(str(number))
        if number >= lost:
            figures.delivered(str(number), number, socket=2, own=False)
        figures.delivered(str(number), number, socket=1, own=True)
        figures.notified(number)
    return figures


def test_what_did_not_come_is_lost_and_what_came_twice_is_doubled():
    assert (talk().lost, talk().doubled) == (0, 0)
    assert (talk(lost=2).lost, talk(lost=2).doubled) == (2, 0)
    figures = talk()
    figures.delivered("0", 0, socket=2, own=False)
    assert (figures.lost, figures.doubled) == (0, 1)
    figures.sent("refused", others=1)
    figures.refused("refused")
    assert figures.lost == 0


def test_latencies_count_from_the_send_and_belong_to_their_second():
    figures = talk()
    spread = figures.summary()["latency_ms"]
    assert spread["delivery"] == {"count": 4, "p50": 10, "p90": 10, "p99": 10, "max": 10}
    assert spread["connect"]["max"] == 70
    assert [one.sent for one in figures.seconds] == [1, 2, 1]
    assert [one.sockets for one in figures.seconds] == [2, 2, 2]


def test_a_notification_ahead_of_its_message_counts_as_well():
    clock = Clock()
    figures = Figures(clock)
    figures.sent("1", others=0)
    clock.now += 0.020
    figures.notified(7)
    clock.now += 0.020
    figures.delivered("1", 7, socket=1, own=True)
    assert figures.summary()["latency_ms"]["notification"]["p50"] == 20


class Addresses(HTMLParser):
    """All that a page would load, and whether its tags are balanced."""

    def __init__(self):
        super().__init__()
        self.loaded = []

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href", "srcset")]
        assert tag not in ("script", "link", "iframe", "img")


def test_the_page_loads_nothing_and_quotes_what_it_is_given():
    page = report.html(talk(), "Load test of <b>&")
    parser = Addresses()
    parser.feed(page)
    assert parser.loaded == []
    assert "http://" not in page
    assert "https://" not in page
    assert "Load test of &lt;b&gt;&amp;" in page
    assert page.count("<svg") == 6  # four latencies, sockets, messages
    assert "nan" not in page
    assert report.html(Figures(), "Nothing")
