"""Saving in the admin is publishing, too; and every page of it opens."""

import pytest
from django.urls import reverse

from chat.models import Conversation, Message
from holodrive.realtime.models import Event
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def admin(make_user, client):
    """A client logged in as a superuser, who is `client.user`."""
    client.user = make_user("admin")
    client.force_login(client.user)
    return client


def test_a_notification_saved_in_the_admin_is_an_event(admin):
    form = {"recipient": admin.user.pk, "title": "Hi", "notification_type": "general", "data": "{}"}
    answer = admin.post(
        reverse("admin:notifications_notification_add"), form | {"status": "unread"}
    )
    assert answer.status_code == 302, answer.context["errors"]
    row = Notification.objects.get()
    assert Event.objects.get(stream__name=f"user.{admin.user.pk}").seq == 1
    admin.post(
        reverse("admin:notifications_notification_change", args=[row.pk]), form | {"status": "read"}
    )
    assert '"notification_read"' in Event.objects.get(seq=2).text


def test_a_message_saved_in_the_admin_is_sent(admin):
    conversation = Conversation.objects.create()
    form = {"conversation": conversation.pk, "sender": admin.user.pk, "text": "Hi"}
    answer = admin.post(reverse("admin:chat_message_add"), form)
    assert answer.status_code == 302, answer.context["errors"]
    assert Event.objects.filter(stream__name=f"conversation.{conversation.pk}").count() == 1


def test_every_page_opens_and_none_offers_a_delete_that_nobody_hears_of(admin):
    conversation = Conversation.objects.create()
    message = Message(conversation=conversation, sender=admin.user, text="Hi")
    message.save()
    notification = Notification.objects.create(recipient=admin.user, title="Hi")
    for row in (conversation, message, notification, admin.user):
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
        assert admin.get(reverse(f"{name}_changelist")).status_code == 200
        assert admin.get(reverse(f"{name}_add")).status_code == 200
        assert admin.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
    for row in (message, notification):
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}_delete"
        assert admin.post(reverse(name, args=[row.pk]), {"post": "yes"}).status_code == 403


def test_a_list_takes_the_same_queries_for_one_row_as_for_twenty(
    admin, django_assert_num_queries, make_user
):
    path = reverse("admin:notifications_notification_changelist")
    Notification.objects.create(recipient=admin.user, title="Hi")
    admin.get(path)
    with django_assert_num_queries(6):
        admin.get(path)
    for _ in range(19):
        Notification.objects.create(recipient=make_user(), title="Hi")
    with django_assert_num_queries(6):
        admin.get(path)
