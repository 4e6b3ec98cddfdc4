from django.apps import apps as installed
from django.conf import settings
from django.db import migrations

_HAD_DEVICES = installed.is_installed("holodrive.accounts")


def take_over(apps, schema_editor):
    """Of one token that several users had, the newest."""
    if not _HAD_DEVICES:
        return
    home = schema_editor.connection.alias
    old, new = apps.get_model("accounts", "Device"), apps.get_model("push", "Device")
    known = {}
    had = old.objects.using(home).exclude(platform="web")  # these are without keys
    for row in had.order_by("pk").iterator():
        known.pop(row.token, None)
        known[row.token] = new(
            user_id=row.user_id,
            platform=row.platform,
            token=row.token,
            created_at=row.created_at,
            renewed_at=row.created_at,
        )
    rows = new.objects.using(home)
    rows.bulk_create(known.values(), ignore_conflicts=True, batch_size=100)


class Migration(migrations.Migration):

    dependencies = [
        ("push", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        *([("accounts", "0002_device")] if _HAD_DEVICES else []),
    ]

    operations = [migrations.RunPython(take_over, migrations.RunPython.noop)]
