"""REALTIME_TRACING: one trace from the save to the sockets of all processes, without the texts."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

import pytest
from django.db import transaction
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chat.events import stream_of
from chat.models import Message
from holodrive.realtime import publish, tracing
from testing.client import access_token, wait_until
from testing.patience import START
from testing.services import ROOT, free_port

TRACED = {
    "REALTIME_TRACING": "on",
    "OTEL_TRACES_EXPORTER": "console",
    "OTEL_BSP_SCHEDULE_DELAY": "50",
}
SECRET = "what nobody else may read"


@pytest.fixture
def spans(monkeypatch):
    """What is traced in this process, by name, when it has ended."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("tests"))
    yield lambda: {span.name: span for span in exporter.get_finished_spans()}
    provider.shutdown()


def printed(output):
    """The spans that the console exporter has written between the lines of a log."""
    decoder, found = json.JSONDecoder(), []
    for position in range(len(output)):
        if output.startswith('{\n    "name"', position):
            found.append(decoder.raw_decode(output, position)[0])
    return found


def of_trace(spans, trace_id):
    return [span for span in spans if span["context"]["trace_id"] == trace_id]


def run(*arguments, **settings):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=START,
    )


@pytest.mark.django_db(transaction=True)
def test_a_message_is_one_trace_through_two_processes(start_server, dial, trip):
    first, second = start_server(**TRACED), start_server(**TRACED)
    token = access_token(trip.driver)
    rider = dial(first, f"/ws/chat/{trip.pk}/", trip.rider)
    driver = dial(second, f"/ws/chat/{trip.pk}/?token={token}")
    driver.frame("connection_established")
    rider.send({"type": "chat_message", "message": SECRET, "client_message_id": "1"})
    driver.frame("chat_message")

    def names(server):
        return {span["name"] for span in printed(server.log())}

    wait_until(lambda: {"command chat_message", "publish", "deliver"} <= names(first), 20)
    wait_until(lambda: "deliver" in names(second), 20)
    here, there = printed(first.log()), printed(second.log())
    (command,) = [span for span in here if span["name"] == "command chat_message"]
    trace = of_trace(here, command["context"]["trace_id"])
    by_name = {span["name"]: span for span in trace}
    chain = ["command chat_message", "append", "commit", "publish", "deliver"]
    for cause, effect in pairwise(chain):
        assert by_name[effect]["parent_id"] == by_name[cause]["context"]["span_id"], effect
    stream = stream_of(trip.pk)
    (elsewhere,) = [
        span
        for span in of_trace(there, command["context"]["trace_id"])
        if stream in span["attributes"]["realtime.streams"]
    ]
    assert elsewhere["parent_id"] == by_name["publish"]["context"]["span_id"]
    assert elsewhere["attributes"]["realtime.sockets"] == 1
    assert elsewhere["resource"]["attributes"]["service.name"] == "holodrive"
    for log in (first.log(), second.log()):
        assert SECRET not in log
        assert token not in log


@pytest.mark.django_db(transaction=True)
def test_a_save_in_a_shell_is_the_beginning_of_the_trace(start_server, dial, make_user):
    rider = make_user("rider")
    server = start_server(**TRACED)
    socket = dial(server, "/ws/notifications/", rider)
    shell = server.shell(
        "from notifications.models import Notification\n"
        f"Notification.objects.create(recipient_id={rider.pk}, title='Hi', message='{SECRET}')"
    )
    socket.frame("notification")
    of_shell = {span["name"]: span for span in printed(shell)}
    trace_id = of_shell["append"]["context"]["trace_id"]
    assert of_shell["append"]["parent_id"] is None
    assert of_shell["publish"]["context"]["trace_id"] == trace_id
    wait_until(lambda: of_trace(printed(server.log()), trace_id), 20)
    (deliver,) = of_trace(printed(server.log()), trace_id)
    assert deliver["name"] == "deliver"
    assert deliver["parent_id"] == of_shell["publish"]["context"]["span_id"]
    assert SECRET not in shell + server.log()


@pytest.mark.django_db(transaction=True)
def test_a_connect_and_a_refused_command_are_spans(start_server, dial, trip):
    server = start_server(**TRACED)
    rider = dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
    rider.send({"type": "message_delete", "message_id": 4711})
    assert rider.frame("error")["code"] == "not_found"

    def by_name():
        return {span["name"]: span for span in printed(server.log())}

    wait_until(lambda: {"connect", "command message_delete"} <= by_name().keys(), 20)
    assert by_name()["connect"]["attributes"]["realtime.endpoint"] == "chat"
    assert by_name()["command message_delete"]["attributes"]["realtime.error"] == "not_found"


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_neither_committed_nor_published(trip, spans):
    def send_and_fail():
        with transaction.atomic():
            Message(conversation=trip, sender=trip.rider, text=SECRET).save()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send_and_fail()
    assert spans().keys() == {"append"}
    Message(conversation=trip, sender=trip.rider, text=SECRET).save()
    assert {"commit", "publish"} <= spans().keys()


def test_an_error_says_its_kind_and_not_what_it_quotes(spans):
    with pytest.raises(ValueError, match=SECRET), tracing.span("append"):
        raise ValueError(SECRET)
    assert spans()["append"].status.description == "ValueError"
    assert SECRET not in spans()["append"].to_json()


def test_what_redis_does_not_take_is_an_error_of_the_span(spans):
    away = publish.ConfirmedPubSubLayer(hosts=[f"redis://127.0.0.1:{free_port()}/0"])
    waker = publish.SyncWaker(away)
    for expected in ("ConnectionError", "NotAskedError"):
        begun = tracing.begin("publish")
        waker.send([publish.WakeUp("x", publish.signed({}), begun)])
        assert spans()["publish"].status.description in (expected, f"{expected}Error")


def test_many_at_once_are_one_span_that_is_linked_to_all(spans):
    with tracing.span("first") as first, tracing.span("second") as second:
        pass
    with tracing.together([first, second, None]), tracing.span("append"):
        pass
    append = spans()["append"]
    assert append.parent.span_id == first.get_span_context().span_id
    assert [link.context.span_id for link in append.links] == [second.get_span_context().span_id]


@pytest.fixture
def without_opentelemetry(tmp_path):
    """The environment of a machine that does not have it."""
    (tmp_path / "opentelemetry.py").write_text("raise ImportError\n")
    return {"PYTHONPATH": str(tmp_path)}


def test_while_it_is_off_nothing_is_carried_and_nothing_needed(without_opentelemetry):
    news = publish.News([("user.1", 1, "{}")], cause=tracing.begin("publish"))
    (wake_up,) = publish._wake_ups(news)
    assert "c" not in wake_up.message
    code = (
        "import django; django.setup(); import holodrive.asgi\n"
        "from holodrive.realtime import tracing\n"
        "with tracing.span('append', stream='x'): print('fine')"
    )
    done = run("-c", code, DJANGO_SETTINGS_MODULE="holodrive.settings", **without_opentelemetry)
    assert done.stdout.strip() == "fine", done.stderr


def test_what_is_missing_is_said_in_a_sentence(without_opentelemetry):
    for says, settings in (
        ("requirements-otel.txt", without_opentelemetry),
        ("OTEL_TRACES_EXPORTER='nobody'", {"OTEL_TRACES_EXPORTER": "nobody"}),
    ):
        done = run("manage.py", "check", REALTIME_TRACING="on", **settings)
        assert done.returncode != 0
        assert says in done.stderr.strip().splitlines()[-1]


@pytest.mark.django_db(transaction=True)
def test_spans_go_to_a_collector(start_server, dial, trip):
    taken = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        server = start_server(
            REALTIME_TRACING="on",
            OTEL_SERVICE_NAME="rides",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_port}",
            OTEL_EXPORTER_OTLP_COMPRESSION="none",
            OTEL_BSP_SCHEDULE_DELAY="50",
        )
        dial(server, f"/ws/chat/{trip.pk}/", trip.rider)
        wait_until(lambda: taken, 20)
        collector.shutdown()
    path, body = taken[0]
    assert path == "/v1/traces"
    assert b"rides" in body
    assert b"connect" in body
