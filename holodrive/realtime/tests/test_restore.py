"""A backup is made and restored by the commands of the documentation, on the database of the run;
then nobody misses anything silently, and nobody becomes somebody else.
"""

import subprocess
from contextlib import suppress
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connections, transaction

from chat import notes, services
from chat.models import Message
from holodrive.realtime import log, restoration
from holodrive.realtime.checks import check_streams
from holodrive.realtime.models import Stream
from notifications.models import Notification
from testing.client import access_token, bearer
from testing.parts import missing
from testing.patience import START, patience
from testing.server import ServerProcess, test_database_url
from testing.services import ROOT, program

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (ROOT / "docs/how-to/keep-and-erase-data.md").read_text()
COMMANDS = {
    "postgresql": (
        'pg_dump --format=custom --file=backup.dump "$DATABASE_URL"',
        "pg_restore --clean --if-exists --no-owner --single-transaction "
        '--dbname="$DATABASE_URL" backup.dump',
    ),
    "sqlite": (
        'sqlite3 db.sqlite3 ".backup backup.sqlite3"',
        'sqlite3 db.sqlite3 ".restore backup.sqlite3"',
    ),
}


class Keeper:
    """Who makes backups."""

    def __init__(self, home):
        self._home = home
        vendor = connections["default"].vendor
        self._back_up, self._restore = COMMANDS[vendor]
        self._url = test_database_url()
        if vendor == "sqlite":
            (home / "db.sqlite3").symlink_to(self._url.removeprefix("sqlite:///"))

    def back_up(self):
        self._run(self._back_up)

    def restore(self):
        self._run(self._restore)

    def _run(self, command):
        connections.close_all()
        tool = command.split()[0]
        try:
            found = program(tool)  # as new as the server: Debian keeps several
        except FileNotFoundError as problem:
            missing("A restore", str(problem))
        command = command.replace(tool, found, 1)
        run = subprocess.run(
            command,
            shell=True,
            cwd=self._home,
            env={"DATABASE_URL": self._url},
            capture_output=True,
            text=True,
            timeout=START,
        )
        assert run.returncode == 0, run.stderr


@pytest.fixture
def keeper(tmp_path):
    return Keeper(tmp_path)


@pytest.fixture(autouse=True)
def small_ids(monkeypatch):
    """Other tests go on where these began: as often as ids were counted on, they are counted
    back.
    """
    real, done = restoration.advance_ids, []
    monkeypatch.setattr(restoration, "advance_ids", lambda: (done.append(1), real())[1])
    yield
    monkeypatch.setattr(restoration, "GAP", -restoration.GAP * len(done))
    real()


def say(trip, *texts):
    for text in texts:
        services.send_message(user=trip.rider, conversation_id=trip.pk, text=text)


def restored():
    call_command("restored", stdout=StringIO())


@pytest.mark.parametrize("vendor", COMMANDS)
def test_the_page_says_what_is_done_here(vendor):
    for command in COMMANDS[vendor]:
        assert f"$ {command}\n" in PAGE


def test_who_is_ahead_of_a_restored_stream_reloads(keeper, start_server, dial, trip):
    say(trip, "a", "b")
    keeper.back_up()
    say(trip, "lost 1", "lost 2", "lost 3")
    head = log.heads([f"conversation.{trip.pk}"])[f"conversation.{trip.pk}"]
    newest = Message.objects.latest("pk").pk
    keeper.restore()
    assert list(Message.objects.values_list("text", flat=True)) == ["a", "b"]
    restored()
    server = start_server()
    # As many again, so that the stream would have reached what the client has.
    say(trip, *[f"new {n}" for n in range(head)])
    for last_seq in (
        head,
        1,
    ):  # one that knows what was lost, and one that is older than the backup
        socket = dial(server, f"/ws/chat/{trip.pk}/?last_seq={last_seq}", trip.driver)
        assert socket.frame("resumed") == {
            "type": "resumed",
            "recovered": False,
            "from_seq": last_seq,
            "to_seq": socket.welcome["last_seq"],
            "count": 0,
        }
    token = bearer(access_token(trip.driver))
    path = f"/api/conversations/{trip.pk}/messages/"
    _, page = server.request("GET", path, headers=token)
    shown = [(item["message"], item["message_id"] > newest) for item in page["results"]]
    assert shown == [("a", False), ("b", False), *((f"new {n}", True) for n in range(head))]
    # From there on it goes on as ever.
    again = dial(server, f"/ws/chat/{trip.pk}/?last_seq={page['last_seq']}", trip.driver)
    assert again.frame("resumed")["recovered"] is True
    say(trip, "after")
    assert again.frame("chat_message")["seq"] == page["last_seq"] + 1


def test_a_stream_that_the_backup_has_not_is_behind_the_gap_as_well(keeper, make_user):
    user = make_user()
    keeper.back_up()
    for title in "abc":
        Notification.objects.create(recipient=user, title=title)
    stream = f"user.{user.pk}"
    assert log.heads([stream]) == {stream: 3}
    keeper.restore()
    assert log.heads([stream]) == {}
    restored()
    for title in "defg":
        Notification.objects.create(recipient=user, title=title)
    head = log.heads([stream])[stream]
    assert head == restoration.GAP + 4
    assert log.missed(stream, 3, head, 500) is None


def test_nobody_gets_the_number_of_a_user_who_was_lost(keeper, make_user, server):
    make_user()
    keeper.back_up()
    lost = make_user("rider", username="lost")
    token = access_token(lost)
    keeper.restore()
    restored()
    newcomer = make_user("rider", username="newcomer")
    assert newcomer.pk > lost.pk
    assert server.request("GET", "/api/me/", headers=bearer(token))[0] == 401
    own = bearer(access_token(newcomer))
    assert server.request("GET", "/api/me/", headers=own)[1]["username"] == "newcomer"


def test_a_server_that_ran_on_sends_its_clients_to_reload(keeper, server, dial, trip):
    say(trip, "a")
    keeper.back_up()
    say(trip, "lost")
    socket = dial(server, f"/ws/chat/{trip.pk}/", trip.driver)
    keeper.restore()
    restored()
    say(trip, "new")
    with pytest.raises(Exception, match="4408"):
        socket.frame("never", seconds=patience(10))


def test_it_may_be_run_again(keeper, trip):
    say(trip, "a")
    restored()
    heads = dict(Stream.objects.values_list("name", "head"))
    assert heads.keys() >= {
        f"conversation.{trip.pk}",
        f"conversation.{trip.pk}.notes",
        f"user.{trip.rider.pk}",
        f"user.{trip.driver.pk}",
    }
    restored()
    assert dict(Stream.objects.values_list("name", "head")) == {
        name: head + restoration.GAP for name, head in heads.items()
    }
    say(trip, "b")
    assert Message.objects.latest("pk").pk > 2 * restoration.GAP


# A part of the database


def load(tmp_path, *labels):
    """What `loaddata` of these apps alone leaves, after the streams were lost."""
    fixture = tmp_path / "part.json"
    call_command("dumpdata", *labels, output=fixture, verbosity=0)
    Stream.objects.all().delete()
    call_command("loaddata", fixture, verbosity=0)


def test_a_conversation_loaded_without_its_stream_goes_on_behind_the_gap(trip, tmp_path):
    for text in ("one", "two"):
        Message.objects.create(conversation=trip, sender=trip.rider, text=text)
    load(tmp_path, "chat")
    sent = services.send_message(user=trip.rider, conversation_id=trip.pk, text="three").message
    assert sent.seq == Message.objects.get(text="two").seq + restoration.GAP + 1
    assert log.heads([f"conversation.{trip.pk}"]) == {f"conversation.{trip.pk}": sent.seq}
    again = services.send_message(user=trip.rider, conversation_id=trip.pk, text="four").message
    assert again.seq == sent.seq + 1
    assert [one.seq for one in log.read(f"conversation.{trip.pk}", 0, 10)] == [sent.seq, again.seq]


def test_it_does_so_where_a_first_try_was_taken_back(trip, tmp_path):
    Message.objects.create(conversation=trip, sender=trip.rider, text="one")
    load(tmp_path, "chat")
    stream = f"conversation.{trip.pk}"
    with log.writing(stream):
        with suppress(KeyError), transaction.atomic():
            Message.objects.create(conversation=trip, sender=trip.rider, text="two")
            raise KeyError
        Message.objects.create(conversation=trip, sender=trip.rider, text="three")
    services.send_message(user=trip.rider, conversation_id=trip.pk, text="four")
    three, four = Message.objects.order_by("pk").values_list("seq", flat=True)[1:]
    assert four == three + 1
    assert log.heads([stream]) == {stream: four}


def test_notes_loaded_without_their_stream_go_on_behind_the_gap(trip, make_user, tmp_path):
    agent = make_user("admin")
    first = notes.add_note(user=agent, conversation_id=trip.pk, text="one").note
    load(tmp_path, "chat")
    second = notes.add_note(user=agent, conversation_id=trip.pk, text="two").note
    assert second.seq == first.seq + restoration.GAP + 1


def closed_and_opened(trip):
    for status in ("closed", "open"):
        trip.status = status
        trip.save()


def edited(trip):
    message = trip.messages.latest("pk")
    services.edit_message(
        user=trip.rider, conversation_id=trip.pk, message_id=message.pk, text="other"
    )


def left(trip):
    trip.participants.filter(user=trip.driver).delete()


def noted(trip):
    trip.notes.create(author=trip.rider, text="of another stream")


@pytest.mark.parametrize("first", [closed_and_opened, edited, left, noted])
def test_whatever_comes_first_in_a_stream_that_was_lost_is_behind_the_gap(trip, tmp_path, first):
    say(trip, "one", "two", "three")
    stream, before = f"conversation.{trip.pk}", Message.objects.latest("pk").seq
    load(tmp_path, "chat")
    trip.refresh_from_db()
    first(trip)
    say(trip, "four")
    seqs = [event.seq for event in log.read(stream, 0, 10)]
    assert seqs == [before + restoration.GAP + 1 + number for number in range(len(seqs))]
    assert Message.objects.get(text="four").seq == seqs[-1]


def test_so_are_notifications_that_were_loaded_without_their_stream(trip, tmp_path):
    for title in "abc":
        Notification.objects.create(recipient=trip.rider, title=title)
    load(tmp_path, "notifications")
    Notification.objects.notify([trip.rider, trip.driver], title="d")
    streams = [f"user.{user.pk}" for user in (trip.rider, trip.driver)]
    assert log.heads(streams) == dict(zip(streams, (restoration.GAP + 1, 1), strict=True))


def test_a_new_conversation_begins_at_one(trip):
    assert (
        services.send_message(user=trip.rider, conversation_id=trip.pk, text="x").message.seq == 1
    )


def test_streams_that_end_before_their_rows_are_found_and_refused_by_serve(trip, server):
    for text in ("one", "two", "three"):
        Message.objects.create(conversation=trip, sender=trip.rider, text=text)
    assert check_streams(["default"]) == []
    Stream.objects.filter(name=f"conversation.{trip.pk}").update(head=1)
    assert [one.id for one in check_streams(["default"])] == ["realtime.W022"]
    assert check_streams(None) == []
    with pytest.raises(AssertionError, match="run manage\\.py restored before serving"):
        ServerProcess()
    call_command("restored", stdout=StringIO(), stderr=StringIO())
    assert check_streams(["default"]) == []
