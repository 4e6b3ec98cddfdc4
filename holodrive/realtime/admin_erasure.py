"""The admin's page on which a user is deleted, or erased where rows of others' conversations would
have to go along.
"""

from time import monotonic
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from holodrive.realtime import personal

_SECONDS = 5.0  # of one request; what is left then is erased by the next
_AT_ONCE = 100


if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin


class ErasesUsers(_Admin):
    """A user admin that offers `erase_user` where Django refuses to delete: messages and
    notifications have no delete permission, so it answered 403 to a superuser.
    """

    delete_confirmation_template = "admin/realtime/delete_or_erase.html"

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Show what would need a permission that is not there as protected, which is a reason to
        read, instead of a 403 once the deletion is confirmed; and what a deletion would leave names
        behind of.
        """
        shown, counts, lacking, protected = super().get_deleted_objects(objs, request)
        named = {
            kind.what
            for user in objs
            for kind in personal.kinds(user).values()
            if kind.leads_to_names and kind.left()
        }
        # Beside rows that it links to, the mere names of their kinds would say nothing.
        return shown, counts, set(), protected or sorted({*map(str, lacking), *named})

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        user = self.get_object(request, unquote(object_id))
        if user is None:
            return super().delete_view(request, object_id, extra_context)
        if request.method == "POST" and "erase" in request.POST:
            return self._erase(request, user)
        can_be_erased = user != request.user and any(
            kind.left() for kind in personal.kinds(user).values()
        )
        context = {"can_be_erased": can_be_erased, **(extra_context or {})}
        return super().delete_view(request, object_id, context)

    def _erase(self, request: HttpRequest, user: Any) -> HttpResponse:
        if not self.has_delete_permission(request, user):
            raise PermissionDenied
        if user == request.user:
            self.message_user(request, _("You cannot erase yourself here."), messages.ERROR)
            return HttpResponseRedirect(request.path)
        if personal.erase(user, by=request.user, at_once=_AT_ONCE, until=monotonic() + _SECONDS):
            self.message_user(request, _("The user was erased."), messages.SUCCESS)
            options = self.opts
            list_of_users = f"admin:{options.app_label}_{options.model_name}_changelist"
            return HttpResponseRedirect(reverse(list_of_users, current_app=self.admin_site.name))
        text = _("There is more to erase than fits in one request: go on until nothing is left.")
        self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(request.path)
