"""Private notes and canned replies."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.db import connection

from chat import events, note_events, notes, queue_events, services
from chat.models import AuditEntry, CannedReply, Message, Note
from chat.tests.test_events import AT
from holodrive.realtime import log
from holodrive.realtime.published import SilentWriteError
from holodrive.realtime.wire import NotFound, encode

pytestmark = pytest.mark.django_db(transaction=True)

PERSON: Any = {"user_id": 7, "name": "Aziza Karimova"}
NOTE = (
    '{"type":"note","seq":1,"note_id":3,"conversation_id":2,"text":"Called.","author_id":7,'
    f'"author_name":"Aziza Karimova","client_note_id":"n1","created_at":"{AT}"}}'
)
FRAMES = [
    (
        note_events.ConnectionEstablished(conversation_id=2, last_seq=0, session_id="s"),
        '{"type":"connection_established","message":"Connected to notes","last_seq":0,'
        '"heartbeat_interval":0,"expires_at":null,"session_id":"s","conversation_id":2}',
    ),
    (
        note_events.NoteAdded(
            seq=1, note_id=3, conversation_id=2, text="Called.", author_id=7,
            author_name="Aziza Karimova", client_note_id="n1", created_at=AT,
        ),
        NOTE,
    ),
    (
        queue_events.ConnectionEstablished(
            user_id=7, permissions=["chat.view_note"], last_seq=4, session_id="s"
        ),
        '{"type":"connection_established","message":"Connected to support","last_seq":4,'
        '"heartbeat_interval":0,"expires_at":null,"session_id":"s","user_id":7,'
        '"permissions":["chat.view_note"]}',
    ),
    (
        queue_events.QueueUpdated(
            seq=5,
            conversation=queue_events.QueuedConversation(
                id=2, kind="support", subject="Lost phone", status="open", created_at=AT,
                closes_at=None, last_message_at=None, priority="normal",
                assignee=events.Person(**PERSON), waiting_since=AT, snoozed_until=None,
                participants=[queue_events.Member(**PERSON, role="rider")],
            ),
        ),
        '{"type":"conversation_updated","seq":5,"conversation":{"id":2,"kind":"support",'
        f'"subject":"Lost phone","status":"open","created_at":"{AT}","closes_at":null,'
        '"last_message_at":null,"priority":"normal","assignee":{"user_id":7,'
        f'"name":"Aziza Karimova"}},"waiting_since":"{AT}","snoozed_until":null,'
        '"participants":[{"user_id":7,"name":"Aziza Karimova","role":"rider"}]}}',
    ),
    (
        queue_events.ConversationActivity(
            conversation_id=2, kind="trip", last_message_at=AT,
            last_message=events.MessagePreview(
                message_id=4, message="Hi", sender_id=2, sender_name="S", created_at=AT,
                deleted_at=None,
            ),
        ),
        f'{{"type":"conversation_activity","conversation_id":2,"kind":"trip",'
        f'"last_message_at":"{AT}",'
        '"last_message":{"message_id":4,"message":"Hi","sender_id":2,"sender_name":"S",'
        f'"created_at":"{AT}","deleted_at":null}}}}',
    ),
    (
        note_events.NoteEdited(seq=2, note_id=3, text="Hi", edited_at=AT),
        f'{{"type":"note_edited","seq":2,"note_id":3,"text":"Hi","edited_at":"{AT}"}}',
    ),
    (
        note_events.NoteDeleted(seq=3, note_id=3, deleted_at=AT),
        f'{{"type":"note_deleted","seq":3,"note_id":3,"deleted_at":"{AT}"}}',
    ),
    (
        queue_events.ConversationRead(conversation_id=2, user_id=7, up_to_id=4),
        '{"type":"conversation_read","conversation_id":2,"user_id":7,"up_to_id":4}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("frame", "text"), FRAMES, ids=lambda value: type(value).__name__)
def test_a_frame_is_exactly_this(frame, text):
    assert encode(frame) == text


@pytest.fixture
def agent(make_agent):
    return make_agent("view_conversation", "view_note", "add_note")


def write(user, conversation, text="Called.", client_note_id=None):
    return notes.add_note(
        user=user, conversation_id=conversation.pk, text=text, client_note_id=client_note_id
    )


def test_a_note_is_stored_once(asked, agent, rest_of):
    client, path = rest_of(agent), f"/api/conversations/{asked.pk}/notes/"
    body = {"text": "Called.", "client_note_id": "n1"}
    first, second = (client.post(path, body, format="json") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    other = client.post(path, body | {"text": "x"}, format="json")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert client.get(path).json() == {
        "results": [first.json()],
        "has_more": False,
        "last_seq": 1,
    }
    assert first.json()["author_name"] == agent.get_full_name()


@pytest.mark.parametrize("text", ["", " \n", "x" * 4001, "a\x00", 5, None])
def test_a_wrong_note_is_refused(asked, agent, rest_of, text):
    path = f"/api/conversations/{asked.pk}/notes/"
    answer = rest_of(agent).post(path, {"text": text}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message")


def test_notes_at_once_are_numbered_without_holes(asked, agent):
    def attempt(number):
        try:
            return write(agent, asked, str(number)).note.seq
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(attempt, range(12))) == list(range(1, 13))
    rows = Note.objects.order_by("id").values_list("seq", flat=True)
    assert list(rows) == list(range(1, 13))
    texts = [json.loads(event.text)["type"] for event in log.read(notes_stream(asked), 0, 99)]
    assert texts == ["note"] * 12


def notes_stream(conversation):
    return f"conversation.{conversation.pk}.notes"


def test_ones_own_note_can_be_edited_and_taken_back(asked, agent, make_agent, rest_of):
    note = write(agent, asked, "Clled.").note
    path = f"/api/conversations/{asked.pk}/notes/{note.pk}/"
    client, other = (
        rest_of(agent),
        rest_of(make_agent("view_conversation", "view_note", "add_note")),
    )
    assert other.patch(path, {"text": "x"}, format="json").status_code == 403
    assert other.delete(path).status_code == 403
    assert rest_of(asked.rider).delete(path).status_code == 403
    assert client.patch(path, {"text": " "}, format="json").status_code == 400
    edited = client.patch(path, {"text": "Called."}, format="json")
    assert (edited.status_code, edited.json()["text"]) == (200, "Called.")
    client.patch(path, {"text": "Called."}, format="json")  # as it is
    for _ in range(2):
        assert client.delete(path).status_code == 204
    assert client.patch(path, {"text": "x"}, format="json").status_code == 404
    frames = [json.loads(event.text) for event in log.read(notes_stream(asked), 0, 99)]
    assert [(one["type"], one["seq"], one.get("text")) for one in frames] == [
        ("note", 1, ""),
        ("note_edited", 2, ""),
        ("note_deleted", 3, None),
    ]
    (row,) = client.get(f"/api/conversations/{asked.pk}/notes/").json()["results"]
    assert (row["text"], row["deleted_at"]) == ("", frames[2]["deleted_at"])
    done = AuditEntry.objects.filter(action__startswith="note").order_by("id")
    assert [(one.actor_id, one.action, one.detail) for one in done] == [
        (agent.pk, "note_edited", {"note_id": note.pk}),
        (agent.pk, "note_deleted", {"note_id": note.pk}),
    ]


def test_a_note_of_another_conversation_is_none(asked, agent, make_user):
    note = write(agent, asked).note
    other = services.open_support(user=make_user("rider")).conversation
    with pytest.raises(NotFound):
        notes.delete_note(user=agent, conversation_id=other.pk, note_id=note.pk)


def test_a_note_that_is_saved_is_told_of_and_one_taken_back_stays_so(asked, agent):
    note = write(agent, asked).note
    note.text = "Called twice."
    note.save()
    notes.delete_note(user=agent, conversation_id=asked.pk, note_id=note.pk)
    note.save()  # knows nothing of that
    assert Note.objects.get().text == ""
    kinds = [json.loads(event.text)["type"] for event in log.read(notes_stream(asked), 0, 99)]
    assert kinds == ["note", "note_edited", "note_deleted"]


async def test_riders_see_not_even_a_hole(asked, agent, make_agent, connect):
    rider = await connect(f"/ws/chat/{asked.pk}/", asked.rider)
    reader = await connect(f"/ws/support/notes/{asked.pk}/", agent)
    blind = await sync_to_async(make_agent)("view_conversation")
    for user in (asked.rider, blind):
        refused = await connect(f"/ws/support/notes/{asked.pk}/", user, first_frame=False)
        assert (await refused.frame())["code"] == "not_found"
        assert await refused.closed() == 4404
    note = (await sync_to_async(write)(agent, asked)).note
    frame = await reader.frame()
    assert (frame["type"], frame["note_id"], frame["seq"]) == ("note", note.pk, 1)
    rider.send({"type": "chat_message", "message": "Hi"})
    message = await rider.frame("chat_message")
    assert message["seq"] == rider.welcome["last_seq"] + 1
    resumed = await connect(f"/ws/support/notes/{asked.pk}/?last_seq=0", agent)
    assert await resumed.frame() == frame


async def test_a_note_of_nothing_looks_like_none(agent, connect):
    for id in ("999999", "abc"):
        socket = await connect(f"/ws/support/notes/{id}/", agent, first_frame=False)
        assert (await socket.frame())["code"] == "not_found"
        assert await socket.closed() == 4404


def test_bulk_writes_of_notes_are_refused(asked, agent):
    write(agent, asked)
    for attempt in (Note.objects.all().delete, lambda: Note.objects.update(text="x")):
        with pytest.raises(SilentWriteError):
            attempt()
    assert Message.objects.count() == 0


# Canned replies


def test_a_canned_reply_has_the_names_of_the_conversation(asked, agent, rest_of):
    CannedReply.objects.create(code="hello", text="Hello {rider_name}, {agent_name} here.")
    CannedReply.objects.create(code="driver", text="{driver_name} is on the way")
    client = rest_of(agent)
    plain = client.get("/api/canned-replies/").json()["results"]
    assert [(reply["code"], reply["expanded"]) for reply in plain] == [
        ("driver", None),
        ("hello", None),
    ]
    found = client.get("/api/canned-replies/", {"conversation": asked.pk}).json()["results"]
    assert [reply["expanded"] for reply in found] == [
        "{driver_name} is on the way",  # there is none: the agent sees it
        f"Hello {asked.rider.get_full_name()}, {agent.get_full_name()} here.",
    ]
    assert client.get("/api/canned-replies/", {"conversation": 999_999}).status_code == 404


def test_a_name_is_not_expanded_again(asked, agent, rest_of):
    asked.rider.first_name, asked.rider.last_name = "{agent_name}", ""
    asked.rider.save()
    CannedReply.objects.create(code="hello", text="Hello {rider_name}")
    found = rest_of(agent).get("/api/canned-replies/", {"conversation": asked.pk}).json()
    assert found["results"][0]["expanded"] == "Hello {agent_name}"


def test_a_variable_that_there_is_not_is_refused():
    CannedReply(code="hello", text="Hello {rider_name}").full_clean()
    with pytest.raises(ValidationError, match=r"\{nobody\}"):
        CannedReply(code="hello", text="Hello {nobody}").full_clean()
