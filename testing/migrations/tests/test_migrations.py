"""Each thing that a migration may not do is refused, and what is to be done instead is not."""

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.models.functions import Now

from testing import migrations as judge

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="it is about PostgreSQL: see its own run"
    ),
]


def field(**options):
    return models.CharField(max_length=10, **options)


def codes(*operations, atomic=True):
    migration = migrations.Migration("9999_new", "chat")
    migration.operations, migration.atomic = list(operations), atomic
    state = MigrationLoader(connection).project_state()
    return {finding.code for finding in judge.findings(migration, state)}


INDEX = models.Index(fields=["created_at"], name="message_created")
CHECK = models.CheckConstraint(condition=models.Q(seq__gt=0), name="seq_is_positive")
NEW_TABLE = migrations.CreateModel("Draft", [("id", models.BigAutoField(primary_key=True))])


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (migrations.AddIndex("message", INDEX), {"CREATE_INDEX"}),
        (migrations.RemoveIndex("message", "message_conversation_id"), {"DROP_INDEX"}),
        (migrations.AddField("message", "mood", field(default="")), {"NOT_NULL"}),
        (migrations.AddField("message", "mood", field(null=True, db_index=True)), {"CREATE_INDEX", "CREATE_INDEX_EXCLUSIVE"}),
        (migrations.AddField("message", "code", field(null=True, unique=True)), {"ADD_UNIQUE", "CREATE_INDEX", "CREATE_INDEX_EXCLUSIVE"}),
        (migrations.AddField("message", "key", models.UUIDField(db_default=RandomUUID())), {"VOLATILE_DEFAULT"}),
        (migrations.AlterField("auditentry", "actor", models.ForeignKey("accounts.user", models.DO_NOTHING, null=True)), {"ADD_CONSTRAINT"}),
        (migrations.AddConstraint("message", CHECK), {"ADD_CONSTRAINT"}),
        (migrations.AddConstraint("message", models.UniqueConstraint(fields=["seq"], name="once")), {"ADD_UNIQUE"}),
        (migrations.AlterField("message", "seq", models.TextField()), {"ALTER_COLUMN"}),
        (migrations.AlterField("message", "edited_at", models.DateTimeField(default=None)), {"NOT_NULL"}),
        (migrations.RemoveField("message", "original"), {"DROP_COLUMN"}),
        (migrations.RenameField("message", "text", "body"), {"RENAME_COLUMN"}),
        (migrations.RenameModel("CannedReply", "Reply"), {"RENAME_TABLE"}),
        (migrations.DeleteModel("CannedReply"), {"DROP_TABLE"}),
        (migrations.RunPython(lambda apps, schema_editor: None), {"DATA_IN_TRANSACTION"}),
        (migrations.RunSQL("UPDATE chat_message SET seq = seq"), {"DATA_IN_TRANSACTION"}),
    ],
)  # fmt: skip
def test_it_is_refused(operation, expected):
    assert codes(operation) == expected


@pytest.mark.parametrize(
    ("operations", "atomic"),
    [
        ([migrations.AddField("message", "mood", field(null=True))], True),
        ([migrations.AddField("message", "mood", field(db_default=""))], True),
        ([migrations.AddField("message", "at", models.DateTimeField(db_default=Now()))], True),
        # All its values are null: there is nothing to validate.
        ([migrations.AddField("message", "about", models.ForeignKey("chat.conversation", models.CASCADE, null=True, db_index=False))], True),
        ([migrations.AlterField("message", "text", models.TextField(help_text="New."))], True),
        ([migrations.AlterField("message", "seq", models.BigIntegerField(null=True))], True),
        ([AddIndexConcurrently("message", INDEX)], False),
        ([RemoveIndexConcurrently("message", "message_conversation_id")], False),
        ([AddConstraintNotValid("message", CHECK)], True),
        ([migrations.RunPython(lambda apps, schema_editor: None)], False),
        ([NEW_TABLE, migrations.AddField("draft", "text", field(default="", db_index=True))], True),
        ([NEW_TABLE, migrations.AddField("draft", "about", models.ForeignKey("chat.conversation", models.CASCADE, null=True))], True),
    ],
)  # fmt: skip
def test_it_may_be_done(operations, atomic):
    assert codes(*operations, atomic=atomic) == set()


def test_a_constraint_is_validated_later():
    state = MigrationLoader(connection).project_state()
    first = migrations.Migration("9998_constraint", "chat")
    first.operations = [AddConstraintNotValid("message", CHECK)]
    after = first.mutate_state(state)
    then = migrations.Migration("9999_validated", "chat")
    then.operations = [ValidateConstraint("message", CHECK.name)]
    assert judge.findings(then, after) == []


def test_what_is_allowed_has_a_reason_and_says_what(monkeypatch):
    said = {"chat.9999_new": {"DROP_COLUMN": "nothing has used it for two releases"}}
    monkeypatch.setattr(judge, "ALLOWED", said)
    assert codes(migrations.RemoveField("message", "original")) == set()
    assert codes(migrations.AddIndex("message", INDEX)) == {"CREATE_INDEX"}


def test_a_finding_says_what_to_do():
    finding = judge.Finding("chat.9999_new", "CREATE_INDEX", "CREATE INDEX locks table")
    assert str(finding) == (
        "chat.9999_new: CREATE_INDEX: CREATE INDEX locks table. "
        "Instead: AddIndexConcurrently, in a migration with atomic = False"
    )


def test_what_is_new_is_judged_and_the_baseline_is_not():
    for app, number in judge.BASELINE.items():
        assert not judge.is_judged(migrations.Migration(f"{number:04}_known", app))
        assert judge.is_judged(migrations.Migration(f"{number + 1:04}_new", app))
    assert not judge.is_judged(migrations.Migration("0100_theirs", "auth"))


def test_every_app_of_ours_is_judged():
    loader = MigrationLoader(connection)
    ours = {app for app, _ in loader.disk_migrations if not _is_installed(loader, app)}
    assert ours == judge.BASELINE.keys()


def _is_installed(loader, app):
    from django.apps import apps

    return "site-packages" in apps.get_app_config(app).path
