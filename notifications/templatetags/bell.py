"""What the bell's markup in templates/admin/base_site.html has to know. Reads only."""

from typing import Any

from django import template
from django.conf import settings

from notifications import services

register = template.Library()


@register.simple_tag
def websocket_url() -> str:
    """Host and port that browsers dial for sockets, without a scheme: the page's decides."""
    return str(settings.WEBSOCKET_URL)


@register.simple_tag
def csrf_cookie() -> str:
    """Return the name of the CSRF cookie, or an empty text where scripts cannot read it."""
    is_hidden = settings.CSRF_USE_SESSIONS or settings.CSRF_COOKIE_HTTPONLY
    return "" if is_hidden else str(settings.CSRF_COOKIE_NAME)


@register.simple_tag
def unread_count(user: Any) -> int:
    """One query, so that the badge does not blink from page to page until the socket is open."""
    return services.unread_count(user)
