"""Proxies of our models, which a project makes for another page of its admin, publish as well; and
those of its users end what their model ends.
"""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db.models.signals import post_save
from django.test.utils import isolate_apps

from chat import services
from chat.masking import MASK
from chat.models import Conversation, FormerParticipant, Message, Note, Participant
from holodrive.realtime import log
from holodrive.realtime.models import Event, SearchName
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


def proxy(model):
    with isolate_apps(model._meta.app_config.name):
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


# Users: a page of drivers beside that of riders


def deactivate(user):
    user.is_active = False
    user.save()


@pytest.mark.parametrize("end", [deactivate, lambda user: user.delete()])
async def test_who_is_ended_through_a_proxy_has_no_socket(end, connect, make_user):
    user = await sync_to_async(make_user)()
    socket = await connect("/ws/notifications/", user)
    same = await proxy(type(user)).objects.aget(pk=user.pk)
    await sync_to_async(end)(same)
    assert await socket.closed() == 4401


def test_what_an_agent_had_who_is_deleted_through_a_proxy_is_told_as_nobodys(trip, make_user):
    agent = make_user("admin")
    trip.assignee = agent
    trip.save()
    before = log.last_id()
    proxy(type(agent)).objects.get(pk=agent.pk).delete()
    last = Event.objects.filter(pk__gt=before, stream__name="support").latest("seq")
    assert '"assignee":null' in last.text


def test_who_is_named_through_a_proxy_is_found(make_user):
    user = proxy(type(make_user())).objects.get()
    user.first_name = "Нилуфар"
    user.save()
    assert "нилуфар" in SearchName.objects.get(user_id=user.pk).folded


def test_a_child_of_the_users_is_heard_as_a_user_is():
    """A table of drivers beside the users: Django sends its signals by the child's name alone."""
    with isolate_apps("holodrive.accounts"):
        meta = type("Meta", (), {"app_label": "accounts"})
        driver = type("Driver", (get_user_model(),), {"Meta": meta, "__module__": __name__})
    (of_user, _), (of_driver, _) = (
        post_save._live_receivers(model) for model in (get_user_model(), driver)
    )
    assert set(of_user) <= set(of_driver)
