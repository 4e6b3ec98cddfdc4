"""What the bell rings for. Saving one publishes it; many at once go through
`Notification.objects.notify`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db import connection, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from holodrive.realtime import log, statements
from holodrive.realtime.published import PublishedModel, PublishedQuerySet
from holodrive.realtime.routing import require_home
from holodrive.realtime.searchable import FoldedField, Searchable
from notifications import events, hooks

# Recipients stored by one transaction. 10,000 at once gave the chat beside it a p99 of 206 ms, 500
# gave 18 ms.
CHUNK = 500

# The status is written out: it is that of the partial index.
_COUNT = """
    SELECT recipient_id, COUNT(*) FROM notifications_notification
    WHERE recipient_id IN %s AND status = 'unread' GROUP BY recipient_id
"""


class NotificationQuerySet(PublishedQuerySet["Notification"]):
    use_instead = "Notification.objects.notify(users, ...) or notifications.services"

    def notify(self, users: Iterable[Any], **content: Any) -> int:
        """Store and publish one notification for each of these users (objects or ids), and return
        how many.

        `content` is the fields of Notification. Every 500 recipients commit by themselves, so that
        nobody waits for all of them, unless the caller has a transaction open: then all is his.
        When a chunk fails (IntegrityError: no such user), those before it stay.
        """
        require_home(self.model, self.db)
        recipients = sorted({user if isinstance(user, int) else user.pk for user in users})
        # In the caller's transaction locks add up: one order over all chunks, or callers deadlock.
        inside = connection.in_atomic_block
        with log.writing(*map(events.stream_of, recipients)) if inside else nullcontext():
            for start in range(0, len(recipients), CHUNK):
                self._notify_chunk(recipients[start : start + CHUNK], content)
        return len(recipients)

    @log.retrying
    def _notify_chunk(self, recipients: list[int], content: dict[str, Any]) -> None:
        self.notify_each([(recipients, content)])

    def notify_each(self, told: Iterable[tuple[Iterable[int], dict[str, Any]]]) -> None:
        """Store and publish several contents, each for its recipients (ids): one transaction, one
        INSERT, whoever gets how many.
        """
        require_home(self.model, self.db)
        new = [
            Notification(recipient_id=recipient, **content)
            for recipients, content in told
            for recipient in sorted(recipients)
        ]
        with log.writing(*(events.stream_of(row.recipient_id) for row in new)):
            unread = Counter(unread_counts({row.recipient_id for row in new}))
            statements.insert(new)
            for row in new:
                unread[row.recipient_id] += row.status == "unread"
                added = events.NotificationAdded(
                    notification=events.body(row), unread_count=unread[row.recipient_id]
                )
                log.append(events.stream_of(row.recipient_id), added)
            hooks.added.send(Notification, rows=new)


class Notification(Searchable, PublishedModel):
    class Status(models.TextChoices):
        UNREAD = "unread", _("Unread")
        READ = "read", _("Read")

    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("recipient"),
        on_delete=models.CASCADE,
        related_name="notifications",
    )
    title = models.CharField(_("title"), max_length=200)
    message = models.TextField(_("message"), blank=True)
    folded = FoldedField("title", "message")
    notification_type = models.CharField(_("notification type"), max_length=50, default="general")
    related_object_type = models.CharField(_("related object type"), max_length=50, blank=True)
    related_object_id = models.BigIntegerField(_("related object id"), null=True, blank=True)
    data = models.JSONField(_("data"), default=dict, blank=True)
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.UNREAD
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    read_at = models.DateTimeField(_("read at"), null=True, blank=True, editable=False)

    sets_along: ClassVar = {"status": ("read_at",)}

    objects = NotificationQuerySet.as_manager()

    if TYPE_CHECKING:
        recipient_id: int

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        indexes: ClassVar = [
            models.Index(fields=["recipient", "id"], name="notification_recipient_id"),
            models.Index(
                fields=["recipient"],
                condition=models.Q(status="unread"),
                name="notification_unread",
            ),
            models.Index(  # reading a conversation marks them
                fields=["recipient", "related_object_id"],
                condition=models.Q(status="unread", notification_type="chat_message"),
                name="notification_unread_chat",
            ),
            models.Index(  # a deleted message finds the previews of itself
                fields=["related_object_id"],
                condition=models.Q(notification_type="chat_message"),
                name="notification_of_conversation",
            ),
        ]

    def __str__(self) -> str:
        """Not its title: the log of the admin would keep it, whatever becomes of the row."""
        return f"{self._meta.verbose_name} {self.pk}"

    def streams(self) -> Iterator[str]:
        yield events.stream_of(self.recipient_id)


class SentPart(models.Model):
    """A part of an announcement that somebody has begun to send: of two requests at the same moment
    one can store its key.
    """

    key = models.CharField(max_length=22, unique=True)
    begun_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.key


def unread_counts(recipients: Iterable[int]) -> dict[int, int]:
    """Unread notifications by recipient; who has none is left out."""
    wanted = list(recipients)
    return dict(statements.fetch(_COUNT, wanted)) if wanted else {}
