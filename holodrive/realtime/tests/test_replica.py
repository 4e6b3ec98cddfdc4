"""With a router that reads from a replica, all doors behave as with one database; and no row is
written where its event is not. (conftest.py runs every other test beside that router, too: its
replica refuses all queries.)
"""

import pytest
from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS as HOME
from django.db import connections
from django.db.models.signals import pre_delete
from rest_framework.test import APIClient

from chat import services as chat
from chat.models import Conversation, Message, Note, Participant
from holodrive.realtime import log
from holodrive.realtime.models import Event
from holodrive.realtime.routing import WrongDatabaseError
from holodrive.realtime.tokens import ObtainSerializer
from notifications import services as notifications
from notifications.models import Notification
from testing.client import bearer

pytestmark = pytest.mark.django_db(transaction=True)
User = get_user_model()


# The examples: each was stored and published nothing, or was let in


def kinds_after(change):
    """The types of the events that a change publishes."""
    before = log.last_id()
    change()
    texts = Event.objects.filter(pk__gt=before).order_by("pk").values_list("text", flat=True)
    return [text.split('"')[3] for text in texts]


def edit(trip):
    row = chat.send_message(user=trip.rider, conversation_id=trip.pk, text="Hi").message
    row.text = "Hello"
    return row.save


def mark(trip):
    row = Notification.objects.create(recipient=trip.rider, title="News")
    row.status = "read"
    return lambda: row.save(update_fields=["status"])


def mark_all(trip):
    Notification.objects.create(recipient=trip.rider, title="News")
    return lambda: notifications.mark_all_read(user=trip.rider)


def close(trip):
    row = Conversation.objects.get(pk=trip.pk)
    row.status = Conversation.Status.CLOSED
    return row.save


def remove(trip):
    return Participant.objects.filter(conversation=trip, user=trip.driver).delete


@pytest.mark.parametrize(
    ("prepare", "published"),
    [
        (edit, ["message_edited"]),
        (mark, ["notification_read"]),
        (mark_all, ["notification_read"]),
        (close, ["conversation_updated"] * 2),  # there, and in the queue
        (remove, ["participant_removed"]),
    ],
)
def test_a_change_publishes_its_event(prepare, published, trip):
    assert kinds_after(prepare(trip)) == published


def test_a_message_that_is_sent_again_is_a_duplicate(trip):
    call = {"user": trip.rider, "conversation_id": trip.pk, "text": "Hi", "client_message_id": "1"}
    first, again = chat.send_message(**call), chat.send_message(**call)
    assert (again.message.pk, again.duplicate) == (first.message.pk, True)


def test_a_login_that_was_ended_is_refused(make_user):
    refresh = ObtainSerializer.get_token(make_user("rider"))
    client = APIClient(headers=bearer(refresh.access_token))
    assert client.get("/api/me/").status_code == 200
    ended = client.post("/api/token/logout/", {"refresh": str(refresh)}, format="json")
    assert ended.status_code < 300
    assert client.get("/api/me/").status_code == 401
    renewed = client.post("/api/token/refresh/", {"refresh": str(refresh)}, format="json")
    assert renewed.status_code == 401


def test_a_server_beside_a_replica_that_is_away_serves(server, dial, make_user, trip):
    assert server.environment["DJANGO_SETTINGS_MODULE"] == "testing.replica_settings"
    user = trip.rider
    user.set_password("0ld-passw0rd")
    user.save()
    login = {"username": user.username, "password": "0ld-passw0rd"}
    status, tokens = server.request("POST", "/api/token/", login)
    assert status == 200
    socket = dial(server, f"/ws/chat/{trip.pk}/", headers=bearer(tokens["access"]))
    socket.frame("connection_established")
    for duplicate in (False, True):
        socket.send({"type": "chat_message", "message": "Hi", "client_message_id": "1"})
        assert socket.frame("message_ack")["duplicate"] is duplicate
    own = bearer(tokens["access"])
    path = f"/api/conversations/{trip.pk}/messages/"
    status, page = server.request("GET", path, headers=own)
    assert [row["message"] for row in page["results"]] == ["Hi"]
    server.request("POST", "/api/token/logout/", {"refresh": tokens["refresh"]}, own)
    assert server.request("GET", "/api/me/", headers=own)[0] == 401
    assert "ImproperlyConfigured" not in server.log()


# Row and event in one database


@pytest.fixture
def archive(transactional_db):
    """The name of another database. (It is the same one, by another connection.)"""
    known = connections[HOME].settings_dict
    options = {name: known["OPTIONS"][name] for name in known["OPTIONS"] if name != "pool"}
    connections.settings["archive"] = known | {"OPTIONS": options}
    other = connections["archive"]
    del connections.settings["archive"]  # Django's tests refuse what stands there
    yield "archive"
    other.close()
    del connections["archive"]


WRITES = {
    "a new message": lambda trip, using: Message(
        conversation=trip, sender=trip.rider, text="Hi"
    ).save(using=using),
    "a message by create": lambda trip, using: Message.objects.using(using).create(
        conversation=trip, sender=trip.rider, text="Hi"
    ),
    "a note": lambda trip, using: Note(conversation=trip, author=trip.rider, text="Hi").save(
        using=using
    ),
    "a notification": lambda trip, using: Notification(recipient=trip.rider, title="Hi").save(
        using=using, force_insert=True
    ),
    "notify": lambda trip, using: Notification.objects.using(using).notify(
        [trip.rider], title="Hi"
    ),
    "notify_each": lambda trip, using: Notification.objects.db_manager(using).notify_each(
        [([trip.rider.pk], {"title": "Hi"})]
    ),
    "a conversation": lambda trip, using: Conversation(kind="support").save(using=using),
    "a change": lambda trip, using: trip.save(using=using),
    "a participant": lambda trip, using: trip.participants.first().save(using=using),
    "a removal": lambda trip, using: trip.participants.first().delete(using=using),
    "a removal of many": lambda trip, using: Participant.objects.using(using).all().delete(),
    "a conversation's end": lambda trip, using: Conversation(
        pk=Conversation.objects.create(kind="trip").pk
    ).delete(using=using),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_to_another_database_is_refused_whole(name, trip, archive):
    tables = (Message, Note, Notification, Conversation, Participant)
    stored = [list(model._base_manager.values_list("pk", flat=True)) for model in tables]
    before = log.last_id()
    with pytest.raises(WrongDatabaseError, match="is written to the database 'default'"):
        WRITES[name](trip, archive)
    assert log.last_id() == before
    kept = [list(model._base_manager.values_list("pk", flat=True)) for model in tables]
    assert [set(old) - set(new) for old, new in zip(stored, kept, strict=True)] == [set()] * 5


def test_a_row_that_was_read_elsewhere_is_saved_where_its_events_are(trip, archive):
    """As Django's own router has it: written to the primary, whatever it was read from."""
    chat.send_message(user=trip.rider, conversation_id=trip.pk, text="Hi")
    row = Message.objects.using(archive).get()
    row.text = "Hello"
    assert kinds_after(row.save) == ["message_edited"]


def test_a_copy_of_a_user_that_goes_elsewhere_ends_nothing(trip, make_user, archive):
    agent = make_user("admin")
    Conversation.objects.filter(pk=trip.pk).update(assignee=agent)
    pre_delete.send(User, instance=agent, using=archive, origin=agent)
    assert Conversation.objects.get(pk=trip.pk).assignee_id == agent.pk
