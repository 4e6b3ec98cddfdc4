"""Devices that can be reached without a socket, what their users want to be told there, and what is
still to be told. Nothing here publishes.
"""

from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from holodrive.realtime.searchable import FoldedField, FoldedQuerySet, Searchable
from notifications.models import Notification
from push.quiet import zone

CHANNELS = {"android": "mobile", "ios": "mobile", "web": "web"}


def _known_zone(name: str) -> None:
    try:
        zone(name)
    except ValueError:
        raise ValidationError(_("There is no such time zone: Asia/Tashkent is one.")) from None


class Device(Searchable):
    """Where a user gets pushes. `token` is what its push service knows it by: a registration token
    of FCM, the endpoint of a Web Push subscription (whose `keys` are p256dh and auth). Whoever
    registers it last has it.
    """

    class Platform(models.TextChoices):
        ANDROID = "android", "Android"
        IOS = "ios", "iOS"
        WEB = "web", "Web"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        related_name="push_devices",
    )
    platform = models.CharField(_("platform"), max_length=10, choices=Platform.choices)
    token = models.CharField(_("token"), max_length=1000, unique=True)
    keys = models.JSONField(_("keys"), default=dict, blank=True)
    name = models.CharField(_("name"), max_length=100, blank=True)
    folded = FoldedField("name")
    # The login that registered it (a token's sid, or the digest of a session): both end together.
    # `logins.py` judges it by these whenever something is to be sent; they open nothing.
    login = models.CharField(_("login"), max_length=64, blank=True, db_index=True)
    session_start = models.CharField(
        _("session"), max_length=8, editable=False, default="", db_default=""
    )
    proof = models.CharField(
        _("digest of the password"), max_length=64, editable=False, default="", db_default=""
    )
    refresh_jti = models.CharField(
        _("refresh token"), max_length=255, editable=False, default="", db_default=""
    )
    login_expires_at = models.DateTimeField(_("login expires at"), null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    renewed_at = models.DateTimeField(_("renewed at"), default=timezone.now, editable=False)

    objects = FoldedQuerySet.as_manager()

    if TYPE_CHECKING:
        user_id: int

    class Meta:
        verbose_name = _("device")
        verbose_name_plural = _("devices")

    def __str__(self) -> str:
        return f"{self.get_platform_display()} of {self.user_id}"

    @property
    def channel(self) -> str:
        """Which of PUSH_BACKENDS reaches it."""
        return CHANNELS[self.platform]


class Preference(Searchable):
    """Whether a user wants that category (a notification_type) pushed on that channel. Without a
    row: yes.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        related_name="push_preferences",
    )
    category = models.CharField(_("category"), max_length=50)
    folded = FoldedField("category")
    channel = models.CharField(_("channel"), max_length=20)
    is_enabled = models.BooleanField(_("is enabled"), default=True)

    objects = FoldedQuerySet.as_manager()

    if TYPE_CHECKING:
        user_id: int

    class Meta:
        verbose_name = _("preference")
        verbose_name_plural = _("preferences")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "category", "channel"], name="push_preference_of_category"
            )
        ]

    def __str__(self) -> str:
        return f"{self.category} on {self.channel}: {'yes' if self.is_enabled else 'no'}"


class QuietHours(models.Model):
    """When a user's devices stay silent, on the clock of that time zone; over midnight if `end` is
    before `start`.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="push_quiet_hours",
    )
    start = models.TimeField(_("start"))
    end = models.TimeField(_("end"))
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        validators=[_known_zone],
        help_text=_("Such as Asia/Tashkent."),
    )

    if TYPE_CHECKING:
        user_id: int

    class Meta:
        verbose_name = _("quiet hours")
        verbose_name_plural = _("quiet hours")

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M} {self.time_zone}"


class Push(models.Model):
    """A notification that is, or may have to be, on its recipient's devices. Stored with the
    notification, so that no crash in between forgets it; gone once there is nothing left to do.
    """

    notification = models.OneToOneField(
        Notification, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    tag = models.CharField(max_length=64)  # of several with one tag, a device shows the newest
    due_at = models.DateTimeField(null=True)  # when a worker looks at it; null: once it is read
    is_sent = models.BooleanField(default=False)  # it may be on a device
    is_read = models.BooleanField(default=False)
    attempts = models.PositiveSmallIntegerField(default=0)
    devices = models.JSONField(null=True)  # ids of those that have not got it; null: all
    created_at = models.DateTimeField(default=timezone.now)

    if TYPE_CHECKING:
        user_id: int
        notification_id: int

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"], condition=models.Q(due_at__isnull=False), name="push_due"
            ),
            models.Index(fields=["user", "tag"], name="push_user_tag"),
            models.Index(fields=["created_at"], name="push_created"),
        ]

    def __str__(self) -> str:
        return f"{self.tag} to {self.user_id}"
