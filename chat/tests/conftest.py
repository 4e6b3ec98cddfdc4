"""What the tests of support share."""

import pytest
from django.contrib.auth.models import Permission
from rest_framework.test import APIClient

from chat import services


@pytest.fixture
def rest_of():
    """A user's client of the REST API."""

    def rest(user):
        client = APIClient()
        client.force_authenticate(user)
        return client

    return rest


@pytest.fixture
def make_agent(make_user):
    """Factory of staff with these permissions of chat, and no others."""

    def make(*names):
        user = make_user("rider", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        assert user.user_permissions.count() == len(names)
        return type(user).objects.get(pk=user.pk)  # permissions are cached in the instance

    return make


@pytest.fixture
def asked(make_user):
    """A support conversation of a rider (`asked.rider`) who has written nothing yet."""
    rider = make_user("rider")
    conversation = services.open_support(user=rider, subject="Lost phone").conversation
    conversation.rider = rider
    return conversation
