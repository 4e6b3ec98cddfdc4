from django.db import models


class Message(models.Model):
    room_name = models.CharField(max_length=50, db_index=True)
    sender_id = models.BigIntegerField()
    text = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "tutorial_orm"


class Notification(models.Model):
    recipient_id = models.BigIntegerField(db_index=True)
    title = models.CharField(max_length=200)
    message = models.TextField()
    is_read = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "tutorial_orm"
