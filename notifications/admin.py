from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from notifications import announcements
from notifications.models import Notification

LOGIN = get_user_model().USERNAME_FIELD


@admin.register(Notification)
class NotificationAdmin(admin.ModelAdmin):
    """Saving here rings the recipient's bell. Deleting is off: no frame tells the apps of it."""

    list_display = ("title", "recipient", "notification_type", "status", "created_at")
    list_filter = ("status", "notification_type", "created_at")
    list_select_related = ("recipient",)
    search_fields = ("title", "message", f"recipient__{LOGIN}")
    search_help_text = _("In titles, messages, and the names that recipients log in by.")
    autocomplete_fields = ("recipient",)
    readonly_fields = ("created_at", "read_at")
    ordering = ("-id",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Notification | None = None) -> Any:
        """A notification stays with whom it was sent to: the old recipient's apps keep it."""
        return self.readonly_fields if obj is None else ("recipient", *self.readonly_fields)

    def has_delete_permission(self, request: HttpRequest, obj: Notification | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.announce)
        return [path("announce/", view, name="notifications_announce"), *super().get_urls()]

    def announce(self, request: HttpRequest) -> HttpResponse:
        """To everybody, to staff, or to a role."""
        if not request.user.has_perm(announcements.PERMISSION):
            raise PermissionDenied
        form = announcements.AnnouncementForm(request.POST or None)
        known = form.is_bound and form.is_valid()
        return announcements.page(
            self,
            request,
            form,
            announcements.audience(form.cleaned_data["audience"]) if known else None,
            title=gettext("Announce"),
            then=reverse("admin:notifications_notification_changelist"),
        )
