from django.db import migrations

from holodrive.realtime.searchable import FoldedField


class Migration(migrations.Migration):

    dependencies = [("notifications", "0005_translated_names")]

    operations = [
        migrations.AddField("notification", "folded", FoldedField("title", "message")),
    ]
