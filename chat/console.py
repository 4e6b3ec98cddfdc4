"""The page on which support answers: /admin/chat/console/. It is a shell of fixed size; what is on
it comes over REST and the sockets, under the rules that hold there.
"""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from chat import events
from chat.models import ADD_NOTES, ASSIGN, CHANGE, REPLY, UNMASK, VIEW_NOTES, is_support, may_reply
from holodrive.realtime.routing import has_perm
from holodrive.realtime.wire import readable

# Which parts of the page are shown. The server asks again whenever one is used.
_SHOWN_BY_PERMISSION = (CHANGE, ASSIGN, VIEW_NOTES, ADD_NOTES, UNMASK)


def _page(request: HttpRequest) -> HttpResponse:
    """Raises PermissionDenied to staff that may not view conversations."""
    if not is_support(request.user):
        raise PermissionDenied
    context = {
        **admin.site.each_context(request),
        "title": _("Support console"),
        "is_nav_sidebar_enabled": False,  # its place is the conversations'
        "console_settings": _settings(request),
    }
    return TemplateResponse(request, "admin/chat/console.html", context)


page = admin.site.admin_view(_page)


def _settings(request: HttpRequest) -> dict[str, Any]:
    """What the scripts of the page cannot know of themselves."""
    user: Any = request.user
    permissions = [name for name in _SHOWN_BY_PERMISSION if has_perm(user, name)]
    return {
        "api": reverse("conversations").removesuffix("conversations/"),
        "websocket_url": settings.WEBSOCKET_URL,
        "me": {"user_id": readable(user.pk), "name": events.name_of(user)},
        "permissions": [*permissions, REPLY] if may_reply(user) else permissions,
        "longest_message": events.LONGEST_MESSAGE,
        "change_url": reverse("admin:chat_conversation_change", args=("0",)),
    }
