"""Deleting a user in the admin: of who has messages or notifications it offers the erasure."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from chat import services
from chat.models import AuditEntry, Message
from holodrive.realtime import personal
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def admin(make_user):
    return make_user("admin")


@pytest.fixture
def browser(admin):
    browser = Client()
    browser.force_login(admin)
    return browser


def page_of(user):
    return f"/admin/accounts/user/{user.pk}/delete/"


@pytest.fixture
def notified(make_user):
    user = make_user()
    Notification.objects.create(recipient=user, title="Paid")
    return user


@pytest.fixture
def rider(trip):
    trip.messages.create(sender=trip.rider, text="Where are you?")
    return trip.rider


@pytest.fixture
def asker(make_user):
    """Whose name and subject others were shown, without a message."""
    user = make_user()
    services.open_support(user=user, subject="Lost phone")
    return user


@pytest.mark.parametrize("who", ["notified", "rider", "asker"])
def test_instead_of_403_the_erasure_is_offered_and_done(request, browser, who):
    user = request.getfixturevalue(who)
    page = browser.get(page_of(user)).content.decode()
    assert "Erase this user" in page
    assert browser.post(page_of(user), {"post": "yes"}).status_code == 200  # explained, not 403
    assert get_user_model().objects.get(pk=user.pk).is_active
    answer = browser.post(page_of(user), {"erase": "1"}, follow=True)
    assert "The user was erased." in answer.content.decode()
    user.refresh_from_db()
    assert (user.is_active, user.get_full_name()) == (False, personal.ERASED)
    assert all(not kind.left() for kind in personal.kinds(user).values())
    assert not Message.objects.filter(text__contains="Where").exists()
    assert AuditEntry.objects.filter(detail__user_id=user.pk, detail__state="done").exists()


def test_the_erasure_of_oneself_is_not_offered(browser, make_user):
    me = get_user_model().objects.get(is_superuser=True)
    Notification.objects.create(recipient=me, title="For me")
    page = browser.get(page_of(me)).content.decode()
    assert "Cannot delete" in page
    assert "Erase this user" not in page


def test_a_user_without_anything_is_deleted_as_ever(browser, make_user):
    user = make_user()
    browser.post(page_of(user), {"post": "yes"})
    assert not get_user_model().objects.filter(pk=user.pk).exists()


def test_of_several_the_action_explains_why_not(browser, notified, make_user):
    chosen = [notified.pk, make_user().pk]
    action = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    answer = browser.post("/admin/accounts/user/", action)
    assert answer.status_code == 200
    assert get_user_model().objects.filter(pk__in=chosen).count() == 2


def test_what_is_left_after_the_time_of_a_request_is_erased_by_the_next(
    browser, rider, trip, monkeypatch
):
    for number in range(3):
        trip.messages.create(sender=rider, text=f"{number}")
    monkeypatch.setattr("holodrive.realtime.admin_erasure._SECONDS", -1.0)
    answer = browser.post(page_of(rider), {"erase": "1"}, follow=True)
    assert "There is more to erase" in answer.content.decode()
    monkeypatch.undo()
    browser.post(page_of(rider), {"erase": "1"})
    rider.refresh_from_db()
    assert all(not kind.left() for kind in personal.kinds(rider).values())


@pytest.mark.parametrize("permissions", [(), ("view_user", "change_user")])
def test_without_the_right_to_delete_there_is_no_erasure(rider, make_user, permissions):
    agent = make_user("rider", is_staff=True)
    agent.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    browser = Client()
    browser.force_login(agent)
    assert browser.post(page_of(rider), {"erase": "1"}).status_code == 403
    rider.refresh_from_db()
    assert rider.is_active


def test_nobody_erases_themselves_here(browser, admin):
    browser.post(page_of(admin), {"erase": "1"})
    admin.refresh_from_db()
    assert admin.is_active


def test_a_user_who_is_gone_is_no_error(browser, make_user):
    user = make_user()
    address = page_of(user)
    user.delete()
    assert browser.post(address, {"erase": "1"}).status_code == 302
