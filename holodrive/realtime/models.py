"""The tables of the engine: streams and their event log (written by `log.py` only), ended logins,
tickets, what names are found by, and when who was last seen.
"""

from typing import ClassVar

from django.conf import settings
from django.db import models


class Stream(models.Model):
    """One ordered stream of events; `head` is the seq of its newest event, 0 before the first."""

    name = models.CharField(max_length=100, unique=True)
    head = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}@{self.head}"


class Event(models.Model):
    """One event: transactional outbox, resume window and record of what was sent, in one row."""

    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, db_index=False, related_name="events"
    )
    seq = models.BigIntegerField()
    text = models.TextField(help_text="The finished frame, as every client gets it.")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["stream", "seq"], name="realtime_event_stream_seq")
        ]

    def __str__(self) -> str:
        return f"{self.stream_id}:{self.seq}"


class RevokedSession(models.Model):
    """A login that was ended: every token with this `sid` is refused until the last of them has
    expired.
    """

    sid = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.sid


class LastSeen(models.Model):
    """When a user's last socket closed. Of who is online it says when they were last not."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.user_id}: {self.at}"


class SearchName(models.Model):
    """What a user's name is found by (`names.py`)."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="realtime_name",
    )
    folded = models.TextField()

    def __str__(self) -> str:
        return f"{self.user_id}"


class Ticket(models.Model):
    """A right to open one socket, for seconds: the row goes with its use (`tickets.py`)."""

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    claims = models.JSONField(null=True, help_text="Of the token that it was got with.")
    session_key = models.TextField(blank=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.user_id}, until {self.expires_at}"
