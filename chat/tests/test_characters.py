"""Where texts are cut, refused for showing nothing, or stand in sentences: each place by its own
code. The rules themselves are tested in holodrive/realtime/tests/test_characters.py.
"""

import pytest
from asgiref.sync import sync_to_async
from django.urls import reverse

from chat import audit, canned, events, overview, services, workflow
from chat.models import AuditEntry, CannedReply, Conversation, Message, Note
from holodrive.realtime.models import Event
from holodrive.realtime.tests.test_characters import TABLE
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)

CHARACTERS = TABLE["characters"].values()
# Of each kind one, and all at once; the whole table is the rule's own.
BLANK = ["", " \n", "\u200b", "\ufeff\u2060", "\u00ad", "\u3164", "\u2800", "\ufe0f",
         "\u034f\u180e", "\U000e0041", "\u202e\u2069", "\u115f \uffa0",
         "".join(TABLE["blank"].values())]  # fmt: skip
# What is sent; as a name, in the notification's title; as a text, in its message.
TURNED = [
    ("\u202eevil", "\u2068\u202eevil\u2069", "\u2068\u202eevil\u2069"),
    ("\u202devil", "\u2068\u202devil\u2069", "\u2068\u202devil\u2069"),
    ("\u2067evil", "evil", "\u2068evil\u2069"),
    ("ev\u2069\u202eil", "\u2068ev\u202eil\u2069", "\u2068ev\u202eil\u2069"),
    ("evil\u200f", "\u2068evil\u200f\u2069", "\u2068evil\u200f\u2069"),
    ("two\n\u202elines", "\u2068two \u202elines\u2069", "\u2068two\u2069\n\u2068\u202elines\u2069"),
]


def say(conversation, user, text):
    return services.send_message(user=user, conversation_id=conversation.pk, text=text).message


# Cut


def in_its_notification(message):
    text = Notification.objects.latest("pk").message
    return text.removeprefix("New message in conversation: ").removesuffix("...")


def in_the_list(message):
    (item,) = overview.conversations_of(message.sender, cursor=None, limit=5).items
    return item.last_message.message


@pytest.mark.parametrize(("shown_in", "most"), [(in_its_notification, 50), (in_the_list, 100)])
def test_a_preview_has_whole_characters(asked, make_user, shown_in, most):
    make_user("admin")
    for character in CHARACTERS:
        text = f"xyz{character * 120}"
        message = say(asked, asked.rider, text)
        assert message.text == text
        assert shown_in(message) == f"xyz{character * (most - 3)}"


def test_names_are_cut_to_whole_characters(trip, monkeypatch):
    """In the titles of notifications, and in the audit log."""
    for character in CHARACTERS:
        if any(map(str.isdigit, character)) or character == "\r\n":
            continue  # a telephone number, and two lines, are no name
        monkeypatch.setattr(type(trip.rider), "get_full_name", lambda _, c=character: f"x{c * 300}")
        say(trip, trip.rider, "Hi")
        audit.record(trip.rider, audit.Action.CLAIMED, trip.pk)
        title = Notification.objects.latest("pk").title
        for kept, most in (
            (title.removeprefix("New message from x"), 182),
            (AuditEntry.objects.latest("pk").actor_name.removeprefix("x"), 199),
        ):
            assert kept == character * (most // len(character))


def test_a_name_with_controls_fits_with_the_marks_around_it(trip):
    for length in (180, 181, 182, 183, 300):
        trip.rider.first_name, trip.rider.last_name = "\u202e" + "x" * (length - 1), ""
        trip.rider.get_full_name = lambda: trip.rider.first_name
        say(trip, trip.rider, "Hi")
        title = Notification.objects.latest("pk").title
        assert title == f"New message from \u2068\u202e{'x' * min(length - 1, 180)}\u2069"


def test_a_preview_of_marks_by_the_hundred_is_no_book(trip):
    say(trip, trip.rider, ("Z" + "\u0301" * 199) * 20)
    assert len(Notification.objects.get().message) < 900


# Blank


def test_a_text_that_shows_nothing_is_refused_over_rest(trip, asked, make_user, rest_of):
    message, rider, support = (
        say(trip, trip.rider, "Hi"),
        rest_of(trip.rider),
        rest_of(make_user("admin")),
    )
    messages = f"/api/conversations/{trip.pk}/messages/"
    notes = f"/api/conversations/{asked.pk}/notes/"
    note = support.post(notes, {"text": "Hi"}, format="json").json()["note_id"]
    for blank in BLANK:
        for answer in (
            rider.post(messages, {"message": blank}, format="json"),
            rider.patch(f"{messages}{message.pk}/", {"message": blank}, format="json"),
            support.post(notes, {"text": blank}, format="json"),
            support.patch(f"{notes}{note}/", {"text": blank}, format="json"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_message"), blank
            assert "must not be blank" in answer.json()["message"]
    assert (Message.objects.get().text, Note.objects.get().text) == ("Hi", "Hi")


async def test_a_text_that_shows_nothing_is_refused_on_the_socket(connect, trip):
    socket = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    for blank in BLANK:
        socket.send({"type": "chat_message", "message": blank, "client_message_id": "a1"})
        error = await socket.frame("error")
        assert (error["code"], error["ref"]) == ("invalid_message", "a1"), blank
    assert not await Message.objects.aexists()


def test_a_text_that_shows_nothing_is_refused_in_the_admin(asked, make_user, client):
    admin = make_user("admin")
    client.force_login(admin)
    for blank in BLANK:
        for model, field, form in (
            ("chat_message", "text", {"conversation": asked.pk}),
            ("chat_cannedreply", "text", {"code": "hi"}),
            ("notifications_notification", "title", {"recipient": admin.pk, "status": "unread"}),
        ):
            page = client.post(reverse(f"admin:{model}_add"), form | {field: blank})
            assert page.status_code == 200
            assert field in page.context["adminform"].form.errors, (model, blank)
    assert not CannedReply.objects.exists()


def test_an_announcement_shows_something(make_user, client):
    client.force_login(make_user("admin"))
    form = {"audience": "everybody", "notification_type": "announcement", "step": "preview"}
    path = reverse("admin:notifications_announce")
    for blank in BLANK:
        assert not client.post(path, form | {"title": blank}).context["is_ready"]
        page = client.post(path, form | {"title": "Hi", "message": blank})
        assert page.context["form"].cleaned_data["message"] == ""


def test_a_subject_that_shows_nothing_is_none(make_user, rest_of, client):
    client.force_login(make_user("admin"))
    empty = {"participants-TOTAL_FORMS": 0, "participants-INITIAL_FORMS": 0}
    for blank in BLANK:
        rider = rest_of(make_user("rider"))
        answer = rider.post("/api/conversations/", {"subject": blank}, format="json")
        assert (answer.status_code, answer.json()["subject"]) == (201, "")
        form = {"kind": "support", "subject": blank, "status": "open", "priority": 1, **empty}
        assert client.post(reverse("admin:chat_conversation_add"), form).status_code == 302
    assert set(Conversation.objects.values_list("subject", flat=True)) == {""}


def test_who_has_no_name_that_shows_is_called_by_the_login(make_user, client):
    user = make_user("admin", username="ann")
    client.force_login(user)
    for blank in BLANK:
        named(user, blank)
        assert events.name_of(user) == "ann"
        assert "<strong>ann</strong>" in client.get("/admin/").content.decode()
    user.username = "\u200b"
    assert events.name_of(user) == f"Admin {user.pk}"


# In the other direction


def named(user, name):
    user.first_name, user.last_name = name[:150], ""
    user.save()


@pytest.mark.parametrize(
    "name", ["Sobirjon Bobojonov", "Дилшод Раҳимов", "Oʻktam Joʻrayev", "محمد علي", "👩‍🚒 Ann"]
)
def test_an_ordinary_name_makes_the_texts_of_the_contract(trip, name):
    named(trip.rider, name)
    say(trip, trip.rider, name)
    row = Notification.objects.get()
    assert row.title == f"New message from {name}"
    assert row.message == f"New message in conversation: {name}..."


@pytest.mark.parametrize(("sent", "title", "message"), TURNED)
def test_a_name_and_a_text_turn_nothing_around_them(trip, sent, title, message):
    named(trip.rider, sent)
    say(trip, trip.rider, sent)
    row = Notification.objects.get()
    assert row.title == f"New message from {title}"
    assert row.message == f"New message in conversation: {message}..."
    assert Message.objects.get().text == sent
    frame = Event.objects.get(stream__name=events.stream_of(trip.pk)).text
    assert f'"sender_name":"{title.strip(chr(0x2068) + chr(0x2069))}"' in frame


@pytest.mark.parametrize(
    ("name", "shown"), [one[:2] for one in TURNED] + [("علي", "\u2068علي\u2069")]
)
def test_the_sentences_of_support_keep_their_order(asked, make_user, name, shown):
    agent, other = make_user("admin"), make_user("admin")
    for user in (asked.rider, agent):
        named(user, name)
    asked.assignee, asked.changed_by = other, agent
    asked.save()
    assert Notification.objects.get().message == f"{shown} gave you the conversation with {shown}."
    asked.assignee = agent
    asked.save()
    with pytest.raises(workflow.AlreadyClaimed) as refusal:
        workflow.claim(user=other, conversation_id=asked.pk)
    assert refusal.value.message == f"{shown} has this conversation."
    CannedReply.objects.create(code="hi", text="Hi {rider_name}, I am {agent_name}.")
    (reply,) = canned.replies(agent, asked.pk)
    assert reply.expanded == f"Hi {shown}, I am {shown}."


@pytest.mark.parametrize(("name", "alone"), [(sent, alone) for sent, _, alone in TURNED])
def test_a_name_turns_nothing_in_the_admin(make_user, client, name, alone):
    user = make_user("admin", first_name=name)
    client.force_login(user)
    assert f"<strong>{alone}</strong>" in client.get("/admin/").content.decode()
    user.username = name
    assert str(user) == alone
    assert str(AuditEntry(actor_name=name, action="viewed")).startswith(f"{alone}: viewed")


async def test_who_types_is_named_on_one_line(connect, trip):
    await sync_to_async(named)(trip.rider, "two\n\u2067lines")
    rider = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    driver = await connect(f"/ws/chat/{trip.pk}/", trip.driver)
    rider.send({"type": "typing", "is_typing": True})
    assert (await driver.frame("typing"))["user_name"] == "two lines"
