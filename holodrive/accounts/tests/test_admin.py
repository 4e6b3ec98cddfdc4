"""Accounts in the admin."""

import pytest
from django.contrib.auth import get_user_model

from chat.models import Conversation

pytestmark = pytest.mark.django_db(transaction=True)

SELECTED = {"action": "delete_selected", "post": "yes"}


@pytest.mark.parametrize("way", ["delete_view", "delete_selected"])
def test_a_deletion_that_lost_a_lock_is_done_all_the_same(
    make_user, client, held_until_a_retry, way
):
    client.force_login(make_user("admin"))
    agent = make_user(is_staff=True)
    theirs = Conversation.objects.create(kind="support", assignee=agent)
    users = "/admin/accounts/user/"
    with held_until_a_retry(f"conversation.{theirs.pk}") as pauses:
        if way == "delete_view":
            answer = client.post(f"{users}{agent.pk}/delete/", {"post": "yes"})
        else:
            answer = client.post(users, {**SELECTED, "_selected_action": [agent.pk]})
    assert answer.status_code == 302
    assert len(pauses) == 1
    assert not get_user_model().objects.filter(pk=agent.pk).exists()
    theirs.refresh_from_db()
    assert theirs.assignee is None
