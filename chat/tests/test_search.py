"""Every search of the product finds by one spelling, and by nothing that is hidden or gone."""

from importlib import import_module
from io import StringIO
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path, get_model_from_relation
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Concat, Upper
from django.test import RequestFactory

from chat import notes, overview, services
from chat.models import AuditEntry, CannedReply, Conversation, Message, Note, Participant
from holodrive.realtime import names
from holodrive.realtime.models import SearchName
from holodrive.realtime.searchable import folded_fields
from notifications import services as notifications
from notifications.models import Notification
from push.models import Device, Preference
from testing.spellings import SPELLINGS

pytestmark = pytest.mark.django_db(transaction=True)

STORED = list(dict.fromkeys(text for text, _, _ in SPELLINGS))


@pytest.fixture
def agent(make_user):
    return make_user("admin", username="agent", first_name="A", last_name="G")


@pytest.fixture
def rider(make_user):
    return make_user("rider", username="r", first_name="R", last_name="R")


def in_admin(model):
    """The rows that the search of its list finds."""
    page, request = admin.site._registry[model], RequestFactory().get("/")

    def find(user, query):
        request.user = user
        found, _ = page.get_search_results(request, model._default_manager.all(), query)
        return set(found.values_list("pk", flat=True))

    return find


def in_messages(user, query):
    return set(overview.search(user, query).values_list("pk", flat=True))


def in_conversations(user, query):
    choice = overview.Choice(q=query)
    page = overview.conversations_of(user, cursor=None, limit=1000, choice=choice)
    return {item.id for item in page.items}


def users(rider):
    people = [get_user_model()(username=f"u{n}", first_name=text) for n, text in enumerate(STORED)]
    for one in people:
        one.save()
    return people


def conversations(rider):
    return Conversation.objects.bulk_create(Conversation(subject=text) for text in STORED)


def messages(rider):
    rows = Conversation.objects.bulk_create(Conversation() for _ in STORED)
    return Message._base_manager.bulk_create(
        Message(conversation=row, sender=rider, text=text, seq=1)
        for row, text in zip(rows, STORED, strict=True)
    )


def said_in(rider):
    return [row.conversation for row in messages(rider)]


def asked_by(rider):
    """Conversations of people of these names."""
    rows = []
    for user in users(rider):
        rows.append(Conversation.objects.create())
        Participant.objects.create(conversation=rows[-1], user=user, role="rider")
    return rows


def written_notes(rider):
    here = Conversation.objects.create()
    rows = [Note(conversation=here, author=rider, text=text) for text in STORED]
    for row in rows:
        row.save()
    return rows


def notified(field):
    def make(rider):
        for text in STORED:
            notifications.notify([rider], **{"title": "", field: text})
        return list(Notification.objects.order_by("pk"))

    return make


def told(rider):
    """Notifications of people of these names."""
    notifications.notify(users(rider), title="")
    return list(Notification.objects.order_by("recipient"))


def devices(rider):
    rows = [Device(user=rider, platform="ios", token=f"t{n}", name=t) for n, t in enumerate(STORED)]
    return Device.objects.bulk_create(rows)


def canned(rider):
    return CannedReply.objects.bulk_create(
        CannedReply(code=f"c-{n}-{n}", text=text) for n, text in enumerate(STORED)
    )


def preferred(rider):
    return Preference.objects.bulk_create(
        Preference(user=rider, category=text, channel="web") for text in STORED
    )


def audited(rider):
    return AuditEntry.objects.bulk_create(
        AuditEntry(actor_name=text, action="viewed") for text in STORED
    )


DOORS = {
    "messages": (messages, in_messages),
    "conversations by message": (said_in, in_conversations),
    "conversations by subject": (conversations, in_conversations),
    "conversations by name": (asked_by, in_conversations),
    "admin: users": (users, in_admin(get_user_model())),
    "admin: messages": (messages, in_admin(Message)),
    "admin: conversations by subject": (conversations, in_admin(Conversation)),
    "admin: conversations by name": (asked_by, in_admin(Conversation)),
    "admin: notes": (written_notes, in_admin(Note)),
    "admin: notifications by title": (notified("title"), in_admin(Notification)),
    "admin: notifications by text": (notified("message"), in_admin(Notification)),
    "admin: notifications by name": (told, in_admin(Notification)),
    "admin: devices": (devices, in_admin(Device)),
    "admin: preferences": (preferred, in_admin(Preference)),
    "admin: canned replies": (canned, in_admin(CannedReply)),
    "admin: audit log": (audited, in_admin(AuditEntry)),
}


@pytest.mark.parametrize("door", DOORS)
def test_each_search_finds_what_is_read_alike(door, agent, rider):
    make, find = DOORS[door]
    ids = dict(zip(STORED, (row.pk for row in make(rider)), strict=True))
    found = {query: find(agent, query) for query in {query for _, query, _ in SPELLINGS}}
    assert not [one for one in SPELLINGS if (ids[one[0]] in found[one[1]]) is not one[2]]


# Of Django's own table, and what is no text: compared as it is stored.
PLAIN = {"auth.Group.name", "accounts.User.email"}


@pytest.mark.parametrize("page", admin.site._registry.values(), ids=lambda page: page.opts.label)
def test_every_text_that_a_list_is_searched_by_has_a_folded_column(page):
    for name in page.get_search_fields(RequestFactory().get("/")):
        if name.startswith("="):
            continue
        path, _, last = name.rpartition("__")
        end = get_fields_from_path(page.model, path)[-1] if path else None
        model = get_model_from_relation(end) if end else page.model
        known = {source for field in folded_fields(model) for source in field.sources}
        known |= {*names.fields()} if model is get_user_model() else set()
        assert last in known or f"{model._meta.label}.{last}" in PLAIN, name


ODD = ["a\x00b", "''", "\u0301\u0302", "\u200b\u200b", "%%", "__", "\\\\", '""', '"', "a " * 3000]


def test_no_query_is_an_error_in_the_admin(client, agent, rider):
    for query in [*ODD, "\ufdfa" * 1500]:
        for model in (Conversation, Message, Note, Notification, Device, get_user_model()):
            in_admin(model)(agent, query)
    client.force_login(agent)
    for query in ODD:
        assert client.get("/admin/chat/message/", {"q": query}).status_code == 200


def test_a_query_is_answered_over_rest(rest_of, agent, rider):
    here = services.open_support(user=rider).conversation
    sent = services.send_message(
        user=rider, conversation_id=here.pk, text="Oʻzbek +998 90 123 45 67"
    )
    for query, expected in (("O'ZBEK", 1), ("901234567", 1), ("''", 0), ("\u0301\u0302", 0)):
        found = rest_of(agent).get("/api/messages/search/", {"q": query})
        assert found.status_code == 200
        ids = [item["message"]["message_id"] for item in found.json()["results"]]
        assert ids == [sent.message.pk][:expected]
        listed = rest_of(agent).get("/api/conversations/", {"q": query})
        assert [item["id"] for item in listed.json()["results"]] == [here.pk][:expected]


HIDDEN = ["901234567", "+998 90 123 45 67", "90-123-45-67", "12345", "123 45", "1234567", "998"]


@pytest.mark.parametrize("query", HIDDEN)
def test_a_hidden_number_is_found_in_no_spelling(trip, agent, query):
    """Not by who sent it either: an answer would tell whoever looks over a shoulder, and of all
    who may see it only an unmasking is in the audit log.
    """
    for text in ("call +998 90 123 45 67", "call 901234567"):
        services.send_message(user=trip.rider, conversation_id=trip.pk, text=text)
    assert Message.objects.exclude(original="").count() == 2
    for user in (trip.rider, trip.driver, agent):
        assert in_messages(user, query) == set()
    assert in_conversations(agent, query) == set()
    assert in_admin(Message)(agent, query) == set()
    assert in_admin(Notification)(agent, query) == set()
    assert in_messages(agent, "CALL") != set()


# The column follows the text


def said(here, user, text="Blue umbrella"):
    return services.send_message(user=user, conversation_id=here.pk, text=text).message


@pytest.fixture
def here(rider):
    return services.open_support(user=rider, subject="Синий зонт").conversation


def test_an_edit_is_found_by_its_new_text(here, rider, agent):
    message = said(here, rider)
    edit = {"user": rider, "conversation_id": here.pk, "message_id": message.pk}
    services.edit_message(**edit, text="Красный Oʻroq")
    assert in_messages(agent, "красный o'roq") == {message.pk}
    assert in_messages(agent, "umbrella") == set()
    row = Message.objects.only("text").get()
    row.text = "Зелёный"
    row.save()
    assert in_messages(agent, "зеленый") == {message.pk}
    assert in_messages(agent, "красный") == set()


def test_what_was_taken_back_leaves_nothing_to_find(here, rider, agent):
    message = said(here, rider)
    services.delete_message(user=rider, conversation_id=here.pk, message_id=message.pk)
    note = notes.add_note(user=agent, conversation_id=here.pk, text="Blue umbrella").note
    notes.delete_note(user=agent, conversation_id=here.pk, note_id=note.pk)
    assert Message.objects.get().folded == Note.objects.get().folded == ""
    assert "umbrella" not in Notification.objects.get(recipient=agent).folded
    assert in_admin(Notification)(agent, "deleted") != set()


def test_a_change_past_save_is_followed(here, rider, agent):
    Conversation.objects.filter(pk=here.pk).update(subject="Чёрный")
    assert in_conversations(agent, "черный") == {here.pk}
    Conversation.objects.filter(pk=here.pk).update(status="pending")
    assert Conversation.objects.get().folded == "черныи"
    here.subject = "Белый"
    Conversation.objects.bulk_update([here], ["subject"])
    assert in_conversations(agent, "БЕЛЫЙ") == {here.pk}
    assert in_conversations(agent, "черный") == set()
    reply = CannedReply.objects.create(code="hi", text="Салом")
    CannedReply.objects.update(text="Хайр")
    assert (
        CannedReply.objects.get().folded is None
    )  # the code is in it, and only the database knows
    assert in_admin(CannedReply)(agent, "Хайр") == {reply.pk}
    call_command("prune", "search-cannedreply", stdout=StringIO(), stderr=StringIO())
    assert in_admin(CannedReply)(agent, "хайр") == in_admin(CannedReply)(agent, "HI") == {reply.pk}


@pytest.mark.parametrize("code", ["hi", "new"])
def test_an_upsert_is_followed(agent, code):
    CannedReply.objects.create(code="hi", text="Салом")
    CannedReply.objects.bulk_create(
        [CannedReply(code=code, text="Чёрный")],
        update_conflicts=True,
        unique_fields=["code"],
        update_fields=["text"],
    )
    reply = CannedReply.objects.get(code=code)
    assert in_admin(CannedReply)(agent, "черный") == {reply.pk}
    assert CannedReply.objects.filter(folded__contains="салом").exists() is (code == "new")


def test_what_only_the_database_knows_is_not_folded_as_it_is_written(here, agent):
    here.subject = Concat("subject", Value(" x"))
    here.save()
    assert in_conversations(agent, "зонт x") == {here.pk}
    here.subject = Upper("subject")
    Conversation.objects.bulk_update([here], ["subject"])
    assert in_conversations(agent, "upper") == in_conversations(agent, "concat") == set()
    call_command("prune", "search-conversation", stdout=StringIO(), stderr=StringIO())
    assert in_conversations(agent, "зонт x") == {here.pk}


def test_every_column_follows_a_save_of_its_source_alone(here, rider, agent):
    said(here, rider)
    notes.add_note(user=agent, conversation_id=here.pk, text="x")
    CannedReply.objects.create(code="hi", text="x")
    Device.objects.create(user=rider, platform="ios", token="t", name="x")
    kinds = [Conversation, Message, Note, CannedReply, Device, Notification]
    for model in kinds:
        (field,) = folded_fields(model)
        row = model._base_manager.first()
        setattr(row, field.sources[-1], "Ёж")
        row.save(update_fields=[field.sources[-1]])
        assert "еж" in model._base_manager.get(pk=row.pk).folded.splitlines()


def test_a_changed_name_is_found_and_the_old_one_is_not(rider, agent):
    rider.first_name = "Нилуфар"
    rider.save(update_fields=["first_name"])
    find = in_admin(get_user_model())
    assert find(agent, "нилуфар") == {rider.pk}
    rider.first_name = "Oʻgʻiloy"
    rider.save()
    assert find(agent, "нилуфар") == set()
    assert find(agent, "o'g'iloy") == {rider.pk}


def test_an_erased_person_is_found_by_nothing(here, rider, agent):
    rider.first_name, rider.last_name = "Нилуфар", "Oʻtkirova"
    rider.save()
    said(here, rider, "Мой номер +998 90 123 45 67")
    call_command("erase_user", rider.username, no_input=True, stdout=StringIO(), stderr=StringIO())
    for model in (Conversation, Message, Note, Notification, AuditEntry):
        for row in model._base_manager.all():
            assert row.folded is not None
            for trace in ("нилуфар", "otkirova", "номер", "90123", "зонт"):
                assert trace not in row.folded
    assert "нилуфар" not in SearchName.objects.get(user=rider).folded
    for query in ("нилуфар", "O'tkirova", "901234567", "зонт"):
        assert in_conversations(agent, query) == in_messages(agent, query) == set()


# Rows of the release before


def as_before(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def prune(*kinds):
    out = StringIO()
    call_command("prune", *kinds, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_row_without_the_column_is_found_as_it_is_spelled_and_once_folded_in_any_way(
    here, rider, agent
):
    said(here, rider)
    columns = "conversation_id, sender_id, original, is_from_support, created_at"
    as_before(
        f"INSERT INTO chat_message (text, seq, {columns})"  # noqa: S608
        f" SELECT %s, seq + 1000, {columns} FROM chat_message",
        "Oʻroq Here",
    )
    old = Message.objects.get(folded=None)
    assert in_messages(agent, "oʻroq here") == in_admin(Message)(agent, "here") == {old.pk}
    assert in_messages(agent, "o'roq") == set()
    assert "1 search texts of the message" in prune("search-message")
    assert in_messages(agent, "O'ROQ") == {old.pk}
    assert prune("search-message").startswith("search-message: 0 ")


def test_what_the_release_before_edits_or_deletes_is_folded_anew(here, rider, agent):
    kept, edited, gone = (said(here, rider, f"Blue umbrella {n}") for n in range(3))
    as_before(
        "UPDATE chat_message SET text = 'Red', edited_at = created_at WHERE id = %s", edited.pk
    )
    as_before("UPDATE chat_message SET text = '' WHERE id = %s", gone.pk)
    assert "2 search texts of the message" in prune("search-message")
    assert in_messages(agent, "umbrella") == {kept.pk}
    assert in_messages(agent, "red") == {edited.pk}
    assert Message.objects.get(pk=gone.pk).folded == ""


def test_names_that_no_signal_told_of_are_found_after_a_prune(agent):
    users = get_user_model()._default_manager
    (one,) = users.bulk_create([get_user_model()(username="one", first_name="Oʻtkir")])
    find = in_admin(get_user_model())
    assert find(agent, "Oʻtkir") == {one.pk}  # as it is spelled
    assert "1 search texts of users" in prune("search-names")
    assert find(agent, "O'TKIR") == {one.pk}
    users.filter(pk=one.pk).update(first_name="Жасур")
    prune("search-names")
    assert find(agent, "ЖАСУР") == {one.pk}
    assert find(agent, "O'TKIR") == set()


@pytest.mark.parametrize(
    "migration",
    [
        "chat.migrations.0010_fold_texts",
        "notifications.migrations.0007_fold_texts",
        "push.migrations.0007_fold_texts",
    ],
)
def test_a_migration_folds_what_is_not_folded_yet(here, rider, agent, migration):
    said(here, rider, "Oʻroq")
    Device.objects.create(user=rider, platform="ios", token="t", name="Oʻroq")
    module = import_module(migration)
    app = migration.partition(".")[0]
    models = [apps.get_model(app, name) for name in module.MODELS]
    assert {model for model in apps.get_app_config(app).get_models() if folded_fields(model)} == {
        *models
    }
    known = [model._base_manager.values_list("folded", flat=True).first() for model in models]
    for model in models:
        model._base_manager.update(folded=None)
    module.fold(apps, SimpleNamespace(connection=connection))
    assert [
        model._base_manager.values_list("folded", flat=True).first() for model in models
    ] == known


def test_a_migration_stores_the_names_that_are_there(agent):
    (one,) = get_user_model()._default_manager.bulk_create([get_user_model()(first_name="Oʻtkir")])
    module = import_module("holodrive.realtime.migrations.0006_fold_names")
    for _ in range(2):  # it was interrupted
        module.fold(apps, SimpleNamespace(connection=connection))
    assert in_admin(get_user_model())(agent, "O'TKIR") == {one.pk}
    assert SearchName.objects.count() == 2


def test_a_user_is_saved_where_the_table_of_names_is_not_there_yet(rider):
    """As in a migration of a project that comes before ours."""
    with connection.schema_editor() as editor:
        editor.delete_model(SearchName)
    try:
        rider.first_name = "Oʻtkir"
        rider.save()
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(SearchName)
    assert get_user_model()._default_manager.get(pk=rider.pk).first_name == "Oʻtkir"
    assert not SearchName.objects.filter(user=rider).exists()
