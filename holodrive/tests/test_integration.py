"""What docs/how-to/ says, done. add-it-to-your-project.md, to a project that is none of ours: it
gets a bell and a chat. clients/python.md and react-native.md, against a server that is stopped and
started under them.
"""

import asyncio
import json
import queue
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener, urlopen

import pytest

from chat.models import Message
from holodrive.realtime.apps import DEFAULTS
from holodrive.realtime.tokens import ObtainSerializer
from testing.browser import running_chromium
from testing.client import RemoteSocket, access_token, bearer
from testing.foreign import missing_for_node
from testing.foreign_project import ForeignProject, ForeignServer, snippets
from testing.parts import missing
from testing.patience import PATIENCE
from testing.server import ServerProcess
from testing.services import ROOT, Valkey

DOCUMENT = ROOT / "docs" / "how-to" / "add-it-to-your-project.md"
GUIDES = ROOT / "docs" / "how-to" / "clients"
ADDED = ("settings.py", "urls.py", "asgi.py")
PASSWORD = "correct horse"
ANN = "ann@rides.example"

_PEOPLE = f"""
from django.contrib.auth import get_user_model
people = get_user_model().objects
boss = people.create_superuser("boss@rides.example", "{PASSWORD}", called="Bea Boss")
ann = people.create_user("ann@rides.example", "{PASSWORD}", called="Ann")
ben = people.create_user("ben@rides.example", "{PASSWORD}", called="Ben")
from chat.services import open_trip
print(boss.pk, ann.pk, ben.pk, open_trip(rider=ann, driver=ben).pk)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignProject]:
    """With what the document adds, migrated."""
    valkey = Valkey()
    try:
        made = ForeignProject(tmp_path_factory.mktemp("foreign"), valkey.url)
        added = snippets(DOCUMENT)
        made.add({name: added[name] for name in ADDED})
        made.redis = valkey
        made.manage("migrate", "-v", "0")
        yield made
    finally:
        valkey.kill()


@pytest.fixture(scope="module")
def people(project: ForeignProject) -> dict[str, int]:
    """The ids of boss, ann and ben, and of the trip of the last two."""
    ids = map(int, project.shell(_PEOPLE).split())
    return dict(zip(("boss", "ann", "ben", "trip"), ids, strict=True))


@pytest.fixture(scope="module", params=["serve", "daphne"])
def server(
    request: pytest.FixtureRequest, project: ForeignProject, people: dict[str, int]
) -> Iterator[ForeignServer]:
    process = ForeignServer(project, request.param)
    yield process
    process.stop()


@pytest.fixture
def sockets() -> Iterator[list[RemoteSocket]]:
    """What a test puts here is closed at its end."""
    opened: list[RemoteSocket] = []
    yield opened
    for socket in opened:
        socket.close()


def post(server: ForeignServer, path: str, body: Any, token: str = "") -> tuple[int, Any]:
    return ask(server, path, token, json.dumps(body).encode())


def ask(
    server: ForeignServer, path: str, token: str = "", body: bytes | None = None
) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | (bearer(token) if token else {})
    request = Request(f"http://{server.address}{path}", body, headers)
    try:
        with urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - our server
            return response.status, json.loads(response.read() or b"null")
    except HTTPError as refusal:
        return refusal.code, json.load(refusal)


def token_of(server: ForeignServer, name: str) -> str:
    status, tokens = post(
        server, "/api/token/", {"email": f"{name}@rides.example", "password": PASSWORD}
    )
    assert status == 200, tokens
    return str(tokens["access"])


def log_in(server: ForeignServer) -> tuple[OpenerDirector, CookieJar]:
    """The boss in a browser, by the form of that project's admin."""
    cookies = HTTPCookieProcessor()
    browser = build_opener(cookies)
    page = f"http://{server.address}/back-office/login/?next=/back-office/"
    browser.open(page, timeout=PATIENCE).close()
    csrf = next(cookie.value for cookie in cookies.cookiejar if cookie.name == "csrftoken")
    fields = {"username": "boss@rides.example", "password": PASSWORD, "csrfmiddlewaretoken": csrf}
    with browser.open(page, urlencode(fields).encode(), timeout=PATIENCE) as answer:
        assert answer.url == f"http://{server.address}/back-office/"
    return browser, cookies.cookiejar


def test_the_project_passes_its_own_checks_and_needs_no_migration(project: ForeignProject) -> None:
    project.manage("check", "--fail-level", "WARNING")
    project.manage("makemigrations", "--check", "--dry-run")


@pytest.mark.parametrize("kind", ["unittest", "pytest"])
def test_its_own_suite_ends_after_tests_of_sockets(project: ForeignProject, kind: str) -> None:
    """With Redis well, frozen, away, and out of reach, and without one."""
    assert project.redis is not None
    assert project.redis.process is not None
    printed = project.suite(kind, snippets(DOCUMENT)["people/tests.py"], project.redis.process.pid)
    for trouble in ("was destroyed but it is pending", "ResourceWarning", "Traceback"):
        assert trouble not in printed, printed


def test_a_notification_saved_in_its_shell_rings_a_socket(
    project: ForeignProject,
    server: ForeignServer,
    people: dict[str, int],
    sockets: list[RemoteSocket],
) -> None:
    token = token_of(server, "ann")
    anns = RemoteSocket(server.address, f"/ws/notifications/?token={token}")
    sockets.append(anns)
    welcome = anns.frame("connection_established")
    assert welcome["user_id"] == str(people["ann"])
    project.shell(
        "from notifications.models import Notification; "
        f"Notification.objects.create(recipient_id={people['ann']}, title='Your taxi is here')"
    )
    rung = anns.frame("notification")
    assert rung["notification"]["title"] == "Your taxi is here"
    assert rung["unread_count"] == welcome["unread_count"] + 1
    status, page = ask(server, "/api/notifications/", token)
    assert (status, page["results"][-1]) == (200, rung["notification"])


def test_a_chat_message_goes_through(
    server: ForeignServer, people: dict[str, int], sockets: list[RemoteSocket]
) -> None:
    path = f"/ws/chat/{people['trip']}/"
    anns, bens = (
        RemoteSocket(server.address, path, headers=bearer(token_of(server, name)))
        for name in ("ann", "ben")
    )
    sockets += [anns, bens]
    for socket in sockets:
        socket.frame("connection_established")
    anns.send({"type": "chat_message", "message": "Where are you?"})
    answers: dict[str, Any] = {}  # in either order
    while not {"chat_message", "message_ack"} <= answers.keys():
        frame = anns.frame()
        answers[frame["type"]] = frame
    heard = bens.frame("chat_message")
    assert answers["chat_message"] == heard
    assert answers["message_ack"]["message_id"] == heard["message_id"]
    said = {
        "message": "Where are you?",
        "sender_id": people["ann"],
        "sender_name": f"User {people['ann']}",  # her login is an e-mail address
    }
    assert heard.items() >= (said | {"is_from_support": False}).items()


def test_its_support_staff_are_told_of_a_message_to_support(
    project: ForeignProject,
    server: ForeignServer,
    people: dict[str, int],
    sockets: list[RemoteSocket],
) -> None:
    boss = RemoteSocket(
        server.address, "/ws/notifications/", headers=bearer(token_of(server, "boss"))
    )
    sockets.append(boss)
    boss.frame("connection_established")
    project.shell(f"""
from chat.models import Conversation, Message
support = Conversation.objects.create(kind="support")
Message(conversation=support, sender_id={people["ann"]}, text="I lost my phone.").save()
""")
    title = boss.frame("notification")["notification"]["title"]
    assert title == f"New message from User {people['ann']}"


def test_users_without_roles_open_support_conversations_and_staff_opens_trips(
    server: ForeignServer, people: dict[str, int]
) -> None:
    anns, boss = token_of(server, "ann"), token_of(server, "boss")
    status, conversation = post(server, "/api/conversations/", {"subject": "My phone"}, anns)
    assert status in (200, 201)  # it is there already if this is the second server of the project
    assert conversation["kind"] == "support"
    assert [one["role"] for one in conversation["participants"]] == ["rider"]
    status, refusal = post(server, "/api/conversations/", {"subject": "Mine"}, boss)
    assert (status, refusal["code"]) == (403, "forbidden")

    trip = {"kind": "trip", "rider": people["ann"], "driver": people["ben"]}
    status, opened = post(server, "/api/conversations/", trip, boss)
    assert status == 201
    roles = {one["user_id"]: one["role"] for one in opened["participants"]}
    assert roles == {people["ann"]: "rider", people["ben"]: "driver"}
    status, refusal = post(server, "/api/conversations/", trip | {"driver": people["ann"]}, boss)
    assert (status, refusal["code"]) == (400, "invalid_message")


def test_a_ticket_opens_a_socket_and_a_logout_ends_the_login(
    server: ForeignServer, sockets: list[RemoteSocket]
) -> None:
    login = {"email": ANN, "password": PASSWORD}
    _, tokens = post(server, "/api/token/", login)
    status, issued = post(server, "/api/realtime/ticket/", {}, tokens["access"])
    assert status == 201
    socket = RemoteSocket(server.address, f"/ws/notifications/?ticket={issued['ticket']}")
    sockets.append(socket)
    socket.frame("connection_established")
    _, again = post(server, "/api/token/refresh/", {"refresh": tokens["refresh"]})

    status, _ = post(server, "/api/token/logout/", {"refresh": again["refresh"]})
    assert status == 204
    status, refusal = ask(server, "/api/notifications/", again["access"])
    assert (status, refusal["code"]) == (401, "unauthenticated")


class Elements(HTMLParser):
    """The attributes of a page's elements, by id; and what it loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.by_id: dict[str, dict[str, str | None]] = {}
        self.loads: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes) | {"tag": tag}
        if name := found.get("id"):
            self.by_id[name] = found
        for source in (found.get("src"), found.get("href") if tag == "link" else None):
            if source:
                self.loads.append(source)


def test_its_admin_keeps_its_theme_and_gets_a_bell(
    project: ForeignProject,
    server: ForeignServer,
    people: dict[str, int],
    sockets: list[RemoteSocket],
) -> None:
    browser, cookies = log_in(server)
    origin = f"http://{server.address}"
    with browser.open(f"{origin}/back-office/", timeout=PATIENCE) as answer:
        page = answer.read().decode()
    found = Elements(page)
    assert {"rides-brand", "bell", "bell-panel"} <= found.by_id.keys()
    assert '<meta name="theme" content="rides">' in page
    bell = found.by_id["bell"]
    assert (bell["tag"], bell["data-websocket-url"]) == ("button", server.address)
    ours = [source for source in found.loads if "notifications/bell" in source]
    assert len(ours) == 2
    for source in ours:
        browser.open(f"{origin}{source}", timeout=PATIENCE).close()
    with browser.open(f"{origin}{bell['data-notifications-url']}", timeout=PATIENCE) as answer:
        before = json.load(answer)["last_seq"]

    cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies)
    socket = RemoteSocket(
        server.address, "/ws/notifications/", headers={"Cookie": cookie, "Origin": origin}
    )
    sockets.append(socket)
    assert socket.frame("connection_established")["last_seq"] == before
    project.shell(
        "from notifications.models import Notification; "
        f"Notification.objects.create(recipient_id={people['boss']}, title='Ring')"
    )
    assert socket.frame("notification")["seq"] == before + 1


def test_its_support_answers_in_the_console_under_its_theme(
    project: ForeignProject, server: ForeignServer, people: dict[str, int]
) -> None:
    asked = project.shell(f"""
from chat.models import Conversation, Message
from notifications.models import Notification
asked = Conversation.objects.create(kind="support")
Message(conversation=asked, sender_id={people["ann"]}, text="I lost my phone.").save()
Notification._base_manager.filter(recipient={people["boss"]}).update(status="read")
print(asked.pk)
""").strip()
    with running_chromium("The console in a project that is none of ours") as browser:
        from playwright.sync_api import expect

        page = browser.new_page(base_url=f"http://{server.address}")
        page.goto(f"/admin/chat/console/?conversation={asked}")
        page.fill("[name=username]", "boss@rides.example")
        page.fill("[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("#rides-brand")).to_be_visible()
        expect(page.locator("#console")).to_have_attribute("data-state", "live")
        expect(page.locator(".console-text")).to_have_text(["I lost my phone."])
        expect(page.locator(".bell-badge")).to_be_hidden()
        page.fill("#console-text", "We have found it.")
        page.keyboard.press("Enter")
        expect(page.locator(".console-tick")).to_have_text("Sent")
        project.shell(
            "from notifications.models import Notification; "
            f"Notification.objects.create(recipient_id={people['boss']}, title='Ring')"
        )
        expect(page.locator(".bell-badge")).to_have_text("1")
    stored = project.shell(f"""
from chat.models import Message
for row in Message.objects.filter(conversation={asked}).order_by("id"):
    print(row.sender_id, row.is_from_support, row.text)
""")
    assert stored.splitlines()[-1] == f"{people['boss']} True We have found it."


@pytest.mark.parametrize("page", ["notifications/notification", "chat/conversation"])
def test_our_pages_work_in_its_admin(server: ForeignServer, page: str) -> None:
    browser, _ = log_in(server)
    for rest in ("", "?q=ann", "add/"):
        url = f"http://{server.address}/back-office/{page}/{rest}"
        with browser.open(url, timeout=PATIENCE) as answer:
            assert answer.status == 200


def test_without_credentials_its_api_and_sockets_refuse(
    server: ForeignServer, people: dict[str, int], sockets: list[RemoteSocket]
) -> None:
    for path in ("/api/notifications/", f"/api/conversations/{people['trip']}/messages/"):
        status, refusal = ask(server, path)
        assert (status, refusal["code"]) == (401, "unauthenticated")
    outsider = token_of(server, "boss")
    assert ask(server, "/api/conversations/999/messages/", outsider)[0] == 404
    socket = RemoteSocket(server.address, "/ws/notifications/")
    sockets.append(socket)
    assert socket.frame()["code"] == "unauthenticated"


def test_no_token_is_in_its_log(server: ForeignServer, sockets: list[RemoteSocket]) -> None:
    token = token_of(server, "ann")
    for path in (f"/ws/notifications/{token}", f"/ws/notifications/?token={token}"):
        socket = RemoteSocket(server.address, path)
        sockets.append(socket)
        socket.frame("connection_established")
        socket.close()
    assert token.rpartition(".")[2] not in server.log()


def test_every_setting_that_the_apps_read_has_a_default_or_is_in_the_document() -> None:
    ours = re.compile(r"\bsettings\.((?:REALTIME|WEBSOCKET|REDIS)_\w+)")
    read: set[str] = set()
    for app in ("holodrive/realtime", "notifications", "chat"):
        for file in (ROOT / app).rglob("*.py"):
            if "tests" not in file.parts:
                read |= set(ours.findall(file.read_text()))
    assert read
    added = snippets(DOCUMENT)["settings.py"]
    unset = {name for name in read if not re.search(rf"^{name} = ", added, re.M)}
    assert unset - DEFAULTS.keys() == set()


# docs/how-to/clients/

_BACKOFF = 20.0  # seconds that a client waits at most
_RESUME_LIMIT = 2


def code_in(page: str, language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", (GUIDES / page).read_text(), re.M | re.S)
    assert found is not None
    return found[1]


class Guide:
    """The client of a page, at work: what it was shown, in order, and how it ended. It gets a token
    that has expired; when it asks for a new one, a good one.
    """

    def __init__(self) -> None:
        self.happened: queue.Queue[dict[str, Any]] = queue.Queue()

    def next(self, *kinds: str) -> dict[str, Any]:
        """The next frame of one of these types; also `load`, `renew` and `refused`."""
        while (event := self.happened.get(timeout=PATIENCE + _BACKOFF))["type"] not in kinds:
            pass
        return event

    def say(self, text: str) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError


class _ShortWaits:
    """In place of `random`: a hundredth of the longest wait."""

    @staticmethod
    def uniform(shortest: float, longest: float) -> float:
        assert shortest == 0 < longest <= _BACKOFF  # full jitter
        return longest / 100


class PythonGuide(Guide):
    def __init__(self, socket: str, history: str, stale: str, fresh: str) -> None:
        super().__init__()
        guide: dict[str, Any] = {}
        exec(code_in("python.md", "python"), guide)  # noqa: S102 - our own page
        guide["random"] = _ShortWaits

        async def token(renew: bool) -> str:
            if renew:
                self.happened.put({"type": "renew"})
            return fresh if renew or self._shown.is_set() else stale

        async def load() -> int:
            request = Request(history, headers=bearer(fresh))  # noqa: S310 - our server
            last_seq = await asyncio.to_thread(_last_seq, request)
            self.happened.put({"type": "load", "last_seq": last_seq})
            return last_seq

        def show(frame: dict[str, Any]) -> None:
            if frame["type"] == "connection_established":
                self._shown.set()
            self.happened.put(frame)

        self._shown = threading.Event()
        self._client = guide["Realtime"](socket, token, load, show)
        self._refused = guide["RefusedError"]
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    async def _run(self) -> None:
        try:
            await self._client.run()
        except self._refused as refusal:
            self.happened.put({"type": "refused", "code": refusal.args[0]})
        except asyncio.CancelledError:
            pass

    def _work(self) -> None:
        self._loop.run_until_complete(self._task)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def say(self, text: str) -> None:
        asyncio.run_coroutine_threadsafe(self._client.say(text), self._loop).result(PATIENCE)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(PATIENCE)


def _last_seq(request: Request) -> int:
    try:
        with urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - our server
            return int(json.load(response)["last_seq"])
    except HTTPError as refusal:
        if refusal.code != 404:
            raise
        return 0  # the socket will say so


# React Native's WebSocket takes what that of `ws` takes.
_NODE_HARNESS = """
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { Realtime } from "./realtime.mjs";
const [folder, url, history, stale, fresh] = process.argv.slice(2);
globalThis.WebSocket = createRequire(folder)("ws");
Math.random = () => 0.01; // short waits
const tell = (event) => console.log(JSON.stringify(event));
let access = stale;
const client = new Realtime({
  url,
  token: async (renew) => {
    if (renew) tell({ type: "renew" });
    return renew ? (access = fresh) : access;
  },
  load: async () => {
    const headers = { Authorization: `Bearer ${fresh}` };
    const { last_seq = 0 } = await (await fetch(history, { headers })).json();
    tell({ type: "load", last_seq });
    return last_seq;
  },
  show: tell,
  refused: (code) => tell({ type: "refused", code }),
  newId: () => crypto.randomUUID(),
});
client.start();
for await (const text of createInterface({ input: process.stdin })) client.say(text);
client.stop();
process.exit();
"""


class ReactNativeGuide(Guide):
    def __init__(self, home: Path, *given: str) -> None:
        super().__init__()
        (home / "realtime.mjs").write_text(code_in("react-native.md", "js"))
        (home / "harness.mjs").write_text(_NODE_HARNESS)
        self._process = subprocess.Popen(
            ["node", "harness.mjs", f"{ROOT / 'testing' / 'node'}/", *given],
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.happened.put(json.loads(line))

    def say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # at which it ends
        self._thread.join(PATIENCE)
        self._process.__exit__(None, None, None)


@pytest.fixture(params=["python", "react-native"])
def follow(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[ServerProcess, Any, int], Guide]]:
    """Starts that page's client as this user in this conversation."""
    if request.param == "react-native" and (lacking := missing_for_node()):
        missing("The React Native client", *lacking)
    clients: list[Guide] = []

    def start(server: ServerProcess, user: Any, conversation: int) -> Guide:
        stale = ObtainSerializer.get_token(user).access_token  # type: ignore[attr-defined]
        stale.set_exp(lifetime=-timedelta(seconds=1))
        given = (
            f"ws://{server.address}/ws/chat/{conversation}/",
            f"http://{server.address}/api/conversations/{conversation}/messages/",
            str(stale),
            access_token(user),
        )
        if request.param == "python":
            clients.append(PythonGuide(*given))
        else:
            clients.append(ReactNativeGuide(tmp_path, *given))
        return clients[-1]

    yield start
    for client in clients:
        client.stop()


def test_the_client_of_the_page_loses_nothing_and_says_nothing_twice(
    follow: Callable[..., Guide], start_server: Callable[..., ServerProcess], trip: Any
) -> None:
    server = start_server(REALTIME_RESUME_LIMIT=str(_RESUME_LIMIT))
    client = follow(server, trip.rider, trip.pk)
    assert client.next("load", "renew")["type"] == "load"
    assert client.next("renew", "connection_established")["type"] == "renew"
    client.next("connection_established")
    client.say("One")
    frames = {frame["type"]: frame for frame in (client.next(*SAID), client.next(*SAID))}
    assert frames["message_ack"]["duplicate"] is False
    assert frames["chat_message"]["seq"] == 1

    server.stop()
    Message(conversation=trip, sender=trip.driver, text="Two, while you were away").save()
    client.say("Three, said into the void")
    server.start()
    assert client.next("chat_message")["message"] == "Two, while you were away"
    said = client.next("chat_message")
    assert (said["message"], said["seq"]) == ("Three, said into the void", 3)

    server.stop()
    for number in range(_RESUME_LIMIT + 1):
        Message(conversation=trip, sender=trip.driver, text=f"Missed {number}").save()
    server.start()
    loaded = client.next("load", "chat_message")
    assert (loaded["type"], loaded["last_seq"]) == ("load", 3 + _RESUME_LIMIT + 1)
    Message(conversation=trip, sender=trip.driver, text="Live again").save()
    live = client.next("chat_message")
    assert (live["message"], live["seq"]) == ("Live again", 3 + _RESUME_LIMIT + 2)
    assert Message.objects.filter(conversation=trip, sender=trip.rider).count() == 2


SAID = ("message_ack", "chat_message")


def test_the_client_of_the_page_gives_up_where_it_has_no_right_to_be(
    follow: Callable[..., Guide], shared_server: ServerProcess, trip: Any, make_user: Any
) -> None:
    assert follow(shared_server, make_user(), trip.pk).next("refused")["code"] == 4404


@pytest.mark.parametrize("page", sorted(GUIDES.glob("*.md")), ids=lambda page: str(page.stem))
def test_every_page_of_a_client_names_what_all_of_them_must_do(page: Path) -> None:
    text = page.read_text()
    for code in ("4400", "4401", "4403", "4404", "4408"):
        assert code in text
    for word in ("last_seq", "client_message_id", "message_ack", "recovered", "Origin", "ping"):
        assert word in text
    assert ("run by this repository's tests" in text) or ("not compiled" in text)
