"""Pages of the admin that notify many at once: who, what, how many; then it is sent in chunks."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.crypto import get_random_string

from notifications.models import Notification

PERMISSION = "notifications.add_notification"
_KEY = "announcement"  # in the session: what was previewed is sent once


class ContentForm(forms.Form):
    title = forms.CharField(max_length=200)
    message = forms.CharField(widget=forms.Textarea(attrs={"rows": 4}), required=False)
    notification_type = forms.CharField(max_length=50, initial="announcement")


class AnnouncementForm(ContentForm):
    audience = forms.ChoiceField(choices=lambda: audiences().items())
    field_order = ("audience",)


def audiences() -> dict[str, str]:
    """Whom an announcement can go to: everybody, staff, and the roles of the user model, if it has
    any.
    """
    model = get_user_model()
    known = {"everybody": "Everybody", "staff": "Staff"}
    role = next((field for field in model._meta.fields if field.name == "role"), None)
    return known | {
        f"role:{value}": str(name) for value, name in (role.flatchoices if role else ())
    }


def audience(name: str) -> Any:
    """The active users of that audience."""
    users = get_user_model()._default_manager.filter(is_active=True)
    if name == "staff":
        return users.filter(is_staff=True)
    return users.filter(role=name.removeprefix("role:")) if name != "everybody" else users


def page(
    model_admin: Any,
    request: HttpRequest,
    form: ContentForm,
    users: Any,
    *,
    title: str,
    then: str,
    hidden: dict[str, Any] | None = None,
) -> HttpResponse:
    """Fill in, see how many get it, send. `users` is None until it is known who; `hidden` are
    fields that each step repeats.
    """
    is_ready = form.is_bound and form.is_valid() and users is not None
    if is_ready and request.POST.get("step") == "send":
        return _send(request, form, users, then)
    key = ""
    if is_ready:
        key = request.session[_KEY] = get_random_string(22)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.model._meta,
        "form": form,
        "count": None if users is None else users.count(),
        "is_ready": is_ready,
        "key": key,
        "hidden": hidden or {},
        "back": then,
    }
    return TemplateResponse(request, "admin/notifications/announce.html", context)


def _send(request: HttpRequest, form: ContentForm, users: Any, then: str) -> HttpResponse:
    key = request.session.pop(_KEY, None)
    if key is None or key != request.POST.get("key"):
        messages.warning(request, "This was sent already, or its preview is outdated.")
        return HttpResponseRedirect(then)
    content = {name: form.cleaned_data[name] for name in ContentForm.base_fields}
    count = Notification.objects.notify(users.values_list("pk", flat=True), **content)
    messages.success(request, f"Notified {count:,} users.")
    return HttpResponseRedirect(then)


class NotifiesUsers(admin.ModelAdmin):  # type: ignore[type-arg]  # it takes none at run time
    """For the admin of a user model: the action "Notify selected users"."""

    actions: Any = ("notify_selected",)

    def has_notify_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(PERMISSION))

    @admin.action(description="Notify selected users", permissions=["notify"])
    def notify_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        step = request.POST.get("step")
        names = ("action", "select_across", ACTION_CHECKBOX_NAME)
        return page(
            self,
            request,
            ContentForm(request.POST if step else None),
            queryset.order_by(),
            title="Notify selected users",
            then=reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"),
            hidden={name: request.POST.getlist(name) for name in names},
        )
