"""Conversations, who takes part, and what was said; support's notes, canned replies, audit log.
Saving a Message, a Note, or what shows of a Conversation, publishes it.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from chat import canned_text, contacts, events, note_events
from holodrive.realtime import log
from holodrive.realtime.characters import isolated
from holodrive.realtime.published import PublishedModel, PublishedQuerySet
from holodrive.realtime.routing import HomeModel, has_perm
from holodrive.realtime.searchable import FoldedField, FoldedQuerySet, Searchable

_USER = settings.AUTH_USER_MODEL
SUPPORT_PERMISSION = "chat.view_conversation"
CHANGE, ASSIGN = "chat.change_conversation", "chat.assign_conversation"
REPLY = "chat.reply_conversation"
VIEW_NOTES, ADD_NOTES = "chat.view_note", "chat.add_note"
UNMASK = "chat.unmask_message"


def is_support(user: Any) -> bool:
    """Support is staff that may view conversations; superusers may. Asks the database, so not on
    the event loop.
    """
    return bool(user.is_active and user.is_staff and has_perm(user, SUPPORT_PERMISSION))


def may_reply(user: Any) -> bool:
    """Whether somebody of support may answer: whoever may view, unless the project says that it
    takes a permission of its own.
    """
    return not settings.CHAT_REPLY_NEEDS_PERMISSION or has_perm(user, REPLY)


class ConversationQuerySet(FoldedQuerySet["Conversation"]):
    def visible_to(self, user: Any) -> "ConversationQuerySet":
        """Riders and drivers: those they take part in. Support: any. Who took part as support has
        no right left when that ends.
        """
        if isinstance(user, AnonymousUser):
            return self.none()
        if is_support(user):
            return self
        return self.filter(participants__user=user, participants__role__in=MEMBERS)


class Conversation(Searchable, HomeModel):
    class Kind(models.TextChoices):
        SUPPORT = "support", _("Support")
        TRIP = "trip", _("Trip")

    class Status(models.TextChoices):
        OPEN = "open", _("Open")
        PENDING = "pending", _("Pending")
        SNOOZED = "snoozed", _("Snoozed")
        RESOLVED = "resolved", _("Resolved")
        CLOSED = "closed", _("Closed")

    OVER: ClassVar = (Status.RESOLVED, Status.CLOSED)

    class Priority(models.IntegerChoices):
        LOW = 0, _("Low")
        NORMAL = 1, _("Normal")
        HIGH = 2, _("High")
        URGENT = 3, _("Urgent")

    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.SUPPORT)
    subject = models.CharField(_("subject"), max_length=200, blank=True)
    folded = FoldedField("subject")
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.OPEN
    )
    assignee = models.ForeignKey(
        _USER,
        verbose_name=_("assignee"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="assigned_conversations",
    )
    priority = models.SmallIntegerField(
        _("priority"), choices=Priority.choices, default=Priority.NORMAL
    )
    snoozed_until = models.DateTimeField(_("snoozed until"), null=True, blank=True)
    waiting_since = models.DateTimeField(_("waiting since"), null=True, blank=True)
    last_message_at = models.DateTimeField(
        _("last message at"), null=True, blank=True, editable=False
    )
    closes_at = models.DateTimeField(
        _("closes at"), null=True, blank=True, help_text=_("Trips: read-only from then on.")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    changed_by: Any = None  # who saves it, if known: nobody is told of what they did themselves

    objects = ConversationQuerySet.as_manager()

    if TYPE_CHECKING:
        assignee_id: int | None

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        indexes: ClassVar = [
            models.Index(fields=["-last_message_at", "-id"], name="conversation_latest"),
            models.Index(fields=["status", "-last_message_at", "-id"], name="conversation_queue"),
            models.Index(fields=["assignee", "status"], name="conversation_assigned"),
            models.Index(
                fields=["snoozed_until"],
                condition=models.Q(status="snoozed"),
                name="conversation_snoozed",
            ),
        ]
        permissions: ClassVar = [
            ("assign_conversation", "Can claim and assign conversations"),
            ("reply_conversation", "Can reply in conversations"),
        ]

    def __str__(self) -> str:
        """Not the subject: the admin shows this where it asks for no right to read it."""
        return f"{self.get_kind_display()} {self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Under the lock of its stream: what changes of it is told in the order of the commits. In
        what is over nobody waits.
        """
        fields = kwargs.get("update_fields")
        if self.status in self.OVER and (fields is None or "status" in fields):
            self.waiting_since = None
            if fields is not None:
                kwargs["update_fields"] = {*fields, "waiting_since"}
        with log.writing(*([] if self.pk is None else [events.stream_of(self.pk)])):
            super().save(*args, **kwargs)

    def clean(self) -> None:
        if (self.status == self.Status.SNOOZED) != (self.snoozed_until is not None):
            raise ValidationError(
                {"snoozed_until": _("The status Snoozed has an end, others none.")}
            )

    def is_closed(self) -> bool:
        if self.status == self.Status.CLOSED:
            return True
        return self.closes_at is not None and self.closes_at <= timezone.now()


class AppendOnlyError(TypeError):
    """A change of what must stay as it was written."""


class ParticipantQuerySet(models.QuerySet["Participant"]):
    def update(self, **changes: Any) -> int:
        if Participant.FIXED & changes.keys():
            raise Participant.fixed()
        return super().update(**changes)


class Participant(HomeModel):
    """Who takes part, and as what, stays so: only the row's end closes the sockets of whom it let
    in. Another user or role is another row.
    """

    class Role(models.TextChoices):
        RIDER = "rider", _("Rider")
        DRIVER = "driver", _("Driver")
        SUPPORT = "support", _("Support")

    conversation = models.ForeignKey(
        Conversation,
        verbose_name=_("conversation"),
        on_delete=models.CASCADE,
        related_name="participants",
    )
    user = models.ForeignKey(
        _USER, verbose_name=_("user"), on_delete=models.CASCADE, related_name="participations"
    )
    role = models.CharField(_("role"), max_length=10, choices=Role.choices)
    last_read_id = models.BigIntegerField(_("last read id"), default=0)
    last_delivered_id = models.BigIntegerField(_("last delivered id"), default=0)
    muted_until = models.DateTimeField(_("muted until"), null=True, blank=True)

    FIXED: ClassVar = {"conversation", "conversation_id", "user", "user_id", "role"}

    objects = ParticipantQuerySet.as_manager()

    class Meta:
        verbose_name = _("participant")
        verbose_name_plural = _("participants")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["conversation", "user"], name="participant_once")
        ]

    if TYPE_CHECKING:
        conversation_id: int
        user_id: int

    def __str__(self) -> str:
        """Not the name: the admin's log of the conversation would keep it, whoever is erased."""
        return f"{self.user_id} ({self.role})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        fields = kwargs.get("update_fields")
        stores_fixed = fields is None or self.FIXED.intersection(fields)
        if self.pk is not None and stores_fixed and not self._is_as_stored():
            raise self.fixed()
        super().save(*args, **kwargs)

    def _is_as_stored(self) -> bool:
        stored = Participant.objects.filter(pk=self.pk)
        known = stored.values_list("conversation_id", "user_id", "role").first()
        return known in (None, (self.conversation_id, self.user_id, self.role))

    @staticmethod
    def fixed() -> AppendOnlyError:
        return AppendOnlyError("A participant stays who it is: delete it, and add another.")


# Who takes part as one of these may be there for as long as the row is; support by its right alone.
MEMBERS = (Participant.Role.RIDER, Participant.Role.DRIVER)


class SupportMember(models.Model):
    """Whoever was notified as support, now or once: before they are shown it, their right is looked
    at (`endings.py`). `ended_at`: since when they have none, and all that they had is taken back.
    """

    user = models.OneToOneField(_USER, on_delete=models.CASCADE, primary_key=True, related_name="+")
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.pk}"


class FormerParticipant(models.Model):
    """That somebody took part whose row is gone: an erasure has to find what was said of them."""

    id = models.BigIntegerField(primary_key=True)  # of the row
    conversation_id = models.BigIntegerField()  # no constraint: either may go first
    user = models.ForeignKey(_USER, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=10)

    if TYPE_CHECKING:
        user_id: int

    def __str__(self) -> str:
        return f"{self.user_id} in {self.conversation_id}"


class MessageQuerySet(PublishedQuerySet["Message"]):
    use_instead = "chat.services.send_message(...) or Message(...).save()"


class Message(Searchable, PublishedModel):
    conversation = models.ForeignKey(
        Conversation,
        verbose_name=_("conversation"),
        on_delete=models.CASCADE,
        related_name="messages",
    )
    sender = models.ForeignKey(
        _USER, verbose_name=_("sender"), on_delete=models.PROTECT, related_name="messages"
    )
    text = models.TextField(
        _("text"), help_text=_("As everybody sees it: in trips without contact details.")
    )
    original = models.TextField(
        _("original"),
        blank=True,
        default="",
        editable=False,
        help_text=_("As it was sent, if `text` hides a part."),
    )
    folded = FoldedField("text")  # not of the original: a search must not tell what is hidden
    client_message_id = models.CharField(  # noqa: DJ001 - NULLs do not collide
        _("client message id"), max_length=64, null=True, blank=True, editable=False
    )
    is_from_support = models.BooleanField(_("is from support"), default=False, editable=False)
    seq = models.BigIntegerField(
        _("seq"), editable=False, help_text=_("Of its event: an ack says it again for a duplicate.")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    edited_at = models.DateTimeField(_("edited at"), null=True, blank=True, editable=False)
    deleted_at = models.DateTimeField(_("deleted at"), null=True, blank=True, editable=False)

    masked_text: tuple[str, str] | None = None  # a text, and what masking has made of it

    sets_along: ClassVar = {"text": ("edited_at", "original")}

    objects = MessageQuerySet.as_manager()

    if TYPE_CHECKING:
        conversation_id: int
        sender_id: int

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation", "sender", "client_message_id"], name="message_sent_once"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["conversation", "id"], name="message_conversation_id")
        ]
        permissions: ClassVar = [("unmask_message", "Can see what messages hide")]

    def __str__(self) -> str:
        """Not its text: the log of the admin would keep it, whatever becomes of the message."""
        return f"{self._meta.verbose_name} {self.pk}"

    @property
    def as_sent(self) -> str:
        return self.original or self.text

    def without_contacts(self) -> str:
        """The text as a trip shows it. Looked for once, ahead of the lock."""
        if self.masked_text is None or self.masked_text[0] != self.text:
            hidden = contacts.as_shown(
                self.text,
                conversation_id=self.conversation_id,
                sender_id=self.sender_id,
                message_id=self.pk,
            )
            self.masked_text = (self.text, hidden)
        return self.masked_text[1]

    def save(self, *args: Any, **kwargs: Any) -> None:
        self._look_ahead(kwargs.get("update_fields"))
        super().save(*args, **kwargs)

    @classmethod
    def save_together(cls, rows: Sequence[Self]) -> None:
        for row in rows:
            row._look_ahead(None)
        super().save_together(rows)

    def _look_ahead(self, fields: Any) -> None:
        events.shared_id(self.client_message_id)
        conversation = self._state.fields_cache.get("conversation")
        if (fields is None or "text" in fields) and (
            conversation is None or conversation.kind == Conversation.Kind.TRIP
        ):
            self.without_contacts()

    def streams(self) -> Iterator[str]:
        yield events.stream_of(self.conversation_id)


class NoteQuerySet(PublishedQuerySet["Note"]):
    use_instead = "chat.notes.add_note(...) or Note(...).save()"


class Note(Searchable, PublishedModel):
    """Of support, for support: in a stream of its own, so that others see not even a hole."""

    conversation = models.ForeignKey(
        Conversation, verbose_name=_("conversation"), on_delete=models.CASCADE, related_name="notes"
    )
    author = models.ForeignKey(
        _USER, verbose_name=_("author"), on_delete=models.PROTECT, related_name="+"
    )
    text = models.TextField(_("text"))
    folded = FoldedField("text")
    client_note_id = models.CharField(  # noqa: DJ001 - NULLs do not collide
        _("client note id"), max_length=64, null=True, blank=True, editable=False
    )
    seq = models.BigIntegerField(_("seq"), editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    edited_at = models.DateTimeField(_("edited at"), null=True, blank=True, editable=False)
    deleted_at = models.DateTimeField(_("deleted at"), null=True, blank=True, editable=False)

    sets_along: ClassVar = {"text": ("edited_at",)}

    objects = NoteQuerySet.as_manager()

    if TYPE_CHECKING:
        conversation_id: int
        author_id: int

    class Meta:
        verbose_name = _("note")
        verbose_name_plural = _("notes")
        default_permissions = ("add", "view")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation", "author", "client_note_id"], name="note_written_once"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["conversation", "id"], name="note_conversation_id")
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    def streams(self) -> Iterator[str]:
        yield note_events.stream_of(self.conversation_id)


_VARIABLES = ", ".join(map("{{{}}}".format, canned_text.VARIABLES))


class CannedReply(Searchable):
    """A text that agents insert by its code."""

    code = models.SlugField(
        _("code"), unique=True, help_text=_("What an agent types behind the slash.")
    )
    text = models.TextField(
        _("text"),
        max_length=events.LONGEST_MESSAGE,
        help_text=format_lazy(_("Variables: {names}."), names=_VARIABLES),
    )
    folded = FoldedField("code", "text")

    objects = FoldedQuerySet.as_manager()

    class Meta:
        verbose_name = _("canned reply")
        verbose_name_plural = _("canned replies")
        ordering: ClassVar = ["code"]

    def __str__(self) -> str:
        return f"/{self.code}"

    def clean(self) -> None:
        unknown = canned_text.unknown_variables(self.text)
        if unknown:
            no_such = _("No such variable: %(names)s.") % {"names": ", ".join(unknown)}
            raise ValidationError({"text": no_such})


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("The audit log is append-only.")

    update = delete = bulk_update = _refuse
    aupdate = adelete = abulk_update = _refuse


class AuditEntry(Searchable):
    """Who of support did what. Names no row by a constraint: it outlives whom and what it is
    about.
    """

    class Action(models.TextChoices):
        VIEWED = "viewed", _("Viewed")
        CLAIMED = "claimed", _("Claimed")
        ASSIGNED = "assigned", _("Assigned")
        STATUS = "status", _("Status changed")
        PRIORITY = "priority", _("Priority changed")
        UNMASKED = "unmasked", _("Unmasked")
        NOTE_EDITED = "note_edited", _("Note edited")
        NOTE_DELETED = "note_deleted", _("Note deleted")
        EXPORTED = "exported", _("Exported")
        ERASED = "erased", _("Erased")
        RUNG = "rung", _("Rung")
        OPENED = "opened", _("Opened")
        CHANGED = "changed", _("Changed")
        DELETED = "deleted", _("Deleted")
        PARTICIPANT_ADDED = "participant_added", _("Participant added")
        PARTICIPANT_REMOVED = "participant_removed", _("Participant removed")

    actor = models.ForeignKey(
        _USER,
        verbose_name=_("actor"),
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
    )
    actor_name = models.CharField(_("actor name"), max_length=200)
    folded = FoldedField("actor_name")
    action = models.CharField(_("action"), max_length=20, choices=Action.choices)
    conversation = models.ForeignKey(
        Conversation,
        verbose_name=_("conversation"),
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
    )
    detail = models.JSONField(_("detail"), default=dict)
    at = models.DateTimeField(_("at"), default=timezone.now)

    objects = AuditQuerySet.as_manager()

    if TYPE_CHECKING:
        conversation_id: int | None
        actor_id: int | None

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(fields=["conversation", "actor", "at"], name="audit_conversation")
        ]

    def __str__(self) -> str:
        return f"{isolated(self.actor_name)}: {self.action} {self.conversation_id or ''}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnlyError("The audit log is append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("The audit log is append-only.")
