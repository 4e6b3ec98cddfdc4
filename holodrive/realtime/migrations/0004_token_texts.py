"""Takes the text of each refresh token out of simplejwt's table: its jti is all that is looked up.

In batches that are transactions of their own, and again from the start if it was interrupted. A
process of the release before goes on storing whole tokens until it ends: `manage.py prune` does the
same to those.
"""

from django.db import migrations
from django.db.models import F

AT_ONCE = 1000


def forget_texts(apps, schema_editor):
    tokens = apps.get_model("token_blacklist", "OutstandingToken").objects
    rows = tokens.using(schema_editor.connection.alias).exclude(token=F("jti"))
    last = 0
    while ids := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:AT_ONCE]):
        rows.filter(pk__gt=last, pk__lte=ids[-1]).update(token=F("jti"))
        last = ids[-1]


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('realtime', '0003_last_seen'),
        ('token_blacklist', '0012_alter_outstandingtoken_user'),
    ]

    operations = [migrations.RunPython(forget_texts, migrations.RunPython.noop)]
