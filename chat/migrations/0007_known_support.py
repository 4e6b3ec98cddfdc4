from django.conf import settings
from django.db import migrations

_AT_ONCE = 1000


def remember(apps, schema_editor):
    """Whoever was notified as support before, or has a conversation."""
    home = schema_editor.connection.alias
    conversations, participants, known = (
        apps.get_model("chat", name).objects.using(home)
        for name in ("Conversation", "Participant", "SupportMember")
    )
    members = participants.filter(role__in=("rider", "driver")).values("conversation", "user")
    notifications = apps.get_model("notifications", "Notification").objects.using(home)
    told = notifications.filter(related_object_type="conversation")
    assigned = conversations.exclude(assignee=None)
    found = set(assigned.values_list("assignee", flat=True).distinct())
    supporting = participants.filter(role="support")
    found |= set(supporting.values_list("user", flat=True).distinct())
    pairs = told.values_list("recipient", "related_object_id").distinct().iterator(_AT_ONCE)
    batch = []
    for pair in pairs:
        if pair[0] not in found:
            batch.append(pair)
        if len(batch) == _AT_ONCE:
            found |= _no_members(conversations, members, batch)
            batch = []
    found |= _no_members(conversations, members, batch)
    rows = [known.model(user_id=id) for id in sorted(found)]
    known.bulk_create(rows, ignore_conflicts=True, batch_size=400)


def _no_members(conversations, members, pairs):
    """Of a conversation that is gone nobody is known to be a member: not a rider whose trips were
    pruned, who would lose what their notifications say of them.
    """
    ids = sorted({id for _, id in pairs if id is not None})
    known, there = set(), set()
    for start in range(0, len(ids), 400):
        part = ids[start : start + 400]
        there |= set(conversations.filter(pk__in=part).values_list("pk", flat=True))
        known |= set(members.filter(conversation__in=part).values_list("user", "conversation"))
    return {user for user, id in pairs if id in there and (user, id) not in known}


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("chat", "0006_support_members"),
        ("notifications", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [migrations.RunPython(remember, migrations.RunPython.noop)]
