"""Saving in the admin is publishing, too; and every page of it opens."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from chat.models import AuditEntry, Conversation, Message, Note, Participant
from chat.services import open_support
from holodrive.realtime.models import Event
from notifications import announcements
from notifications.models import Notification
from testing.forms import participants
from testing.patience import PATIENCE

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


LISTS = {
    "notifications_notification": 7,
    "chat_conversation": 7,
    "chat_message": 8,  # with what the audit log knows of who looked
    "chat_participant": 7,
    "chat_note": 8,
    "chat_auditentry": 7,
}


def fill(count):
    """So many rows in every list, by bulk: rows, without events."""
    users = get_user_model()._default_manager
    known = users.count()
    people = users.bulk_create(
        users.model(username=f"bulk{known + number}", role="rider") for number in range(20)
    )
    conversations = Conversation._base_manager.bulk_create(
        Conversation(subject=f"Subject {number}", assignee=people[number % 20])
        for number in range(count)
    )
    pairs = [(row, people[number % 20]) for number, row in enumerate(conversations)]
    rows = [
        (Participant(conversation=row, user=user, role="rider") for row, user in pairs),
        (Message(conversation=row, sender=user, text="Hi", seq=1) for row, user in pairs),
        (Note(conversation=row, author=user, text="Hi", seq=1) for row, user in pairs),
        (AuditEntry(conversation=row, actor=user, actor_name="x", action="viewed")
         for row, user in pairs),
        (Notification(recipient=user, title="Hi") for _, user in pairs),
    ]  # fmt: skip
    for model, new in zip(
        (Participant, Message, Note, AuditEntry, Notification), rows, strict=True
    ):
        model._base_manager.bulk_create(new, batch_size=10_000)


def queries(admin, path):
    """Of a second look, which adds nothing to the audit log."""
    admin.get(path)
    with CaptureQueriesContext(connection) as caught:
        assert admin.get(path).status_code == 200
    return len(caught)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("query", ["", "?q=bulk1"])
def test_a_list_takes_the_same_queries_for_one_row_as_for_hundreds(admin, name, query):
    path = reverse(f"admin:{name}_changelist") + query
    fill(1)
    few = queries(admin, path)
    fill(300)
    assert queries(admin, path) == few <= LISTS[name]


def double(model):
    """Each row twice, but for its id."""
    table = model._meta.db_table
    columns = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    named = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({named}) SELECT {named} FROM {table}")  # noqa: S608


def test_the_lists_take_as_many_queries_at_100_000_rows(admin):
    paths = [reverse(f"admin:{name}_changelist") for name in LISTS]
    fill(1)
    few = [queries(admin, path) for path in paths]
    for model in (Conversation, Message, Note, AuditEntry, Notification):
        for _ in range(17):
            double(model)
        assert model._base_manager.count() > 100_000
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chat_participant"
            " (conversation_id, user_id, role, last_read_id, last_delivered_id)"
            " SELECT id, %s, 'support', 0, 0 FROM chat_conversation",
            [admin.user.pk],
        )
    assert [queries(admin, path) for path in paths] == few


def test_who_may_not_delete_or_change_the_past_is_refused(admin):
    fill(1)
    for model in (AuditEntry, Note):  # to look at a note adds an entry
        row = model.objects.get()
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
        assert admin.get(reverse(f"{name}_add")).status_code == 403
        assert admin.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
        for page in ("change", "delete"):
            path = reverse(f"{name}_{page}", args=[row.pk])
            assert admin.post(path, {"post": "yes", "text": "x"}).status_code == 403
    assert get_user_model()._default_manager.filter(username="bulk1").exists()


def test_a_conversation_changed_in_the_admin_is_told_and_in_the_audit_log(admin, make_user):
    conversation = open_support(user=make_user("rider")).conversation
    path = reverse("admin:chat_conversation_change", args=[conversation.pk])
    form = {"subject": "Lost phone", "priority": 3, "assignee": admin.user.pk}
    form |= participants(conversation)
    wrong = admin.post(path, form | {"status": "snoozed"})
    assert wrong.status_code == 200  # until when?
    answer = admin.post(path, form | {"status": "resolved"})
    assert answer.status_code == 302, answer.context["errors"]
    told = Event.objects.filter(stream__name="support").latest("seq").text
    for part in ('"status":"resolved"', '"priority":"urgent"', f'"user_id":{admin.user.pk}'):
        assert part in told
    (state,) = Event.objects.filter(stream__name=f"conversation.{conversation.pk}")
    assert '"status":"resolved"' in state.text
    assert "priority" not in state.text
    entries = AuditEntry.objects.order_by("id").values_list("action", "detail")
    assert list(entries) == [
        ("viewed", {}),  # the page that came back
        ("assigned", {"from": None, "to": admin.user.pk}),
        ("priority", {"from": "normal", "to": "urgent"}),
        ("status", {"from": "open", "to": "resolved"}),
        ("changed", {"fields": ["subject"]}),
    ]


def test_what_a_stale_page_does_not_show_is_not_undone(admin, make_user):
    conversation = open_support(user=make_user("rider")).conversation
    Conversation.objects.filter(pk=conversation.pk).update(waiting_since=conversation.created_at)
    form = {"subject": "New", "priority": 1, "status": "open", **participants(conversation)}
    path = reverse("admin:chat_conversation_change", args=[conversation.pk])
    assert admin.post(path, form).status_code == 302
    row = Conversation.objects.get(pk=conversation.pk)
    assert (row.subject, row.waiting_since) == ("New", conversation.created_at)


# Announcements

CONTENT = {"title": "Rain", "message": "Drive slowly", "notification_type": "announcement"}


@pytest.fixture
def people(make_user):
    """Three riders, two drivers, and a rider who is not active."""
    make_user("rider", is_active=False)
    return [make_user(role) for role in ("rider", "rider", "rider", "driver", "driver")]


def previewed(admin, path, form):
    """The form of the preview, as its page holds it, and how many it says."""
    page = admin.post(path, form | {"step": "preview"})
    assert page.status_code == 200
    return form | {"step": "send", "key": page.context["key"]}, page.context["count"]


@pytest.mark.parametrize(
    ("audience", "count"), [("role:rider", 3), ("role:driver", 2), ("staff", 1), ("everybody", 6)]
)
def test_an_announcement_says_how_many_and_then_reaches_them_once(admin, people, audience, count):
    path = reverse("admin:notifications_announce")
    assert admin.get(path).status_code == 200
    form, shown = previewed(admin, path, CONTENT | {"audience": audience})
    assert shown == count
    assert Notification.objects.count() == 0
    page = admin.post(path, form, follow=True)
    assert f"Notified {count} user{'s' * (count > 1)}." in page.content.decode()
    assert Notification.objects.count() == count
    assert Event.objects.filter(text__contains="Drive slowly").count() == count
    assert "already" in admin.post(path, form, follow=True).content.decode()
    assert Notification.objects.count() == count


def test_a_large_announcement_goes_out_in_parts_and_to_nobody_twice(admin, people, monkeypatch):
    monkeypatch.setattr(announcements, "PART", 2)
    path = reverse("admin:notifications_announce")
    form, _ = previewed(admin, path, CONTENT | {"audience": "role:rider"})
    first = admin.post(path, form)
    assert "Sent to 2 of 3 users." in first.content.decode()
    assert Notification.objects.count() == 2
    admin.post(path, form)  # the button pressed twice: that part is over
    assert Notification.objects.count() == 2
    form, _ = previewed(admin, path, CONTENT | {"audience": "role:driver", "title": "Sun"})
    form["key"] = admin.post(path, form).context["key"]
    last = admin.post(path, form, follow=True)
    assert "Notified 2 users." in last.content.decode()
    rows = Notification.objects.filter(title="Sun").values_list("recipient", flat=True)
    assert sorted(rows) == [user.pk for user in people[3:]]


def test_a_part_that_two_requests_send_at_once_is_sent_once(admin, people, monkeypatch):
    path = reverse("admin:notifications_announce")
    form, _ = previewed(admin, path, CONTENT | {"audience": "role:rider"})
    both_have_read = threading.Barrier(2, timeout=PATIENCE)

    claims = announcements._claims

    def claims_late(key):
        both_have_read.wait()
        return claims(key)

    def send(_):
        try:
            return admin.post(path, form).status_code
        finally:
            connection.close()

    monkeypatch.setattr(announcements, "_claims", claims_late)
    with ThreadPoolExecutor(2) as threads:
        assert [*threads.map(send, range(2))] == [302, 302]
    assert Notification.objects.count() == 3


def test_a_part_that_fails_goes_on_behind_what_was_sent(admin, people, monkeypatch):
    monkeypatch.setattr(announcements, "CHUNK", 1)
    notify, calls = Notification.objects.notify, []

    def failing(ids, **content):
        calls.append(ids)
        if len(calls) == 2:
            raise OperationalError("lock timeout")
        return notify(ids, **content)

    monkeypatch.setattr(Notification.objects, "notify", failing)
    path = reverse("admin:notifications_announce")
    form, _ = previewed(admin, path, CONTENT | {"audience": "role:rider"})
    stopped = admin.post(path, form)
    assert "Nobody was told twice" in stopped.content.decode()
    assert "announce.js" not in stopped.content.decode()  # a person decides
    form["key"] = stopped.context["key"]
    assert "Notified 3 users." in admin.post(path, form, follow=True).content.decode()
    rows = Notification.objects.values_list("recipient", flat=True)
    assert sorted(rows) == [user.pk for user in people[:3]]


def test_an_announcement_in_a_browser_is_previewed_and_then_sent_by_itself(
    site, log_in, dial, make_user
):
    from playwright.sync_api import expect

    model = get_user_model()
    rider = make_user("rider")
    model.objects.bulk_create(
        model(username=f"rider-{n}", role="rider", password="!") for n in range(announcements.PART)
    )
    socket = dial(site, "/ws/notifications/", rider)
    page = log_in(make_user("admin")).new_page()
    page.goto("/admin/notifications/notification/")
    page.get_by_role("link", name="Announce").click()
    page.get_by_label("Audience").select_option(label="Rider")
    page.get_by_label("Title").fill("Rain")
    page.get_by_label("Message").fill("Drive slowly")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#content")).to_contain_text("2001 users will get this notification:")
    expect(page.locator("#content dl")).to_contain_text("Drive slowly")
    assert Notification.objects.count() == 0
    page.get_by_role("button", name="Send to 2001 users").click()
    expect(page.locator(".messagelist")).to_have_text("Notified 2,001 users.")
    assert socket.frame("notification")["notification"]["title"] == "Rain"
    assert Notification.objects.values("recipient").distinct().count() == 2001


def test_the_preview_calls_the_audience_what_the_form_called_it(admin, people):
    path = reverse("admin:notifications_announce")
    form = CONTENT | {"audience": "role:rider", "step": "preview"}
    page = admin.post(path, form)
    assert page.context["shown"] == {
        "Audience": "Rider",
        "Title": "Rain",
        "Message": "Drive slowly",
        "Notification type": "announcement",
    }
    assert '<dd dir="auto">Rider</dd>' in page.content.decode()
    assert reverse("admin:notifications_notification_changelist") in page.content.decode()


def test_the_page_of_announcements_speaks_russian_and_uzbek(admin, people):
    path = reverse("admin:notifications_announce")
    for language, send in {"ru": "Отправить 3 пользователям", "uz": "3 foydalanuvchiga"}.items():
        form = CONTENT | {"audience": "role:rider", "step": "preview"}
        page = admin.post(path, form, headers={"accept-language": language})
        assert send in page.content.decode()


def test_an_announcement_is_not_sent_without_its_preview(admin, people):
    path = reverse("admin:notifications_announce")
    form = CONTENT | {"audience": "everybody", "step": "send"}
    for key in ({}, {"key": ""}, {"key": "x"}):
        admin.post(path, form | key)
    wrong = admin.post(path, CONTENT | {"audience": "nobody", "step": "preview"})
    assert wrong.context["form"].errors
    assert Notification.objects.count() == 0


def test_the_selected_users_are_notified(admin, people):
    path = reverse("admin:accounts_user_changelist")
    form = {"action": "notify_selected", "_selected_action": [row.pk for row in people[:2]]}
    asked = admin.post(path, form)
    assert asked.context["count"] == 2
    form, count = previewed(admin, path, form | CONTENT)
    assert count == 2
    admin.post(path, form)
    assert set(Notification.objects.values_list("recipient", flat=True)) == {
        row.pk for row in people[:2]
    }


def test_all_that_a_filter_finds_are_notified(admin, people):
    path = reverse("admin:accounts_user_changelist") + "?role__exact=driver"
    selected = {"action": "notify_selected", "select_across": 1}
    form = selected | {"_selected_action": [people[3].pk]}
    form, count = previewed(admin, path, form | CONTENT)
    assert count == 2
    admin.post(path, form)
    assert Notification.objects.count() == 2


def test_who_may_not_add_notifications_announces_nothing(make_user, client, people):
    staff = make_user("rider", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=["view_user"]))
    client.force_login(staff)
    assert client.get(reverse("admin:notifications_announce")).status_code == 403
    path = reverse("admin:accounts_user_changelist")
    form = CONTENT | {"action": "notify_selected", "_selected_action": [people[0].pk]}
    client.post(path, form | {"step": "send"})
    assert Notification.objects.count() == 0
    staff.user_permissions.add(Permission.objects.get(codename="add_notification"))
    assert client.get(reverse("admin:notifications_announce")).status_code == 200
    assert client.post(path, form).context["count"] == 1


def test_the_audit_log_is_found_by_a_conversation_that_is_gone(admin):
    fill(2)
    kept, gone = Conversation.objects.order_by("id")
    Note._base_manager.filter(conversation=gone)._raw_delete("default")
    Message._base_manager.filter(conversation=gone)._raw_delete("default")
    gone_id = gone.pk
    gone.delete()
    path = reverse("admin:chat_auditentry_changelist")
    for id in (kept.pk, gone_id):
        page = admin.get(path, {"q": id})
        assert [entry.conversation_id for entry in page.context["cl"].result_list] == [id]
