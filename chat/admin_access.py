"""Who gets which page of the admin, and what is written down about it."""

from typing import Any, ClassVar

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from chat import audit
from chat.models import Conversation, is_support
from holodrive.realtime.admin_lookups import StrictLookups
from holodrive.realtime.wire import Forbidden, RealtimeError


class ForSupport(StrictLookups):
    """Being of support comes on top of the permissions of the model. What a service refuses is
    refused here.
    """

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_support(request.user) and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_support(request.user) and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_support(request.user) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_support(request.user) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_support(request.user) and super().has_delete_permission(request, obj)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except Forbidden as refusal:
            raise PermissionDenied(refusal.message) from None
        except RealtimeError as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class Watched(ForSupport):
    """Who sees here what was said has looked at the conversation, as in the console."""

    look_at_list: ClassVar[Any] = staticmethod(audit.looked)

    def render_change_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("obj") is not None:
            audit.looked(request.user, conversation_of(kwargs["obj"]))
        return super().render_change_form(request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        answer: Any = super().changelist_view(request, extra_context)
        if shown := (getattr(answer, "context_data", None) or {}).get("cl"):
            self.look_at_list(request.user, *map(conversation_of, shown.result_list))
        return answer  # type: ignore[no-any-return]


def conversation_of(row: Any) -> int:
    id: int = row.pk if isinstance(row, Conversation) else row.conversation_id
    return id


class ReadOnlyAdmin(StrictLookups):
    """Not even a superuser changes these."""

    ordering = ("-id",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
