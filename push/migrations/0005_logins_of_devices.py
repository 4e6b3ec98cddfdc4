from datetime import timedelta

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import migrations
from django.utils import timezone

_BATCH = 500


def bind(apps, schema_editor):
    """To their users' passwords as they are now, for as long as their logins can live from now on; a
    refresh renews it.
    """
    from holodrive.realtime.tokens import RefreshToken
    from push import logins

    now = timezone.now()
    of_token, of_session = (
        now + RefreshToken.lifetime,
        now + timedelta(seconds=settings.SESSION_COOKIE_AGE),
    )
    home, last = schema_editor.connection.alias, 0
    every_device = apps.get_model("push", "Device").objects.using(home)
    devices, known = every_device.filter(proof=""), get_user_model()._base_manager.using(home)
    while rows := list(devices.filter(pk__gt=last).order_by("pk")[:_BATCH]):
        # The model itself, for its `get_session_auth_hash`; but it may have columns by now that its
        # table has not got yet.
        users = known.only("password").in_bulk({row.user_id for row in rows})
        for row in rows:
            logins.bind(row, users[row.user_id])
            row.login_expires_at = of_session if logins.is_of_session(row) else of_token
        every_device.bulk_update(rows, ["proof", "login_expires_at"])
        last = rows[-1].pk


class Migration(migrations.Migration):
    atomic = False  # batches that are transactions of their own

    dependencies = [
        ("push", "0004_login_facts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [migrations.RunPython(bind, migrations.RunPython.noop, elidable=True)]
