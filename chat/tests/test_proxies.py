"""Proxies of our models, which a project makes for another page of its admin, publish as well."""

import pytest
from django.test.utils import isolate_apps

from chat import services
from chat.masking import MASK
from chat.models import Conversation, FormerParticipant, Message, Note, Participant
from holodrive.realtime import log
from holodrive.realtime.models import Event
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


def proxy(model):
    with isolate_apps(model._meta.app_label):
        meta = type("Meta", (), {"proxy": True, "app_label": model._meta.app_label})
        return type(f"My{model.__name__}", (model,), {"Meta": meta, "__module__": __name__})


def new_message(trip):
    proxy(Message)(conversation=trip, sender=trip.rider, text="901234567").save()
    assert Message.objects.get().text == MASK


def edit(trip):
    services.send_message(user=trip.rider, conversation_id=trip.pk, text="Hi")
    row = proxy(Message).objects.get()
    row.text = "901234567"
    row.save()
    assert Message.objects.get().text == MASK


def note(trip):
    proxy(Note).objects.create(conversation=trip, author=trip.rider, text="Hi")


def notification(trip):
    proxy(Notification).objects.create(recipient=trip.rider, title="Hi")


def close(trip):
    row = proxy(Conversation).objects.get(pk=trip.pk)
    row.status = "closed"
    row.save()


def remove(trip):
    proxy(Participant).objects.get(user=trip.driver).delete()
    assert FormerParticipant.objects.count() == 1


def remove_many(trip):
    proxy(Participant).objects.filter(user=trip.driver).delete()
    assert FormerParticipant.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (new_message, "chat_message"),
        (edit, "message_edited"),
        (note, "note"),
        (notification, "notification"),
        (close, "conversation_updated"),
        (remove, "participant_removed"),
        (remove_many, "participant_removed"),
    ],
)
def test_a_proxy_publishes_what_its_model_does(change, kind, trip):
    before = log.last_id()
    change(trip)
    found = Event.objects.filter(pk__gt=before, text__startswith=f'{{"type":"{kind}"')
    assert found.count() == (2 if change is close else 1)  # there, and in the queue
