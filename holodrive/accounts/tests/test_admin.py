"""Accounts in the admin."""

import pytest
from django.contrib.auth import get_user_model

pytestmark = pytest.mark.django_db(transaction=True)

SELECTED = {"action": "delete_selected", "post": "yes"}


@pytest.mark.parametrize("way", ["delete_view", "delete_selected"])
def test_a_deletion_that_lost_a_lock_is_done_all_the_same(
    make_user, client, trip, held_until_a_retry, way
):
    client.force_login(make_user("admin"))
    users = "/admin/accounts/user/"
    with held_until_a_retry(f"conversation.{trip.pk}") as pauses:
        if way == "delete_view":
            answer = client.post(f"{users}{trip.rider.pk}/delete/", {"post": "yes"})
        else:
            answer = client.post(users, {**SELECTED, "_selected_action": [trip.rider.pk]})
    assert answer.status_code == 302
    assert len(pauses) == 1
    assert not get_user_model().objects.filter(pk=trip.rider.pk).exists()
    assert trip.participants.get().user_id == trip.driver.pk
