"""What staff does in the admin's own pages: the rules of the console hold there, too."""

import pytest
from asgiref.sync import sync_to_async
from django.urls import reverse

from chat import services
from chat.models import AppendOnlyError, AuditEntry, Conversation, Message, Note, Participant
from testing.forms import participants

pytestmark = pytest.mark.django_db(transaction=True)


def page_of(row, page="change"):
    return reverse(f"admin:chat_{row._meta.model_name}_{page}", args=[row.pk])


def form_of(conversation, **changes):
    """The form of a conversation's page as the browser would post it, but for these changes."""
    form = {
        "subject": conversation.subject,
        "status": conversation.status,
        "priority": conversation.priority,
        "assignee": conversation.assignee_id or "",
    }
    return form | participants(conversation) | changes


@pytest.fixture
def log_in_as(client):
    def log_in(user):
        client.force_login(user)
        return client

    return log_in


# Participants


def members(conversation):
    return list(conversation.participants.order_by("id").values_list("user", "role"))


def test_a_posted_form_makes_no_other_of_who_takes_part(log_in_as, make_user, trip):
    admin, cid, before = make_user("admin"), make_user("rider"), members(trip)
    form = form_of(trip, **{"participants-0-user": cid.pk, "participants-1-role": "support"})
    answer = log_in_as(admin).post(page_of(trip), form)
    assert answer.status_code == 302, answer.context["errors"]
    row = trip.participants.get(user=trip.rider)
    log_in_as(admin).post(page_of(row), {"user": cid.pk, "role": "support"})
    assert members(trip) == before


def test_a_new_participant_can_be_added_and_muted_in_the_form(log_in_as, make_user, trip):
    cid, (ann, ben) = make_user("rider"), members(trip)
    new = {"participants-2-user": cid.pk, "participants-2-role": "rider"}
    muted = {"participants-0-muted_until_0": "2030-01-01", "participants-0-muted_until_1": "00:00"}
    form = form_of(trip, **new, **muted) | {"participants-TOTAL_FORMS": 3}
    answer = log_in_as(make_user("admin")).post(page_of(trip), form)
    assert answer.status_code == 302, answer.context["errors"]
    assert members(trip) == [ann, ben, (cid.pk, "rider")]
    assert trip.participants.get(user=trip.rider).muted_until


def test_no_save_and_no_update_makes_another_of_who_takes_part(make_user, trip):
    row, cid, before = trip.participants.get(user=trip.rider), make_user("rider"), members(trip)
    for field, value in {"user": cid, "role": "support"}.items():
        changed = Participant.objects.get(pk=row.pk)
        setattr(changed, field, value)
        for write in (
            changed.save,
            lambda: changed.save(update_fields=[field]),  # noqa: B023 - called at once
            lambda: Participant.objects.filter(pk=row.pk).update(**{field: value}),  # noqa: B023
            lambda: trip.participants.bulk_update([changed], [field]),  # noqa: B023
        ):
            with pytest.raises(AppendOnlyError):
                write()
    assert members(trip) == before
    row.muted_until = "2030-01-01T00:00:00+00:00"
    row.save()  # the rest of it is not fixed


async def test_who_is_replaced_in_the_admin_hears_nothing_more(connect, log_in_as, make_user, trip):
    ann = await connect(f"/ws/chat/{trip.pk}/", trip.rider)
    admin, cid = [await sync_to_async(make_user)(role) for role in ("admin", "rider")]

    def replace():
        form = form_of(trip, **{"participants-0-DELETE": "on", "participants-0-user": cid.pk})
        form |= {"participants-2-user": cid.pk, "participants-2-role": "rider"}
        client = log_in_as(admin)
        assert client.post(page_of(trip), form | {"participants-TOTAL_FORMS": 3}).status_code == 302
        Message(conversation=trip, sender=trip.driver, text="for cid").save()

    await sync_to_async(replace)()
    assert (await ann.frame("participant_removed"))["user_id"] == trip.rider.pk
    assert (await ann.frame())["code"] == "not_found"
    assert await ann.closed() == 4404


# Lists


@pytest.mark.parametrize("name", ["Zilola", "zilola karimova", "+998901112233"])
def test_people_are_found_by_name_and_login(log_in_as, make_user, name):
    fields = {"first_name": "Zilola", "last_name": "Karimova", "username": "+998901112233"}
    wanted, other = [
        services.open_support(user=make_user("rider", **some)).conversation for some in (fields, {})
    ]
    for one in (wanted, other):
        Message(conversation=one, sender=one.participants.get().user, text="Hi").save()
        Note(conversation=one, author=one.participants.get().user, text="Hi").save()
    client = log_in_as(make_user("admin"))
    for model in (Conversation, Participant, Message, Note):
        path = reverse(f"admin:chat_{model._meta.model_name}_changelist")
        (found,) = client.get(path, {"q": name}).context["cl"].result_list
        assert getattr(found, "conversation_id", found.pk) == wanted.pk


# Looks


@pytest.mark.parametrize("model", [Conversation, Message, Note])
def test_a_page_with_what_was_said_is_a_look_at_its_conversation(
    log_in_as, make_user, asked, model
):
    Message(conversation=asked, sender=asked.rider, text="Hi").save()
    Note(conversation=asked, author=asked.rider, text="Hi").save()
    admin = make_user("admin")
    assert log_in_as(asked.rider).get(page_of(model.objects.get())).status_code == 302
    assert not AuditEntry.objects.exists()
    assert log_in_as(admin).get(page_of(model.objects.get())).status_code == 200
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.action, entry.conversation_id) == (admin.pk, "viewed", asked.pk)


@pytest.mark.parametrize("model", [Message, Note])
def test_a_list_of_texts_is_a_look_at_each_conversation_of_the_page(
    log_in_as, make_user, asked, trip, model
):
    for conversation, user in ((asked, asked.rider), (asked, asked.rider), (trip, trip.driver)):
        Message(conversation=conversation, sender=user, text="Hi").save()
        Note(conversation=conversation, author=user, text="Hi").save()
    client = log_in_as(make_user("admin"))
    client.get(reverse(f"admin:chat_{model._meta.model_name}_changelist"))
    seen = AuditEntry.objects.filter(action="viewed").values_list("conversation", flat=True)
    assert sorted(seen) == sorted([asked.pk, trip.pk])


# Conversations


def test_assigning_takes_the_permission_of_the_console(log_in_as, make_agent, asked):
    names = ["view_conversation", "change_conversation"]
    lacks, other = make_agent(*names), make_agent("view_conversation")
    form = form_of(asked, assignee=other.pk, subject="New")
    answer = log_in_as(lacks).post(page_of(asked), form)
    assert answer.status_code == 302, answer.context["errors"]
    row = Conversation.objects.get(pk=asked.pk)
    assert (row.subject, row.assignee_id) == ("New", None)
    assert not AuditEntry.objects.filter(action="assigned").exists()
    has = make_agent(*names, "assign_conversation")
    assert log_in_as(has).post(page_of(asked), form).status_code == 302
    assert Conversation.objects.get(pk=asked.pk).assignee_id == other.pk


def test_assigning_takes_the_right_to_view_as_well(log_in_as, make_agent, asked):
    blind = make_agent("change_conversation", "assign_conversation")
    form = form_of(asked, assignee=blind.pk)
    assert log_in_as(blind).post(page_of(asked), form).status_code == 403
    assert Conversation.objects.get(pk=asked.pk).assignee_id is None


def test_a_conversation_is_assigned_to_nobody_outside_support(log_in_as, make_user, asked):
    client = log_in_as(make_user("admin"))
    answer = client.post(page_of(asked), form_of(asked, assignee=asked.rider.pk))
    assert (answer.status_code, "assignee" in answer.context["adminform"].errors) == (200, True)
    left = make_user("driver")  # of support once
    Conversation.objects.filter(pk=asked.pk).update(assignee=left)
    asked.refresh_from_db()
    answer = client.post(page_of(asked), form_of(asked, subject="New"))
    assert answer.status_code == 302, answer.context["errors"]
    row = Conversation.objects.get(pk=asked.pk)
    assert (row.subject, row.assignee_id) == ("New", left.pk)


@pytest.mark.parametrize("status", ["resolved", "closed"])
def test_who_waited_waits_no_more_once_the_form_says_that_it_is_over(
    log_in_as, make_user, asked, status
):
    Message(conversation=asked, sender=asked.rider, text="Hi").save()
    assert Conversation.objects.get(pk=asked.pk).waiting_since
    answer = log_in_as(make_user("admin")).post(page_of(asked), form_of(asked, status=status))
    assert answer.status_code == 302, answer.context["errors"]
    row = Conversation.objects.get(pk=asked.pk)
    assert (row.status, row.waiting_since) == (status, None)


# A project that groups the digits of numbers


@pytest.mark.parametrize("language", ["en", "ru", "uz"])
def test_a_grouped_number_is_no_other_conversation(log_in_as, make_user, settings, language):
    settings.USE_THOUSAND_SEPARATOR = True
    client = log_in_as(make_user("admin", pk=7654321))
    conversation = Conversation.objects.create(pk=1234567)
    page = client.get(page_of(conversation), headers={"Accept-Language": language})
    shown = page.content.decode()
    assert f"{reverse('chat-console')}?conversation=1234567" in shown
    assert 'data-user-id="7654321"' in shown
