from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest

from holodrive.realtime.admin_lookups import StrictLookups
from push.models import Device, Preference, QuietHours

LOGIN = get_user_model().USERNAME_FIELD


@admin.register(Device)
class DeviceAdmin(StrictLookups):
    """To see, and to take away; only an app can register itself. Tokens are not shown: who has one
    can push there.
    """

    list_display = ("user", "platform", "name", "created_at", "renewed_at")
    list_filter = ("platform",)
    list_select_related = ("user",)
    search_fields = (f"user__{LOGIN}", "name")
    fields = ("user", "platform", "name", "created_at", "renewed_at")
    ordering = ("-id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        return False


@admin.register(Preference)
class PreferenceAdmin(StrictLookups):
    list_display = ("user", "category", "channel", "is_enabled")
    list_filter = ("channel", "is_enabled")
    list_select_related = ("user",)
    search_fields = (f"user__{LOGIN}", "category")
    autocomplete_fields = ("user",)


@admin.register(QuietHours)
class QuietHoursAdmin(StrictLookups):
    list_display = ("user", "start", "end", "time_zone")
    list_select_related = ("user",)
    search_fields = (f"user__{LOGIN}",)
    autocomplete_fields = ("user",)
