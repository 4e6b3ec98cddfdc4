"""Erasure finds a person by what is stored, not by present rights: planted in every part that one
can have had, then or now, under every name that they ever had.
"""

import json

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse

from chat import notes, queue_events, services, workflow
from chat.models import Conversation, FormerParticipant, Message, Note, Participant
from chat.tests.test_personal import erase, rows_with
from holodrive.realtime import personal, retention
from holodrive.realtime.models import Event
from notifications.models import Notification
from testing.forms import participants

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ["Xanthippe", "Yolanda", "Zenobia"]  # the second and third since
WORDS = "quokka"
TRACES = [*(name.lower() for name in NAMES), WORDS, "xlogin"]


@pytest.fixture
def person(make_user):
    return make_user("rider", username="xlogin", first_name=NAMES[0], last_name="Xlogin")


@pytest.fixture
def others(make_user, make_agent):
    """A driver, an agent who leaves support, and one who stays."""
    permissions = ("view_conversation", "assign_conversation", "change_conversation")
    return (
        make_user("driver"),
        make_agent(*permissions),
        make_agent(*permissions, "add_note", "view_note"),
    )


def say(user, conversation, text=f"{WORDS} says"):
    more = {"client_message_id": f"{WORDS} +998901234567 {Message.objects.count()}"}
    return services.send_message(
        user=user, conversation_id=conversation.pk, text=text, **more
    ).message


def assign(conversation, agent, by):
    changes = queue_events.ChangeConversation(assignee=agent.pk)
    workflow.change(user=by, conversation_id=conversation.pk, changes=changes)


def as_rider_of_a_trip(person, driver, leaver, stayer):
    trip = services.open_trip(rider=person, driver=driver)
    Conversation.objects.filter(pk=trip.pk).update(subject=f"{NAMES[0]} and others")
    trip.refresh_from_db()
    trip.save()
    say(person, trip)


def as_one_who_left_a_trip(person, driver, leaver, stayer):
    trip = services.open_trip(rider=person, driver=driver)
    say(person, trip)
    Participant.objects.get(conversation=trip, user=person).delete()


def as_one_whose_driver_left(person, driver, leaver, stayer):
    trip = services.open_trip(rider=person, driver=driver)
    say(person, trip)
    Participant.objects.filter(conversation=trip, user=driver).delete()
    driver.notifications.model._base_manager.filter(
        recipient=driver
    ).delete()  # pruned; the log stays


def as_one_who_asks(person, driver, leaver, stayer):
    asked = services.open_support(user=person, subject=f"{WORDS} subject").conversation
    say(person, asked)
    assign(asked, leaver, by=stayer)
    say(person, asked)


def as_one_who_asked_and_was_removed(person, driver, leaver, stayer):
    asked = Conversation.objects.create(kind="support", subject=f"{WORDS} subject")
    member = Participant.objects.create(conversation=asked, user=person, role="rider")
    assign(asked, leaver, by=stayer)
    member.delete()
    Event.objects.filter(stream__name=queue_events.STREAM).delete()  # pruned


def as_one_whose_conversation_is_gone(person, driver, leaver, stayer):
    trip = services.open_trip(rider=person, driver=driver)
    say(person, trip)
    Conversation.objects.get(pk=trip.pk).delete()


def as_one_whose_question_is_gone(person, driver, leaver, stayer):
    asked = services.open_support(user=person, subject=f"{WORDS} subject").conversation
    assign(asked, leaver, by=stayer)
    say(person, asked)
    Conversation.objects.get(pk=asked.pk).delete()


def as_one_who_was_added_by_hand(person, driver, leaver, stayer):
    """On the page of a conversation, whose log in the admin says what was added there."""
    browser = Client()
    browser.force_login(get_user_model().objects.create(is_staff=True, is_superuser=True))
    rider = get_user_model().objects.create(username="asker", role="rider")
    asked = services.open_support(user=rider).conversation
    form = {"subject": "", "status": "open", "priority": 1, **participants(asked)}
    form |= {"participants-1-user": person.pk, "participants-1-role": "support"}
    form["participants-TOTAL_FORMS"] = 2
    page = reverse("admin:chat_conversation_change", args=(asked.pk,))
    assert browser.post(page, form).status_code == 302
    assert LogEntry.objects.get().change_message
    form = {**form, **participants(Conversation.objects.get()), "participants-1-DELETE": "on"}
    assert browser.post(page, form).status_code == 302
    assert not Participant.objects.filter(user=person).exists()


def as_one_who_erased_somebody(person, driver, leaver, stayer):
    rider = get_user_model().objects.create(username="asker", role="rider")
    say(rider, services.open_support(user=rider).conversation, text="Hello")
    get_user_model().objects.filter(pk=person.pk).update(is_staff=True, is_superuser=True)
    browser = Client()
    browser.force_login(get_user_model().objects.get(pk=person.pk))
    page = reverse("admin:accounts_user_delete", args=(rider.pk,))
    assert browser.post(page, {"erase": "1"}).status_code == 302


def as_support(person, driver, leaver, stayer):
    """For a while; what was assigned to them and by them, written and noted."""
    rider = get_user_model().objects.create(username="asker", role="rider")
    asked = services.open_support(user=rider, subject="Lost phone").conversation
    get_user_model().objects.filter(pk=person.pk).update(is_staff=True, is_superuser=True)
    agent = get_user_model().objects.get(pk=person.pk)
    workflow.claim(user=agent, conversation_id=asked.pk)
    say(agent, asked)
    notes.add_note(user=agent, conversation_id=asked.pk, text=f"{WORDS} notes")
    row = Conversation.objects.get(pk=asked.pk)
    row.assignee, row.changed_by = leaver, agent
    row.save()  # as the admin does
    for model, pk in (
        (Note, Note.objects.get().pk),
        (Notification, Notification.objects.order_by("-pk")[0].pk),
    ):
        LogEntry.objects.create(
            user=stayer,
            content_type=ContentType.objects.get_for_model(model),
            object_id=pk,
            object_repr=f"{WORDS} {NAMES[0]}",
            action_flag=CHANGE,
            change_message="",
        )
    get_user_model().objects.filter(pk=person.pk).update(is_staff=False, is_superuser=False)


PARTS = [
    as_rider_of_a_trip,
    as_one_who_left_a_trip,
    as_one_whose_driver_left,
    as_one_who_asks,
    as_one_who_asked_and_was_removed,
    as_one_whose_conversation_is_gone,
    as_one_whose_question_is_gone,
    as_one_who_was_added_by_hand,
    as_one_who_erased_somebody,
    as_support,
]


def rename(person, name):
    row = get_user_model().objects.get(pk=person.pk)
    row.first_name = name
    row.save()
    return row


@pytest.mark.parametrize("agent_leaves", ["by an UPDATE", "not"])
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_no_name_and_no_word_is_left_anywhere(part, agent_leaves, person, others):
    driver, leaver, stayer = others
    for name in NAMES:
        row = rename(person, name)
        if name == NAMES[0] or part is as_one_who_asks:
            part(row, driver, leaver, stayer)
    if agent_leaves == "by an UPDATE":
        type(leaver).objects.filter(pk=leaver.pk).update(is_staff=False)
    assert rows_with(*TRACES)
    erase("xlogin")
    assert rows_with(*TRACES) == []


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_nor_after_the_requests_of_the_admins_page(part, person, others, make_user):
    """Each of which stops at the first row that it has erased."""
    part(person, *others)
    admin = make_user("admin")
    while not personal.erase(
        get_user_model().objects.get(pk=person.pk), by=admin, at_once=1, until=0
    ):
        pass
    assert rows_with(*TRACES) == []


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_nor_of_somebody_whose_id_is_sent_as_text(part, make_user, others):
    """JavaScript would round it."""
    person = make_user("rider", username="xlogin", first_name=NAMES[0], pk=2**60)
    part(person, *others)
    assert rows_with(*TRACES)
    erase("xlogin")
    assert rows_with(*TRACES) == []


def test_who_left_is_known_by_number_alone(trip):
    member = Participant.objects.get(user=trip.rider)
    known = (member.pk, trip.pk, trip.rider.pk, "rider")
    member.delete()
    rows = FormerParticipant.objects.values_list("pk", "conversation_id", "user_id", "role")
    assert list(rows) == [known]
    Conversation.objects.get(pk=trip.pk).delete()
    assert FormerParticipant.objects.count() == 1  # of who left it before, not of all


def test_what_others_were_given_stays(person, others, make_user):
    driver, leaver, stayer = others
    rider = make_user("rider", first_name="Kim")
    asked = services.open_support(user=rider).conversation
    assign(asked, leaver, by=stayer)
    as_one_who_asks(person, driver, leaver, stayer)
    erase("xlogin")
    texts = [row.message for row in leaver.notifications.filter(related_object_id=asked.pk)]
    assert "Kim" in json.dumps(texts)


def test_the_log_of_who_left_support_loses_the_name(person, others):
    """The rows are pruned: only that they were notified once says where to look."""
    driver, leaver, stayer = others
    as_one_who_asks(person, driver, leaver, stayer)
    type(leaver).objects.filter(pk=leaver.pk).update(is_staff=False)
    Participant.objects.filter(user=leaver).delete()
    FormerParticipant.objects.all().delete()
    retention.with_everything_below(
        Notification, list(leaver.notifications.values_list("pk", flat=True))
    )
    assert any("realtime_event" in where for where in rows_with(*TRACES))
    erase("xlogin")
    assert rows_with(*TRACES) == []
