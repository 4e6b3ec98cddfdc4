"""Stores what the users that are there are found by.

In batches that are transactions of their own, and again from the start if it was interrupted. Users
whom a process of the release before stores meanwhile are looked at by `manage.py prune`.
"""

from django.conf import settings
from django.db import migrations

from holodrive.realtime import names

AT_ONCE = 1000


def fold(apps, schema_editor):
    alias = schema_editor.connection.alias
    model = apps.get_model(settings.AUTH_USER_MODEL)
    known = {field.name for field in model._meta.get_fields()}
    users = model._base_manager.using(alias).order_by("pk").only(*known.intersection(names.fields()))
    rows = apps.get_model("realtime", "SearchName").objects.using(alias)
    batch = list(users[:AT_ONCE])
    while batch:
        rows.bulk_create(
            [rows.model(user_id=user.pk, folded=names.folded(user)) for user in batch],
            ignore_conflicts=True,
        )
        batch = list(users.filter(pk__gt=batch[-1].pk)[:AT_ONCE])


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("realtime", "0005_search_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [migrations.RunPython(fold, migrations.RunPython.noop)]
