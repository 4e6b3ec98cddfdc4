"""`manage.py erase_user` and `export_user`: nothing of a person is left, in no table; others keep
what is theirs; nobody's stream has a hole.
"""

import json
import re
from io import StringIO

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from chat import notes, queue_events, services, workflow
from chat.models import AuditEntry, Conversation, Message, Note, Participant
from holodrive.accounts.models import Device as OldDevice
from holodrive.realtime import log, personal, tokens, wire
from holodrive.realtime.management.commands import erase_user
from holodrive.realtime.models import LastSeen, Ticket
from notifications.models import Notification
from push.models import Device, Preference, QuietHours
from testing.client import access_token

pytestmark = pytest.mark.django_db(transaction=True)

CANARY = "canary"
NUMBER = "+998 90 123 45 67"


def erase(username, **options):
    out = StringIO()
    call_command("erase_user", username, stdout=out, stderr=StringIO(), no_input=True, **options)
    return out.getvalue()


def export(username):
    out = StringIO()
    call_command("export_user", username, stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def rows_with(*texts):
    """Of every column of every table: where one of these texts stands."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for column, value in zip(columns, row, strict=True):
                    if any(text in str(value).lower() for text in texts):
                        found.append(f"{table}.{column}: {value}")
    return found


@pytest.fixture(autouse=True)
def sizes(request, monkeypatch):
    """With "large", ids are as if above 2^53. (Real ones would leave SQLite at its last id.)"""
    if getattr(request, "param", None) == "large":
        monkeypatch.setattr(wire, "_SAFE_INTEGER", 0)
        monkeypatch.setattr(wire, "_LONG_NUMBER", re.compile("[0-9]"))


@pytest.fixture
def person(make_user):
    return make_user(
        "rider",
        username="canary-login",
        first_name="Canaryfirst",
        last_name="Canarylast",
        email="canary@example.com",
        password="canary-password",
    )


@pytest.fixture
def others(make_user):
    return make_user("driver"), make_user("admin")


@pytest.fixture
def life(person, others):
    """All that a rider can leave behind, in a trip and with support."""
    driver, agent = others
    trip = services.open_trip(rider=person, driver=driver)
    say = services.send_message
    for n in range(5):
        say(
            user=person,
            conversation_id=trip.pk,
            text=f"canary {n} says {NUMBER}",
            client_message_id=f"canary-id-{n}",
        )
    own = list(Message.objects.filter(sender=person).order_by("pk"))
    services.edit_message(
        user=person, conversation_id=trip.pk, message_id=own[0].pk, text=f"canary {NUMBER} edited"
    )
    services.delete_message(user=person, conversation_id=trip.pk, message_id=own[1].pk)
    say(user=driver, conversation_id=trip.pk, text="On my way")
    asked = services.open_support(user=person, subject="canary subject").conversation
    say(user=person, conversation_id=asked.pk, text="canary asks")
    workflow.claim(user=agent, conversation_id=asked.pk)
    workflow.change(
        user=agent,
        conversation_id=asked.pk,
        changes=queue_events.ChangeConversation(priority="high"),
    )
    asked.refresh_from_db()
    asked.assignee = None
    asked.save()
    asked.assignee, asked.changed_by = agent, None  # rings: "the conversation with Canary..."
    asked.save()
    say(user=agent, conversation_id=asked.pk, text="How can I help?")
    # What belongs to the account
    Device.objects.create(user=person, platform="ios", token="canary-push", name="canary phone")
    OldDevice.objects.create(user=person, platform="ios", token="canary-old")
    Preference.objects.create(user=person, category="canary", channel="web")
    QuietHours.objects.create(user=person, start="22:00", end="7:00", time_zone="UTC")
    access_token(person)
    session = SessionStore()
    session["_auth_user_id"] = str(person.pk)
    session.create()
    LastSeen.objects.create(user=person, at="2026-01-01T00:00:00Z")
    Ticket.objects.create(
        digest="d", user=person, claims={"n": "canary"}, expires_at="2036-01-01T00:00:00Z"
    )
    member = Participant.objects.get(user=person, conversation=trip)
    for row, text in [(person, "canary-login"), (own[0], "canary text"), (member, "Canaryfirst")]:
        LogEntry.objects.create(
            user=agent,
            content_type=ContentType.objects.get_for_model(row),
            object_id=row.pk,
            object_repr=text,
            action_flag=ADDITION,
            change_message=text,
        )
    return trip, asked


@pytest.mark.parametrize("sizes", ["small", "large"], indirect=True)
def test_nothing_of_the_person_is_left_in_any_table(life, person):
    before = rows_with(CANARY, "123 45 67")
    tables = {where.partition(".")[0] for where in before}
    assert tables >= {
        "accounts_user",
        "accounts_device",
        "push_device",
        "push_preference",
        "chat_message",
        "chat_conversation",
        "notifications_notification",
        "realtime_event",
        "realtime_ticket",
        "django_admin_log",
    }
    assert Session.objects.count() == 1
    erase(person.username)
    assert rows_with(CANARY, "123 45 67") == []
    assert Session.objects.count() == 0
    gone = (OutstandingToken, LastSeen, Ticket, Notification, Device, Preference, QuietHours)
    assert sum(rows.objects.filter(**_of(rows, person)).count() for rows in gone) == 0


def _of(model, user):
    return {"recipient" if model is Notification else "user": user}


def test_what_others_said_and_namesakes_stay(life, person, others, make_user):
    trip, asked = life
    driver, agent = others
    namesake = make_user("rider", first_name=person.first_name, last_name=person.last_name)
    services.send_message(user=agent, conversation_id=asked.pk, text="Canaryfirst, we found it")
    talk = services.open_trip(rider=namesake, driver=driver)
    services.send_message(user=namesake, conversation_id=talk.pk, text="Hello")
    erase(person.username)
    texts = Message.objects.exclude(text="").order_by("pk").values_list("text", flat=True)
    assert list(texts) == ["On my way", "How can I help?", "Canaryfirst, we found it", "Hello"]
    titles = Notification.objects.filter(recipient=driver).values_list("title", flat=True)
    assert {*titles} == {"New message from Deleted user", "New message from Canaryfirst Canarylast"}
    asked.refresh_from_db()
    assert (asked.subject, asked.assignee) == ("", agent)
    # Whoever answers there rings for nobody any more.
    services.send_message(user=driver, conversation_id=trip.pk, text="Still there?")
    assert Notification.objects.filter(recipient=person).count() == 0


@pytest.mark.parametrize("sizes", ["small", "large"], indirect=True)
def test_an_agent_is_erased_as_well(life, make_user, others):
    _, asked = life
    agent = others[1]
    agent.first_name, agent.last_name = "Canaryagent", ""
    agent.save()
    notes.add_note(user=agent, conversation_id=asked.pk, text="canaryagent notes")
    colleague = make_user("admin")
    changes = queue_events.ChangeConversation(assignee=colleague.pk)
    workflow.change(user=agent, conversation_id=asked.pk, changes=changes)
    changes = queue_events.ChangeConversation(assignee=agent.pk)
    workflow.change(user=colleague, conversation_id=asked.pk, changes=changes)
    assert len({where.partition(".")[0] for where in rows_with("canaryagent")}) == 6
    erase(agent.username)
    assert rows_with("canaryagent") == []
    assert Conversation.objects.get(pk=asked.pk).assignee is None
    assert Note.objects.get().text == ""
    assert AuditEntry.objects.filter(actor=agent, actor_name="Deleted user").exists()


def test_every_stream_is_whole_and_a_resume_works(life, person, others):
    streams = [f"conversation.{row.pk}" for row in life] + [f"user.{others[0].pk}", "support"]
    before = log.heads(streams)
    erase(person.username)
    for stream, head in log.heads(streams).items():
        missed = log.missed(stream, 0, head, 1000)
        assert missed is not None, stream
        assert [event.seq for event in missed] == list(range(1, head + 1))
        assert not any(CANARY in event.text.lower() for event in missed)
        assert head >= before[stream]


async def test_others_see_it_at_once_and_the_person_is_out(life, person, others, connect):
    trip, _ = life
    theirs = await connect(f"/ws/chat/{trip.pk}/", others[0])
    own = await connect("/ws/notifications/", person)
    ids = {row.pk async for row in Message.objects.filter(sender=person, deleted_at=None)}
    assert len(ids) == 5
    await sync_to_async(erase)(person.username, batch=2)
    here = {row.pk async for row in Message.objects.filter(sender=person, conversation=trip)}
    gone = {(await theirs.frame("message_deleted"))["message_id"] for _ in ids & here}
    assert gone == ids & here
    assert await own.closed() == 4401


def test_a_second_run_finds_nothing(life, person):
    erase(person.username)
    heads = log.heads(["support", *(f"conversation.{row.pk}" for row in life)])
    said = erase(f"erased-{person.pk}")
    assert {line.split(": ")[1].split(" ")[0] for line in said.splitlines()} == {"0"}
    assert log.heads(heads) == heads


def test_an_interrupted_run_goes_on(life, person, monkeypatch):
    real, calls = services.take_back, []

    def fails_at_the_second(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OperationalError("the database has gone away")
        real(*args)

    monkeypatch.setattr(services, "take_back", fails_at_the_second)
    goes_on = (
        f"messages: 1 erased, then the database has gone away: `erase_user erased-{person.pk}`"
    )
    with pytest.raises(CommandError, match=goes_on):
        erase(person.username, batch=2)
    assert rows_with(CANARY) != []
    assert not get_user_model().objects.get(pk=person.pk).is_active
    erase(f"erased-{person.pk}", batch=2)
    assert rows_with(CANARY) == []


def test_a_dry_run_counts_and_changes_nothing(life, person):
    before = rows_with(CANARY)
    assert erase(person.username, dry_run=True).splitlines() == [
        "account: 1 account would be erased",
        "sessions: 1 sessions would be erased",
        "logins: 1 logins would be erased",
        "tickets: 1 tickets would be erased",
        "last_seen: 1 last_seen would be erased",
        "old_devices: 1 old_devices would be erased",
        "notifications: 2 notifications would be erased",
        "messages: 5 messages would be erased",
        "notes: 0 notes would be erased",
        "participations: 2 participations would be erased",
        "audited: 0 audited would be erased",
        "devices: 1 devices would be erased",
        "push_preferences: 1 push_preferences would be erased",
        "quiet_hours: 1 quiet_hours would be erased",
    ]
    assert rows_with(CANARY) == before
    assert not AuditEntry.objects.filter(action="erased").exists()


def test_it_is_asked_for_by_name(person, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    with pytest.raises(CommandError, match="nothing was erased"):
        call_command("erase_user", person.username)
    monkeypatch.setattr("builtins.input", lambda prompt: person.username)
    call_command("erase_user", person.username, stdout=StringIO())
    assert not get_user_model().objects.filter(username=person.username).exists()


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("\u0439\u043e\u0441\u0438\u0444", "\u0438\u0306\u043e\u0441\u0438\u0444"),
        ("e\u0301va", "e\u0301va"),  # stored past every form
        ("\ud55c\uae00", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
        ("aziza", " aziza\u3000"),
        ("aziza", "\uff41\uff5a\uff49\uff5a\uff41"),
    ],
)
def test_a_name_is_read_as_a_login_reads_it(make_user, monkeypatch, stored, typed):
    user = make_user("rider", username=stored)
    assert export(typed)[0]["username"] == stored
    monkeypatch.setattr("builtins.input", lambda prompt: tokens.as_typed(typed))
    call_command("erase_user", typed, stdout=StringIO())
    user.refresh_from_db()
    assert user.username == f"erased-{user.pk}"


def test_of_two_spellings_the_one_that_was_typed_is_erased(make_user):
    other, user = make_user("rider", username="fin"), make_user("rider", username="\ufb01n")
    erase("\ufb01n")
    names = get_user_model().objects.filter(pk__in=[other.pk, user.pk]).order_by("pk")
    assert [one.username for one in names] == ["fin", f"erased-{user.pk}"]


def test_without_a_terminal_it_refuses_instead_of_asking(person, monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO())
    with pytest.raises(CommandError, match="--no-input"):
        call_command("erase_user", person.username)
    assert get_user_model().objects.filter(username=person.username).exists()


def test_it_is_audited_without_a_name(life, person, monkeypatch):
    monkeypatch.setattr(erase_user.getpass, "getuser", lambda: "operator")
    export(person.username)
    erase(person.username)
    rows = AuditEntry.objects.filter(action__in=["exported", "erased"]).order_by("pk")
    begun, done = [row.detail for row in rows][1:]
    assert {row.actor_name for row in rows} == {"operator (manage.py)"}
    assert [row.action for row in rows] == ["exported", "erased", "erased"]
    assert rows[0].detail == {"user_id": person.pk}
    assert begun == {"user_id": person.pk, "state": "begun"}
    assert (done["state"], done["messages"], done["notifications"]) == ("done", 5, 2)


def test_an_unknown_user_is_one_line(db):
    for name in ("nobody", "\udcff\udcfe"):  # bytes of a command line that are no text
        for command in (erase, export):
            with pytest.raises(CommandError, match=f"there is no user {name}"):
                command(name)


def test_an_export_has_all_of_the_person_and_nothing_of_others(life, person):
    lines = export(person.username)
    kinds = {line["record"] for line in lines}
    assert kinds == {
        "account",
        "logins",
        "tickets",
        "last_seen",
        "devices",
        "old_devices",
        "push_preferences",
        "quiet_hours",
        "notifications",
        "messages",
        "participations",
    }
    account = next(line for line in lines if line["record"] == "account")
    assert (account["username"], account["email"]) == (person.username, "canary@example.com")
    assert "password" not in account
    said = [line["message"] for line in lines if line["record"] == "messages"]
    assert said[:3] == [f"canary {NUMBER} edited", "", f"canary 2 says {NUMBER}"]  # as it was sent
    assert all(line["sender_id"] == person.pk for line in lines if line["record"] == "messages")


def test_what_was_on_its_way_when_the_account_was_closed_is_erased_too(life, person, monkeypatch):
    trip, asked = life
    real, late = services.take_back, []

    def something_arrives(conversation_id, rows):
        real(conversation_id, rows)
        if conversation_id == asked.pk and not late:
            late.append(rows)
            Message(conversation=trip, sender=person, text="canary, late").save()

    monkeypatch.setattr(services, "take_back", something_arrives)
    erase(person.username)
    assert Message.objects.filter(sender=person, conversation=trip).count() == 6
    assert rows_with(CANARY) == []


# What refers to a user, and what becomes of it. A new relation needs a line here, and a kind in
# `personal.py` of its app.
_RELATIONS = {
    "admin.LogEntry.user": "stays: what the person did in the admin, under an account without name",
    "chat.AuditEntry.actor": "stays, without the name",
    "chat.Conversation.assignee": "unassigned",
    "chat.Message.sender": "stays, without the text",
    "chat.Note.author": "stays, without the text",
    "chat.Participant.user": "stays, and is muted",
    "chat.FormerParticipant.user": "stays: it has no text",
    "chat.SupportMember.user": "stays: it has no text",
    "notifications.Notification.recipient": "removed",
    "accounts.Device.user": "removed",
    "push.Device.user": "removed",
    "push.Preference.user": "removed",
    "push.Push.user": "removed with the notification",
    "push.QuietHours.user": "removed",
    "realtime.LastSeen.user": "removed",
    "realtime.SearchName.user": "stays, of the name that is left",
    "realtime.Ticket.user": "removed",
    "token_blacklist.OutstandingToken.user": "removed",
    "accounts.User_groups.user": "removed",
    "accounts.User_user_permissions.user": "removed",
}


def test_every_relation_to_a_user_is_thought_of():
    relations = get_user_model()._meta.get_fields(include_hidden=True)
    fields = [one.field for one in relations if one.one_to_many or one.one_to_one]
    assert {f"{field.model._meta.label}.{field.name}" for field in fields} == _RELATIONS.keys()


def exported(conversation, **options):
    out = StringIO()
    call_command("export_conversation", conversation.pk, stdout=out, **options)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("sizes", ["large"], indirect=True)
def test_large_ids_are_text_in_exports_too(life, person, others):
    trip, _ = life
    lines = [*export(person.username), *exported(trip, internal=True)]
    assert {type(line["sender_id"]) for line in lines if "sender_id" in line} == {str}
    assert {type(line["user_id"]) for line in lines if "user_id" in line} == {str}


def test_a_conversation_is_exported_as_its_members_see_it(life, person, others, monkeypatch):
    trip, _ = life
    monkeypatch.setattr(personal, "_EXPORTED_AT_ONCE", 2)
    lines = exported(trip)
    assert [line["record"] for line in lines] == [
        "conversation", *["participant"] * 2, *["message"] * 6
    ]  # fmt: skip
    assert lines[0] == {
        "record": "conversation",
        "id": trip.pk,
        "kind": "trip",
        "subject": "",
        "status": "open",
        "closes_at": None,
    }
    assert [line["message_id"] for line in lines[3:]] == sorted(
        Message.objects.filter(conversation=trip).values_list("pk", flat=True)
    )
    assert "123 45 67" not in json.dumps(lines)
    entry = AuditEntry.objects.get(action="exported")
    assert (entry.conversation_id, entry.detail) == (trip.pk, {"internal": False})


def test_an_internal_export_has_what_members_do_not_see(life, person, others):
    trip, asked = life
    notes.add_note(user=others[1], conversation_id=asked.pk, text="A regular")
    lines = exported(asked, internal=True)
    assert [line["text"] for line in lines if line["record"] == "note"] == ["A regular"]
    audited = [line["action"] for line in lines if line["record"] == "audit"]
    assert audited == ["claimed", "priority", "exported"]
    sent = [
        line["as_sent"] for line in exported(trip, internal=True) if line["record"] == "message"
    ]
    assert sent[2] == f"canary 2 says {NUMBER}"


def test_a_conversation_that_is_none_is_one_line(db):
    with pytest.raises(CommandError, match="there is no conversation 7"):
        call_command("export_conversation", 7)


def test_a_batch_is_bounded(life, person, monkeypatch):
    sizes = []
    real = services.take_back
    monkeypatch.setattr(
        services, "take_back", lambda id, rows: (sizes.append(len(rows)), real(id, rows))
    )
    erase(person.username, batch=2)
    assert max(sizes) <= 2
    assert personal.kinds(person)["messages"].left() == 0
