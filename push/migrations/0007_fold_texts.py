"""Folds the texts that are there, for the search.

In batches that are transactions of their own; after an interruption it goes on with what is left.
What a process of the release before stores meanwhile is folded by `manage.py prune`.
"""

from django.db import migrations

from holodrive.realtime.searchable import fold_pending

MODELS = ("Device", "Preference")


def fold(apps, schema_editor):
    for name in MODELS:
        for _ in fold_pending(apps.get_model("push", name), schema_editor.connection.alias):
            pass


class Migration(migrations.Migration):

    atomic = False

    dependencies = [("push", "0006_folded_texts")]

    operations = [migrations.RunPython(fold, migrations.RunPython.noop)]
