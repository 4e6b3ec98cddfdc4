"""The migration that remembers who was notified as support: agents, and no rider of a trip."""

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection

from chat import services
from chat.models import Conversation, Participant, SupportMember
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)
migration = import_module("chat.migrations.0007_known_support")


def test_agents_are_remembered_and_riders_are_not(asked, trip, make_user, make_agent):
    services.send_message(user=trip.rider, conversation_id=trip.pk, text="Here")
    agent, former = make_agent("view_conversation"), make_user("rider")
    services.send_message(user=asked.rider, conversation_id=asked.pk, text="Help")
    told = {"related_object_type": "conversation", "related_object_id": asked.pk}
    Notification.objects.create(recipient=former, title="Help", **told)
    SupportMember.objects.all().delete()
    migration.remember(apps, SimpleNamespace(connection=connection))
    assert {*SupportMember.objects.values_list("pk", flat=True)} == {agent.pk, former.pk}


def test_a_rider_whose_trips_were_pruned_is_none_of_support(trip):
    services.send_message(user=trip.driver, conversation_id=trip.pk, text="Here")
    assert trip.rider.notifications.exists()
    Participant.objects.filter(conversation=trip.pk).delete()
    Conversation.objects.filter(pk=trip.pk).delete()
    migration.remember(apps, SimpleNamespace(connection=connection))
    assert not SupportMember.objects.exists()
