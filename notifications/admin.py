from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from holodrive.realtime.admin_lookups import StrictLookups
from holodrive.realtime.form_fields import SeenField
from holodrive.realtime.routing import has_perm
from notifications import announcements, oversight
from notifications.models import Notification

LOGIN = get_user_model().USERNAME_FIELD

# What an app has written about its own objects.
_WRITTEN = (
    "title", "message", "notification_type", "related_object_type", "related_object_id", "data"
)  # fmt: skip


class NotificationForm(forms.ModelForm):
    class Meta:
        field_classes: ClassVar = {"title": SeenField, "message": SeenField}

    def clean(self) -> Any:
        """Nobody writes as if a message had come."""
        cleaned = super().clean() or self.cleaned_data
        written = {"notification_type", "related_object_type"} & self.fields.keys()
        names = ("notification_type", "related_object_type")
        if written and oversight.is_of_an_app(*(cleaned.get(name, "") for name in names)):
            raise forms.ValidationError(announcements.taken())
        return cleaned


@admin.register(Notification)
class NotificationAdmin(StrictLookups):
    """Saving here rings the recipient's bell. Deleting is off: no frame tells the apps of it."""

    form = NotificationForm
    list_display = ("title", "recipient", "notification_type", "status", "created_at")
    list_filter = ("status", "notification_type", "created_at")
    list_select_related = ("recipient",)
    search_fields = ("title", "message", f"recipient__{LOGIN}")
    completed_by = (f"recipient__{LOGIN}",)
    search_help_text = _("In titles, messages, and the names that recipients log in by.")
    autocomplete_fields = ("recipient",)
    readonly_fields = ("created_at", "read_at")
    ordering = ("-id",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Notification | None = None) -> Any:
        """A notification stays with whom it was sent to: the old recipient's apps keep it."""
        if obj is None:
            return self.readonly_fields
        written = oversight.is_of_an_app(obj.notification_type, obj.related_object_type)
        return ("recipient", *(_WRITTEN if written else ()), *self.readonly_fields)

    def get_queryset(self, request: HttpRequest) -> Any:
        return oversight.readable_by(request.user, super().get_queryset(request))

    def render_change_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("obj") is not None:
            oversight.looked(request.user, [kwargs["obj"]])
        return super().render_change_form(request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        answer: Any = super().changelist_view(request, extra_context)
        if shown := (getattr(answer, "context_data", None) or {}).get("cl"):
            oversight.looked(request.user, shown.result_list)
        return answer  # type: ignore[no-any-return]

    def has_delete_permission(self, request: HttpRequest, obj: Notification | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.announce)
        return [path("announce/", view, name="notifications_announce"), *super().get_urls()]

    def announce(self, request: HttpRequest) -> HttpResponse:
        """To everybody, to staff, or to a role."""
        if not has_perm(request.user, announcements.PERMISSION):
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
