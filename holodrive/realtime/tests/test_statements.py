"""Plain SQL does what the ORM does."""

import pytest
from django.db import connection, models

from chat.models import CannedReply
from holodrive.realtime import statements

pytestmark = pytest.mark.django_db(transaction=True)


class Mood(models.Model):
    """A table after a release has expanded it."""

    text = models.CharField(max_length=10, db_default="calm")
    strength = models.IntegerField(db_default=3)

    class Meta:
        app_label = "realtime"
        managed = False
        db_table = "realtime_test_mood"

    def __str__(self):
        return self.text


@pytest.fixture
def mood():
    with connection.schema_editor() as editor:
        editor.create_model(Mood)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(Mood)


def test_rows_get_their_ids_and_are_stored():
    rows = [CannedReply(code=f"c{n}", text="x") for n in range(3)]
    statements.insert(rows)
    assert [row.pk for row in CannedReply.objects.order_by("code")] == [row.pk for row in rows]
    assert not any(row._state.adding for row in rows)


def test_a_default_of_the_database_is_stored_and_known(mood):
    rows = [Mood(), Mood(text="wild", strength=9)]
    statements.insert(rows)
    assert [(row.text, row.strength) for row in rows] == [("calm", 3), ("wild", 9)]
    assert list(Mood.objects.order_by("pk").values_list("text", "strength")) == [
        ("calm", 3),
        ("wild", 9),
    ]
