from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import Throttled

from holodrive.accounts.models import User
from holodrive.accounts.throttle import login_attempt
from holodrive.realtime import log
from holodrive.realtime.admin_erasure import ErasesUsers
from holodrive.realtime.admin_lookups import StrictLookups
from notifications.announcements import NotifiesUsers


class LoginForm(AdminAuthenticationForm):
    """Failed logins count as over REST."""

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username")
        if self.request is None or not username or not self.cleaned_data.get("password"):
            return super().clean()  # checks no password
        try:
            with login_attempt(self.request, username, failure=ValidationError):
                return super().clean()
        except Throttled as refusal:
            raise ValidationError(str(refusal.detail), code="rate_limited") from None


admin.site.login_form = LoginForm


@admin.register(User)
class UserAdmin(StrictLookups, NotifiesUsers, ErasesUsers, StockUserAdmin):
    list_display = ("username", "first_name", "last_name", "role", "is_staff", "is_active")
    list_filter = ("role", "is_staff", "is_active")
    fieldsets: ClassVar[Any] = (
        *(StockUserAdmin.fieldsets or ()),
        ("HoloDrive", {"fields": ("role",)}),
    )
    add_fieldsets: Any = (
        *StockUserAdmin.add_fieldsets,
        ("HoloDrive", {"fields": ("role",)}),
    )

    # A deletion takes the streams of the user's conversations one by one, as their rows come: it
    # may lose a deadlock to who writes there.

    @log.retrying
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().delete_view(request, object_id, extra_context)

    @log.retrying
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        super().delete_queryset(request, queryset)  # of the action "Delete selected users"


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(StrictLookups, StockGroupAdmin):
    """Django's own, with the lookups of ours."""
