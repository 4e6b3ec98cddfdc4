"""The JavaScript client: its types, its rules (testing/node), and against real server processes in
a real Chromium and in Node; and Chromium's own WebSocket, by every form of a URL.
"""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.staticfiles import finders

from chat.models import Message
from holodrive.realtime.tests.test_clients import FORMS, NOTIFICATIONS
from testing.browser import RECONNECT, Site, context_of, session_of
from testing.client import access_token
from testing.foreign import missing_for_node
from testing.parts import missing
from testing.patience import PATIENCE, START, patience
from testing.services import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.django_db(transaction=True)

NODE = ROOT / "testing" / "node"
MODULE = "realtime/holodrive-realtime.js"


# Without a server


@pytest.fixture(scope="session")
def node() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs a program of Node's in testing/node."""
    lacking = missing_for_node()
    if not lacking and not (NODE / "node_modules" / "typescript").exists():
        # An installation from before it was wanted.
        install = ["npm", "ci", "--no-audit", "--no-fund"]
        if subprocess.run(install, cwd=NODE, capture_output=True, timeout=patience(120)).returncode:
            lacking = ["typescript (npm ci in testing/node)"]
    if lacking:
        missing("The JavaScript client in Node", *lacking)

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=START)

    return run


def test_the_types_are_right(node):
    check = node("node_modules/.bin/tsc", "-p", "tsconfig.json")
    assert check.returncode == 0, check.stdout


def test_its_rules_hold(node):
    rules = node("node", "--test", "--test-reporter=spec", "holodrive-realtime.test.mjs")
    assert rules.returncode == 0, rules.stdout


# A real server


@pytest.fixture
def rider_token(trip: Any) -> str:
    return access_token(trip.rider)


@pytest.fixture
def driver_token(trip: Any) -> str:
    return access_token(trip.driver)


@pytest.fixture
def rider_session(trip: Any) -> str:
    return session_of(trip.rider)


def test_it_talks_from_node(node, site, trip, rider_token):
    module = finders.find(MODULE)
    url = f"ws://{site.address}/ws/chat/{trip.pk}/"
    texts = [f"Number {number}" for number in range(20)]
    run = node("node", "talk.mjs", module, url, rider_token, *texts)
    assert run.returncode == 0, run.stderr
    acks = [json.loads(line) for line in run.stdout.splitlines()]
    assert [ack["seq"] for ack in acks] == list(range(1, 21))
    assert [message.text for message in trip.messages.order_by("pk")] == texts


# Chromium's own WebSocket

DIAL = """dials => Promise.all(dials.map(([url, protocols]) => new Promise(tell => {
    const seen = {frames: []};
    const socket = new WebSocket(url, protocols);
    socket.onopen = () => seen.protocol = socket.protocol;
    socket.onmessage = event => {
        seen.frames.push(JSON.parse(event.data));
        if (seen.frames[0].type === "connection_established") socket.close(1000);
    };
    socket.onclose = event => tell({...seen, code: event.code});
})))"""


def page_of(chromium: "Browser", site: Site, session: str = "") -> "Page":
    """A page of the site without a bell."""
    page = context_of(chromium, site, session).new_page()
    page.goto("/healthz")
    return page


def dial(page: "Page", site: Site, hows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What becomes of Chromium's sockets by path and protocols, by their names."""
    dials = [[f"ws://{site.address}{how['path']}", how["protocols"]] for how in hows.values()]
    return dict(zip(hows, page.evaluate(DIAL, dials), strict=True))


# A browser cannot set headers.
BROWSER_FORMS = {name: form for name, form in FORMS.items() if not form.headers}


def filled_in(trip: Any, token: str) -> dict[str, dict[str, Any]]:
    return {name: form.of(token, trip.rider, trip.pk) for name, form in BROWSER_FORMS.items()}


def test_chromium_connects_by_every_form(site, trip, rider_token, chromium):
    dialled = dial(page_of(chromium, site), site, filled_in(trip, rider_token))
    assert len(dialled) == len(BROWSER_FORMS) == 22
    for name, seen in dialled.items():
        if name in NOTIFICATIONS:
            documented = {"message": "Connected to notifications", "user_id": str(trip.rider.pk)}
        else:
            documented = {"message": "Connected to chat", "conversation_id": trip.pk}
        assert seen["frames"][0].items() >= documented.items(), name
        assert seen["frames"][0]["expires_at"] is not None, name
        assert seen["protocol"] == ("jwt" if "subprotocol" in name else ""), name
        assert seen["code"] == 1000, name


def test_chromium_can_tell_why_it_is_refused_in_every_form(site, trip, chromium):
    dialled = dial(page_of(chromium, site), site, filled_in(trip, "wrong"))
    assert len(dialled) == len(BROWSER_FORMS)
    for name, seen in dialled.items():
        assert [frame["type"] for frame in seen["frames"]] == ["error"], name
        assert (seen["frames"][0]["code"], seen["code"]) == ("unauthenticated", 4401), name


def test_chromium_connects_with_a_session(site, trip, rider_session, chromium):
    paths = [
        f"{path}{slash}"
        for path in ("/ws/notifications", f"/ws/chat/{trip.pk}")
        for slash in ("", "/")
    ]
    hows = {path: {"path": path, "protocols": []} for path in paths}
    with_session = dial(page_of(chromium, site, rider_session), site, hows)
    without = dial(page_of(chromium, site), site, hows)
    for path in paths:
        assert with_session[path]["frames"][0]["type"] == "connection_established", path
        assert with_session[path]["frames"][0]["expires_at"] is None, path
        assert without[path]["code"] == 4401, path


# The module, in pages

CHAT = """async ([module, url, token, lastSeq]) => {
    const {connect} = await import(module);
    const chat = window.chat = {frames: [], states: [], acks: [], refused: [], asked: 0};
    chat.socket = connect({
        url, lastSeq,
        token: token && (() => { chat.asked++; return token; }),
        onFrame: frame => chat.frames.push(frame),
        onState: (state, problem) => chat.states.push(problem ? `${state} ${problem.code}` : state),
    });
    chat.say = text => chat.socket.sendMessage(text).then(
        ack => chat.acks.push({...ack, text}), problem => chat.refused.push(problem.code));
}"""
BABBLE = """([name, count, pause]) => {
    let said = 0;
    const timer = setInterval(() => {
        chat.say(`${name} ${said++}`);
        if (said === count) clearInterval(timer);
    }, pause);
}"""


def open_chat(
    chromium: "Browser",
    site: Site,
    trip: Any,
    token: str = "",
    session: str = "",
    last_seq: int = 0,
) -> "Page":
    """A page whose `chat` is connected to the trip."""
    page = page_of(chromium, site, session)
    page.evaluate(CHAT, [f"/static/{MODULE}", f"/ws/chat/{trip.pk}/", token, last_seq])
    page.wait_for_function("chat.socket.isLive")
    return page


def stored() -> list[tuple[str | None, str]]:
    """(client_message_id, text) of all messages, in their order."""
    return list(Message.objects.order_by("pk").values_list("client_message_id", "text"))


def messages_seen(page: "Page") -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = page.evaluate(
        "chat.frames.filter(({type}) => type === 'chat_message')"
    )
    return messages


def test_no_message_is_lost_or_doubled_while_the_server_is_killed(
    site, trip, rider_token, driver_token, chromium
):
    rider = open_chat(chromium, site, trip, rider_token)
    driver = open_chat(chromium, site, trip, driver_token)
    pages = {"rider": rider, "driver": driver}
    count = 120
    for name, page in pages.items():
        page.evaluate(BABBLE, [name, count, 25])  # for three seconds
    rider.wait_for_function("chat.acks.length > 10")
    site.kill()
    rider.wait_for_function("chat.states.at(-1) === 'waiting'")
    acked_before = rider.evaluate("chat.acks.length")
    assert rider.evaluate("chat.socket.unacknowledged.length") > 0
    site.start()
    for name, page in pages.items():
        page.wait_for_function(f"chat.acks.length === {count}", timeout=RECONNECT)
        page.wait_for_function(f"chat.socket.lastSeq === {2 * count}", timeout=RECONNECT)
        acked = page.evaluate("chat.acks.map(({text}) => text)")
        assert acked == [f"{name} {number}" for number in range(count)]
        assert page.evaluate("chat.refused") == []
        assert page.evaluate("chat.asked") >= 2  # a token for every connection
    assert acked_before < count

    rows = stored()
    texts = [text for _, text in rows]
    assert len(texts) == len(set(texts)) == 2 * count
    for name, page in pages.items():
        own = [text for text in texts if text.startswith(name)]
        assert own == [f"{name} {number}" for number in range(count)]  # none overtook another
        seen = messages_seen(page)
        assert [frame["seq"] for frame in seen] == list(range(1, 2 * count + 1))
        assert [(frame["client_message_id"], frame["message"]) for frame in seen] == rows


def test_a_message_whose_ack_was_lost_is_stored_once(site, trip, rider_session, chromium):
    page = page_of(chromium, site, rider_session)
    connections = []

    def lose_the_first_ack(socket):
        server = socket.connect_to_server()
        connections.append(socket.url)

        def pass_on(text):
            if len(connections) == 1 and json.loads(text)["type"] == "message_ack":
                socket.close(code=3000)
            else:
                socket.send(text)

        server.on_message(pass_on)

    page.route_web_socket("**/ws/chat/**", lose_the_first_ack)
    page.evaluate(CHAT, [f"/static/{MODULE}", f"/ws/chat/{trip.pk}/", None, 0])
    page.evaluate("chat.say('Where are you?')")
    page.wait_for_function("chat.acks.length === 1")
    assert len(connections) == 2
    ack = page.evaluate("chat.acks[0]")
    assert ack["duplicate"] is True
    assert stored() == [(ack["client_message_id"], "Where are you?")]
    assert [frame["seq"] for frame in messages_seen(page)] == [1]


def test_it_goes_on_where_another_life_ended(site, trip, rider_token, driver_token, chromium):
    driver = open_chat(chromium, site, trip, driver_token)
    rider = open_chat(chromium, site, trip, rider_token)
    for text in ("One", "Two"):
        driver.evaluate("text => chat.say(text)", text)
    rider.wait_for_function("chat.socket.lastSeq === 2")
    rider.evaluate("chat.socket.close()")
    assert rider.evaluate("chat.states") == ["live", "stopped"]
    driver.evaluate("chat.say('Three')")
    driver.wait_for_function("chat.acks.length === 3")
    rider = open_chat(chromium, site, trip, rider_token, last_seq=2)
    rider.wait_for_function("chat.socket.lastSeq === 3")
    assert [frame["message"] for frame in messages_seen(rider)] == ["Three"]


def test_the_network_coming_back_ends_a_backoff(site, trip, rider_session, driver_token, chromium):
    driver = open_chat(chromium, site, trip, driver_token)
    rider = open_chat(chromium, site, trip, session=rider_session)
    driver.evaluate("chat.say('One')")
    rider.wait_for_function("chat.socket.lastSeq === 1")
    site.kill()
    rider.wait_for_function("chat.states.at(-1) === 'waiting'")
    rider.clock.install()
    rider.clock.pause_at(datetime.now(UTC) + timedelta(days=1))  # no backoff ends by itself
    for _ in range(5):  # each attempt fails and doubles the next: 16 s and more
        rider.wait_for_function("chat.socket.state === 'waiting'")
        rider.evaluate("dispatchEvent(new Event('online'))")
    site.start()
    driver.evaluate("chat.say('Two')")
    rider.wait_for_function("chat.socket.state === 'waiting'")
    rider.evaluate("dispatchEvent(new Event('online'))")
    rider.wait_for_function("chat.socket.isLive", timeout=1000 * PATIENCE)
    rider.wait_for_function("chat.socket.lastSeq === 2", timeout=RECONNECT)


def test_the_server_s_own_words_end_it(site, trip, rider_token, chromium):
    page = page_of(chromium, site)
    url = f"/ws/chat/{trip.pk + 1000}/"
    page.evaluate(CHAT, [f"/static/{MODULE}", url, rider_token, 0])
    page.evaluate("chat.say('Hi')")
    page.wait_for_function("chat.refused.length === 1")
    assert page.evaluate("chat.states") == ["stopped not_found"]
    assert page.evaluate("chat.refused") == ["not_found"]

    page.evaluate(CHAT, [f"/static/{MODULE}", f"/ws/chat/{trip.pk}/", "wrong", 0])
    page.wait_for_function("chat.states.at(-1) === 'signed-out unauthenticated'")
    assert page.evaluate("chat.asked") == 2

    page.evaluate(CHAT, [f"/static/{MODULE}", f"/ws/chat/{trip.pk}/", rider_token, 0])
    page.evaluate("chat.say(' ')")
    page.evaluate("chat.say('x'.repeat(4001))")
    page.evaluate("chat.say('x'.repeat(70_000))")
    page.evaluate("chat.say('Fine')")
    page.wait_for_function("chat.acks.length === 1")
    assert page.evaluate("chat.refused") == ["invalid_message", "invalid_message", "too_large"]
    assert [text for _, text in stored()] == ["Fine"]
