"""Pages of the admin that notify many at once: who, what, how many; then it is sent in parts, each
a request of its own, so that none takes long, the page says how far it is, and a restart loses
nothing.
"""

import logging
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.base import UpdateError
from django.db import DatabaseError, IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.crypto import get_random_string
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from holodrive.realtime.faults import FAULTS
from holodrive.realtime.form_fields import SeenField
from holodrive.realtime.routing import has_perm
from notifications import oversight
from notifications.models import CHUNK, Notification, SentPart

logger = logging.getLogger("notifications.announcements")
PERMISSION = "notifications.add_notification"
PART = 4 * CHUNK  # recipients of one request
# In the session: the key of the next part, the id that was sent to last, how many so far and in
# all. A key is good for one part, so nothing is sent twice.
_PROGRESS = "announcement"


def taken() -> str:
    return _("Choose another type: an app sends these itself.")


class ContentForm(forms.Form):
    title = SeenField(max_length=200, label=gettext_lazy("Title"))
    message = SeenField(
        widget=forms.Textarea(attrs={"rows": 4}), required=False, label=gettext_lazy("Message")
    )
    notification_type = forms.CharField(
        max_length=50, initial="announcement", label=gettext_lazy("Notification type")
    )

    def clean_notification_type(self) -> str:
        name: str = self.cleaned_data["notification_type"]
        if oversight.is_of_an_app(name):
            raise forms.ValidationError(taken())
        return name


class AnnouncementForm(ContentForm):
    audience = forms.ChoiceField(
        choices=lambda: audiences().items(), label=gettext_lazy("Audience")
    )
    field_order = ("audience",)


def audiences() -> dict[str, str]:
    """Whom an announcement can go to: everybody, staff, and the roles of the user model, if it has
    any.
    """
    model = get_user_model()
    known = {"everybody": _("Everybody"), "staff": _("Staff")}
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
    progress = None
    if is_ready and request.POST.get("step") == "send":
        progress = _send_part(request, form, users)
        if progress is None:
            return HttpResponseRedirect(then)
    count = users.count() if users is not None and progress is None else None
    if is_ready and progress is None:
        progress = {"key": _new_key(), "after": None, "sent": 0, "of": count}
        _remember(request, progress)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.model._meta,
        "form": form,
        "shown": _shown(form) if is_ready else {},
        "count": count,
        "is_ready": is_ready,
        "progress": progress,
        "key": progress["key"] if progress else "",
        "hidden": hidden or {},
        "back": then,
    }
    return TemplateResponse(request, "admin/notifications/announce.html", context)


def _shown(form: forms.Form) -> dict[str, str]:
    """What was filled in, by label; of a choice what the page called it, not its value."""
    names = {
        name: dict(getattr(field.widget, "choices", ())) for name, field in form.fields.items()
    }
    return {
        str(field.label): str(names[field.name].get(field.value(), field.value()))
        for field in form.visible_fields()
    }


def _remember(request: HttpRequest, progress: dict[str, Any]) -> None:
    """Save it here: where nothing can be written, Django's middleware would say that the session
    was deleted.
    """
    request.session[_PROGRESS] = progress
    try:
        request.session.save()
    except UpdateError as problem:
        fault = problem.__context__
        if isinstance(fault, FAULTS):
            raise fault from fault.__cause__  # by which it is classified


def _new_key() -> str:
    return get_random_string(22)


def _claims(key: str) -> bool:
    """Whether this request is the one to send that part. (The session alone does not say: two
    requests at the same moment read the same.)
    """
    try:
        with transaction.atomic():
            SentPart.objects.create(key=key)
    except IntegrityError:
        return False
    return True


def _send_part(request: HttpRequest, form: ContentForm, users: Any) -> dict[str, Any] | None:
    """Send the next part; None when that was the last."""
    progress: dict[str, Any] | None = request.session.get(_PROGRESS)
    is_next = progress is not None and progress["key"] == request.POST.get("key")
    if progress is None or not is_next or not _claims(progress["key"]):
        messages.warning(request, _("This was sent already, or its preview is outdated."))
        return None
    del request.session[_PROGRESS]
    content = {name: form.cleaned_data[name] for name in ContentForm.base_fields}
    rest = users.order_by("pk")
    if progress["after"] is not None:
        rest = rest.filter(pk__gt=progress["after"])
    ids = list(rest.values_list("pk", flat=True)[:PART])
    is_last, is_stopped = len(ids) < PART, False
    try:
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            Notification.objects.notify(chunk, **content)
            progress["after"], progress["sent"] = chunk[-1], progress["sent"] + len(chunk)
    except DatabaseError as problem:  # what was sent is: it goes on behind it
        logger.warning("An announcement stopped after %s: %s", progress["sent"], problem)
        is_stopped = True
    sent = progress["sent"]
    if is_last and not is_stopped:
        text = ngettext("Notified %(count)s user.", "Notified %(count)s users.", sent)
        messages.success(request, text % {"count": f"{sent:,}"})
        return None
    progress["key"] = _new_key()
    _remember(request, progress)
    return progress | {"is_stopped": is_stopped}


class NotifiesUsers(admin.ModelAdmin):  # type: ignore[type-arg]  # it takes none at run time
    """For the admin of a user model: the action "Notify selected users"."""

    actions: Any = ("notify_selected",)

    def has_notify_permission(self, request: HttpRequest) -> bool:
        return has_perm(request.user, PERMISSION)

    @admin.action(description=gettext_lazy("Notify selected users"), permissions=["notify"])
    def notify_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        step = request.POST.get("step")
        names = ("action", "select_across", ACTION_CHECKBOX_NAME)
        return page(
            self,
            request,
            ContentForm(request.POST if step else None),
            queryset.order_by(),
            title=_("Notify selected users"),
            then=reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"),
            hidden={name: request.POST.getlist(name) for name in names},
        )
