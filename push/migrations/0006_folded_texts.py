from django.db import migrations

from holodrive.realtime.searchable import FoldedField


class Migration(migrations.Migration):

    dependencies = [("push", "0005_logins_of_devices")]

    operations = [
        migrations.AddField("preference", "folded", FoldedField("category")),
        migrations.AddField("device", "folded", FoldedField("name")),
    ]
