"""Which permissions open which page of the admin: no more than over REST, whatever else one has."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.urls import reverse

from chat import services
from chat.models import AuditEntry, CannedReply, Conversation, Message, Note, Participant
from notifications.models import Notification
from testing.forms import participants

pytestmark = pytest.mark.django_db(transaction=True)


def place(name, *args):
    return reverse(f"admin:{name}", args=args)


@pytest.fixture
def rows(asked):
    """A conversation with one of everything."""
    asked.message = Message(conversation=asked, sender=asked.rider, text="my blue umbrella")
    asked.message.save()
    asked.note = Note(conversation=asked, author=asked.rider, text="a regular")
    asked.note.save()
    asked.reply = CannedReply.objects.create(code="hi", text="Hello")
    asked.member = asked.participants.get()
    asked.entry = AuditEntry.objects.create(actor_name="x", action="viewed", conversation=asked)
    return asked


PAGES = {
    "conversations": lambda rows: place("chat_conversation_changelist"),
    "conversation": lambda rows: place("chat_conversation_change", rows.pk),
    "conversation+": lambda rows: place("chat_conversation_add"),
    "conversation-": lambda rows: place("chat_conversation_delete", rows.pk),
    "conversation?": lambda rows: place("chat_conversation_history", rows.pk),
    "messages": lambda rows: place("chat_message_changelist"),
    "message": lambda rows: place("chat_message_change", rows.message.pk),
    "message+": lambda rows: place("chat_message_add"),
    "message-": lambda rows: place("chat_message_delete", rows.message.pk),
    "message?": lambda rows: place("chat_message_history", rows.message.pk),
    "notes": lambda rows: place("chat_note_changelist"),
    "note": lambda rows: place("chat_note_change", rows.note.pk),
    "note?": lambda rows: place("chat_note_history", rows.note.pk),
    "participants": lambda rows: place("chat_participant_changelist"),
    "participant": lambda rows: place("chat_participant_change", rows.member.pk),
    "participant+": lambda rows: place("chat_participant_add"),
    "participant-": lambda rows: place("chat_participant_delete", rows.member.pk),
    "replies": lambda rows: place("chat_cannedreply_changelist"),
    "reply": lambda rows: place("chat_cannedreply_change", rows.reply.pk),
    "entries": lambda rows: place("chat_auditentry_changelist"),
    "entry": lambda rows: place("chat_auditentry_change", rows.entry.pk),
    "entry-": lambda rows: place("chat_auditentry_delete", rows.entry.pk),
    "completion": lambda rows: (
        place("autocomplete") + "?app_label=chat&model_name=message&field_name=conversation&term="
    ),
}

# What opens with these permissions; everything else is refused.
OPENS = {
    (): "",
    ("view_message",): "",
    ("view_note",): "",
    ("view_participant", "view_cannedreply"): "",
    ("add_message", "change_message", "view_message"): "",
    ("add_participant", "change_participant", "delete_participant", "view_participant"): "",
    ("add_conversation", "change_conversation", "delete_conversation"): "",
    ("assign_conversation", "change_conversation", "unmask_message"): "",
    ("view_auditentry",): "entries entry",
    ("view_conversation",): "conversations conversation conversation? completion",
    ("view_conversation", "view_message"): (
        "conversations conversation conversation? completion messages message message?"
    ),
    ("view_conversation", "view_note"): (
        "conversations conversation conversation? completion notes note note?"
    ),
    ("view_conversation", "add_message", "delete_message"): (
        "conversations conversation conversation? completion message+"
    ),
    ("view_conversation", "view_participant", "view_cannedreply"): (
        "conversations conversation conversation? completion participants participant replies reply"
    ),
}


@pytest.mark.parametrize("names", OPENS, ids=lambda names: "+".join(names) or "none")
def test_a_page_opens_only_with_its_permissions_and_those_of_support(
    client, rows, make_agent, names
):
    agent = make_agent(*names)
    client.force_login(agent)
    opens = OPENS[names].split()
    for page, path in PAGES.items():
        answer = client.get(path(rows))
        assert answer.status_code == (200 if page in opens else 403), page
        if page not in opens:
            assert "umbrella" not in answer.content.decode()
    is_audited = AuditEntry.objects.filter(actor=agent, conversation=rows.pk).exists()
    assert is_audited == ("conversation" in opens)


def test_rest_refuses_who_the_admin_refuses(rows, make_agent, rest_of):
    for names in OPENS:
        client = rest_of(make_agent(*names))
        seen = client.get(f"/api/conversations/{rows.pk}/messages/").status_code
        notes = client.get(f"/api/conversations/{rows.pk}/notes/").status_code
        is_support = "view_conversation" in names
        assert (seen == 200) == is_support, names
        assert (notes == 200) == (is_support and "view_note" in names), names


def test_permissions_of_someone_who_is_no_staff_open_nothing(client, rows, make_user):
    user = make_user("rider")
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="chat"))
    client.force_login(user)
    for path in PAGES.values():
        assert client.get(path(rows)).status_code in (302, 403)


# Messages


def all_but(*codenames):
    """Of the permissions of chat."""
    rows = Permission.objects.filter(content_type__app_label="chat")
    return [*rows.exclude(codename__in=codenames).values_list("codename", flat=True)]


def send(client, conversation, text="Hello", **more):
    form = {"conversation": conversation.pk, "text": text, **more}
    return client.post(place("chat_message_add"), form)


def test_nobody_writes_in_the_name_of_a_rider(client, rows, make_agent):
    agent = make_agent("view_conversation", "view_message", "add_message")
    client.force_login(agent)
    answer = send(client, rows, sender=rows.rider.pk)
    assert answer.status_code == 302, answer.context["errors"]
    message = Message.objects.latest("id")
    assert (message.sender_id, message.text, message.is_from_support) == (agent.pk, "Hello", True)
    assert rows.participants.get(user=agent).role == "support"


def test_the_log_of_the_admin_quotes_no_message(client, rows, make_agent):
    client.force_login(make_agent("view_conversation", "view_message", "add_message"))
    assert send(client, rows, "about an umbrella").status_code == 302
    entry = LogEntry.objects.get()
    assert entry.object_id == str(Message.objects.latest("id").pk)
    assert "umbrella" not in f"{entry.object_repr} {entry.change_message}"


def test_the_log_of_the_admin_names_nobody(client, trip, make_user):
    cid = make_user("rider", username="cid-login")
    client.force_login(make_user("admin"))
    assert add_inline(client, trip, cid).status_code == 302
    assert delete_inline(client, trip.participants.order_by("id")[0]).status_code == 302
    said = " ".join(f"{entry} {entry.change_message}" for entry in LogEntry.objects.all())
    assert "participant" in said
    assert cid.username not in said
    assert trip.rider.username not in said


def test_replying_in_the_admin_takes_what_it_takes_over_rest(client, rows, make_agent, settings):
    settings.CHAT_REPLY_NEEDS_PERMISSION = True
    names = ["view_conversation", "view_message", "add_message"]
    client.force_login(make_agent(*names))
    assert send(client, rows).status_code == 403
    assert Message.objects.count() == 1
    client.force_login(make_agent(*names, "reply_conversation"))
    assert send(client, rows).status_code == 302
    assert Message.objects.count() == 2


def test_who_may_reply_no_longer_edits_no_reply(client, rows, make_agent, settings, rest_of):
    """An edit says something new as well."""
    settings.CHAT_REPLY_NEEDS_PERMISSION = True
    agent = make_agent("view_conversation", "view_message", "change_message", "reply_conversation")
    own = services.send_message(user=agent, conversation_id=rows.pk, text="Hi").message
    agent.user_permissions.remove(Permission.objects.get(codename="reply_conversation"))
    agent = type(agent).objects.get(pk=agent.pk)
    client.force_login(agent)
    answer = client.post(place("chat_message_change", own.pk), {"text": "Bye"})
    assert answer.status_code == 403
    path, rest = f"/api/conversations/{rows.pk}/messages/{own.pk}/", rest_of(agent)
    assert rest.patch(path, {"message": "Bye"}, format="json").status_code == 403
    assert Message.objects.get(pk=own.pk).text == "Hi"
    assert rest.delete(path).status_code == 204


@pytest.mark.parametrize("text", ["x" * 4001, "   ", "a\x00b"])
def test_a_message_of_the_admin_has_the_limits_of_the_socket(client, rows, make_agent, text):
    client.force_login(make_agent("view_conversation", "view_message", "add_message"))
    answer = send(client, rows, text)
    assert answer.status_code == 200
    assert answer.context["adminform"].errors["text"]
    assert Message.objects.count() == 1


def test_in_a_closed_conversation_the_admin_sends_nothing_and_says_so(client, rows, make_agent):
    Conversation.objects.filter(pk=rows.pk).update(status="closed")
    client.force_login(make_agent("view_conversation", "view_message", "add_message"))
    answer = send(client, rows, "A long answer")
    assert answer.status_code == 200
    assert "closed" in str(answer.context["adminform"].errors)
    assert "A long answer" in answer.content.decode()  # what was written is not lost
    assert Message.objects.count() == 1


def test_only_ones_own_message_is_edited_and_only_for_a_while(client, rows, make_agent):
    agent = make_agent("view_conversation", "view_message", "change_message")
    own = services.send_message(user=agent, conversation_id=rows.pk, text="Helo").message
    client.force_login(agent)

    def edit(message):
        path = place("chat_message_change", message.pk)
        return client.post(path, {"text": "Hello"}).status_code

    assert edit(rows.message) == 403
    assert edit(own) == 302
    assert Message.objects.get(pk=own.pk).text == "Hello"
    Message._base_manager.filter(pk=own.pk).update(created_at="2026-01-01T00:00:00Z", text="Helo")
    assert edit(own) == 403
    assert Message.objects.get(pk=own.pk).text == "Helo"
    assert Message.objects.get(pk=rows.message.pk).text == "my blue umbrella"


# Participants


def add(client, conversation, user, role="rider"):
    form = {"conversation": conversation.pk, "user": user.pk, "role": role}
    return client.post(place("chat_participant_add"), form)


def add_inline(client, conversation, user, role="rider"):
    form = {"subject": "", "status": "open", "priority": 1, **participants(conversation)}
    number = form["participants-TOTAL_FORMS"]
    form |= {f"participants-{number}-user": user.pk, f"participants-{number}-role": role}
    form["participants-TOTAL_FORMS"] = number + 1
    return client.post(place("chat_conversation_change", conversation.pk), form)


@pytest.mark.parametrize("way", [add, add_inline])
@pytest.mark.parametrize("role", ["rider", "driver", "support"])
def test_nobody_adds_themselves(client, trip, make_agent, make_user, way, role):
    for user in (make_agent(*all_but()), make_user("admin")):
        client.force_login(user)
        assert way(client, trip, user, role).status_code == 403
        assert not trip.participants.filter(user=user).exists()
    assert not AuditEntry.objects.filter(action="participant_added").exists()


@pytest.mark.parametrize("way", [add, add_inline])
def test_who_adds_somebody_is_in_the_audit_log(client, trip, make_agent, make_user, way):
    agent, cid = make_agent(*all_but()), make_user("rider")
    client.force_login(agent)
    assert way(client, trip, cid).status_code == 302
    assert trip.participants.get(user=cid).role == "rider"
    entry = AuditEntry.objects.get(action="participant_added")
    assert (entry.actor_id, entry.conversation_id) == (agent.pk, trip.pk)
    assert entry.detail == {"user_id": cid.pk, "role": "rider"}


def delete(client, row):
    return client.post(place("chat_participant_delete", row.pk), {"post": "yes"})


def delete_selected(client, row):
    form = {"action": "delete_selected", "post": "yes", "_selected_action": [row.pk]}
    return client.post(place("chat_participant_changelist"), form)


def delete_inline(client, row):
    form = {"subject": "", "status": "open", "priority": 1, **participants(row.conversation)}
    form["participants-0-DELETE"] = "on"
    return client.post(place("chat_conversation_change", row.conversation_id), form)


@pytest.mark.parametrize("way", [delete, delete_selected, delete_inline])
def test_who_removes_somebody_is_in_the_audit_log(client, trip, make_agent, way):
    agent = make_agent(*all_but())
    client.force_login(agent)
    assert way(client, trip.participants.order_by("id")[0]).status_code == 302
    assert [row.user_id for row in Participant.objects.filter(conversation=trip)] == [
        trip.driver.pk
    ]
    entry = AuditEntry.objects.get(action="participant_removed")
    assert (entry.actor_id, entry.conversation_id) == (agent.pk, trip.pk)
    assert entry.detail == {"user_id": trip.rider.pk, "role": "rider"}


# Conversations


def test_who_opens_one_is_in_the_audit_log(client, make_agent, make_user):
    agent, cid = make_agent(*all_but()), make_user("rider")
    client.force_login(agent)
    form = {"kind": "trip", "subject": "", "status": "open", "priority": 1}
    form |= {"participants-TOTAL_FORMS": 1, "participants-INITIAL_FORMS": 0}
    form |= {"participants-0-user": cid.pk, "participants-0-role": "rider"}
    answer = client.post(place("chat_conversation_add"), form)
    assert answer.status_code == 302, answer.context["errors"]
    done = AuditEntry.objects.order_by("id").values_list("actor", "action", "conversation")
    id = Conversation.objects.get().pk
    assert [*done] == [(agent.pk, "opened", id), (agent.pk, "participant_added", id)]


def delete_one(client, row):
    return client.post(place("chat_conversation_delete", row.pk), {"post": "yes"})


def delete_many(client, row):
    form = {"action": "delete_selected", "post": "yes", "_selected_action": [row.pk]}
    return client.post(place("chat_conversation_changelist"), form)


@pytest.mark.parametrize("way", [delete_one, delete_many])
def test_who_deletes_one_is_in_the_audit_log_which_outlives_it(client, trip, make_agent, way):
    agent, id = make_agent(*all_but()), trip.pk
    client.force_login(agent)
    assert way(client, trip).status_code == 302
    assert not Conversation.objects.exists()
    entry = AuditEntry.objects.get(action="deleted")
    assert (entry.actor_id, entry.conversation_id) == (agent.pk, id)


def test_that_a_trip_is_open_for_longer_is_in_the_audit_log(client, trip, make_agent):
    client.force_login(make_agent(*all_but()))
    form = {"subject": "", "status": "open", "priority": 1, **participants(trip)}
    form |= {"closes_at_0": "2030-01-01", "closes_at_1": "00:00"}
    answer = client.post(place("chat_conversation_change", trip.pk), form)
    assert answer.status_code == 302, answer.context["errors"]
    assert AuditEntry.objects.get(action="changed").detail == {"fields": ["closes_at"]}


def test_that_a_subject_was_rewritten_is_in_the_audit_log(client, trip, make_agent):
    client.force_login(make_agent(*all_but()))
    form = {"subject": "Another", "status": "open", "priority": 1, **participants(trip)}
    assert client.post(place("chat_conversation_change", trip.pk), form).status_code == 302
    assert AuditEntry.objects.get(action="changed").detail == {"fields": ["subject"]}


# The audit log itself


def test_not_even_a_superuser_changes_the_audit_log(client, rows, make_user):
    client.force_login(make_user("admin"))
    entry = AuditEntry.objects.get(pk=rows.entry.pk)
    assert client.get(place("chat_auditentry_change", entry.pk)).status_code == 200
    assert client.get(place("chat_auditentry_add")).status_code == 403
    for page in ("change", "delete"):
        path = place(f"chat_auditentry_{page}", entry.pk)
        assert client.post(path, {"post": "yes", "actor_name": "y"}).status_code == 403
    selected = {"action": "delete_selected", "post": "yes", "_selected_action": [entry.pk]}
    client.post(place("chat_auditentry_changelist"), selected)
    assert AuditEntry.objects.get(pk=entry.pk).actor_name == "x"


# Notifications, which quote messages


@pytest.fixture
def bell(rows):
    """What rang for somebody else, quoting a message."""
    return Notification.objects.create(
        recipient=rows.rider,
        title="New message from Ann",
        message="New message in conversation: my blue umbrella...",
        notification_type="chat_message",
        related_object_type="conversation",
        related_object_id=rows.pk,
        data={"conversation_id": rows.pk, "message_id": rows.message.pk},
    )


NOTIFICATION = ("view_notification", "change_notification", "add_notification")


def test_notifications_of_messages_are_seen_by_support_only(client, bell, make_agent):
    plain = Notification.objects.create(recipient=bell.recipient, title="Rain")
    lists = place("notifications_notification_changelist")
    for names, found in (
        (NOTIFICATION, [plain]),
        ((*NOTIFICATION, "view_conversation"), [plain, bell]),
    ):
        client.force_login(make_agent(*names))
        assert list(client.get(lists).context["cl"].result_list) == found
        page = client.get(place("notifications_notification_change", bell.pk), follow=True)
        assert ("umbrella" in page.content.decode()) == (bell in found)
        assert list(client.get(lists, {"q": "umbrella"}).context["cl"].result_list) == found[1:]


def test_what_an_app_has_written_is_not_rewritten(client, bell, make_agent):
    client.force_login(make_agent(*NOTIFICATION, "view_conversation"))
    form = {"title": "You won", "message": "Call me", "notification_type": "general"}
    form |= {"data": "{}", "status": "read"}
    answer = client.post(place("notifications_notification_change", bell.pk), form)
    assert answer.status_code == 302, answer.context["errors"]
    row = Notification.objects.get(pk=bell.pk)
    assert (row.title, row.status) == ("New message from Ann", "read")
    assert row.message == bell.message


@pytest.mark.parametrize(
    "forged",
    [
        {"notification_type": "chat_message"},
        {"notification_type": "conversation_assigned"},
        {"notification_type": "general", "related_object_type": "conversation"},
    ],
)
def test_nobody_writes_a_notification_as_if_a_message_had_come(client, rows, make_user, forged):
    client.force_login(make_user("admin"))
    form = {"recipient": rows.rider.pk, "title": "Ann", "data": "{}", "status": "unread", **forged}
    answer = client.post(place("notifications_notification_add"), form)
    assert answer.status_code == 200
    assert answer.context["adminform"].form.non_field_errors()
    if "related_object_type" not in forged:
        form = {"audience": "everybody", "title": "Ann", "step": "preview", **forged}
        page = client.post(place("notifications_announce"), form)
        assert page.context["form"].errors["notification_type"]
    assert not Notification.objects.exists()
