from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest

from notifications.models import Notification

LOGIN = get_user_model().USERNAME_FIELD


@admin.register(Notification)
class NotificationAdmin(admin.ModelAdmin):
    """Saving here rings the recipient's bell. Deleting is off: no frame tells the apps of it."""

    list_display = ("title", "recipient", "notification_type", "status", "created_at")
    list_filter = ("status", "notification_type")
    list_select_related = ("recipient",)
    search_fields = ("title", f"recipient__{LOGIN}")
    autocomplete_fields = ("recipient",)
    readonly_fields = ("created_at", "read_at")
    ordering = ("-id",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Notification | None = None) -> Any:
        """A notification stays with whom it was sent to: the old recipient's apps keep it."""
        return self.readonly_fields if obj is None else ("recipient", *self.readonly_fields)

    def has_delete_permission(self, request: HttpRequest, obj: Notification | None = None) -> bool:
        return False
