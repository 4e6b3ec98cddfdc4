from django.db import migrations

from holodrive.realtime.searchable import FoldedField


class Migration(migrations.Migration):

    dependencies = [("chat", "0008_audit_actions")]

    operations = [
        migrations.AddField("conversation", "folded", FoldedField("subject")),
        migrations.AddField("message", "folded", FoldedField("text")),
        migrations.AddField("note", "folded", FoldedField("text")),
        migrations.AddField("cannedreply", "folded", FoldedField("code", "text")),
        migrations.AddField("auditentry", "folded", FoldedField("actor_name")),
    ]
