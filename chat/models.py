"""Conversations, who takes part, and what was said. Saving a Message publishes it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.utils import timezone

from chat import events
from holodrive.realtime.published import PublishedModel, PublishedQuerySet

_USER = settings.AUTH_USER_MODEL
SUPPORT_PERMISSION = "chat.view_conversation"


def is_support(user: Any) -> bool:
    """Support is staff that may view conversations; superusers may. Asks the database, so not on
    the event loop.
    """
    return bool(user.is_active and user.is_staff and user.has_perm(SUPPORT_PERMISSION))


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, user: Any) -> "ConversationQuerySet":
        """Riders and drivers: those they take part in. Support: any."""
        if isinstance(user, AnonymousUser):
            return self.none()
        return self if is_support(user) else self.filter(participants__user=user)


class Conversation(models.Model):
    class Kind(models.TextChoices):
        SUPPORT = "support", "Support"
        TRIP = "trip", "Trip"

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        PENDING = "pending", "Pending"
        SNOOZED = "snoozed", "Snoozed"
        RESOLVED = "resolved", "Resolved"
        CLOSED = "closed", "Closed"

    class Priority(models.IntegerChoices):
        LOW = 0, "Low"
        NORMAL = 1, "Normal"
        HIGH = 2, "High"
        URGENT = 3, "Urgent"

    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.SUPPORT)
    subject = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    assignee = models.ForeignKey(
        _USER,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="assigned_conversations",
    )
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    waiting_since = models.DateTimeField(null=True, blank=True)
    last_message_at = models.DateTimeField(null=True, blank=True, editable=False)
    closes_at = models.DateTimeField(
        null=True, blank=True, help_text="Trips: read-only from then on."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ConversationQuerySet.as_manager()

    if TYPE_CHECKING:
        assignee_id: int | None

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["-last_message_at", "-id"], name="conversation_latest")
        ]

    def __str__(self) -> str:
        return self.subject or f"{self.get_kind_display()} {self.pk}"

    def is_closed(self) -> bool:
        if self.status == self.Status.CLOSED:
            return True
        return self.closes_at is not None and self.closes_at <= timezone.now()


class Participant(models.Model):
    class Role(models.TextChoices):
        RIDER = "rider", "Rider"
        DRIVER = "driver", "Driver"
        SUPPORT = "support", "Support"

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="participants"
    )
    user = models.ForeignKey(_USER, on_delete=models.CASCADE, related_name="participations")
    role = models.CharField(max_length=10, choices=Role.choices)
    last_read_id = models.BigIntegerField(default=0)
    last_delivered_id = models.BigIntegerField(default=0)
    muted_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["conversation", "user"], name="participant_once")
        ]

    if TYPE_CHECKING:
        conversation_id: int
        user_id: int

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class MessageQuerySet(PublishedQuerySet["Message"]):
    use_instead = "chat.services.send_message(...) or Message(...).save()"


class Message(PublishedModel):
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="messages"
    )
    sender = models.ForeignKey(_USER, on_delete=models.PROTECT, related_name="messages")
    text = models.TextField()
    client_message_id = models.CharField(max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001 - NULLs do not collide
    is_from_support = models.BooleanField(default=False, editable=False)
    seq = models.BigIntegerField(
        editable=False, help_text="Of its event: an ack says it again for a duplicate."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    edited_at = models.DateTimeField(null=True, blank=True, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    sets_along: ClassVar = {"text": "edited_at"}

    objects = MessageQuerySet.as_manager()

    if TYPE_CHECKING:
        conversation_id: int
        sender_id: int

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation", "sender", "client_message_id"], name="message_sent_once"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["conversation", "id"], name="message_conversation_id")
        ]

    def __str__(self) -> str:
        return self.text[:50]

    def streams(self) -> Iterator[str]:
        yield events.stream_of(self.conversation_id)
