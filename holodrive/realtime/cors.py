"""CORS for REST: pages of other sites may call it if they may open sockets, by the same rule and
the same list (WEBSOCKET_ALLOWED_ORIGINS). django-cors-headers does the rest.
"""

from typing import Any

from corsheaders.middleware import CorsMiddleware
from corsheaders.signals import check_request_enabled
from django.conf import settings
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

from holodrive.realtime.credentials import Scope, header, is_listed

MIDDLEWARE = "corsheaders.middleware.CorsMiddleware"
_REST = "/api/"

_middleware = CorsMiddleware(lambda request: HttpResponse())


@receiver(check_request_enabled, dispatch_uid="holodrive.realtime.cors")
def is_allowed(request: HttpRequest, **kwargs: Any) -> bool:
    """Return whether a page of the request's origin may call REST. The middleware's own list is
    compared letter by letter, so that `:443` and upper case count there.
    """
    origin = request.headers.get("Origin")
    return origin is not None and request.path_info.startswith(_REST) and is_listed(origin)


def is_preflight(scope: Scope) -> bool:
    """Return whether this is a preflight. It shows no credential and has no budget: to a page, its
    refusal is a network error.
    """
    asks = header(scope, b"access-control-request-method") is not None
    return scope.get("method") == "OPTIONS" and asks


def headers(path: str, origin: str | None) -> list[tuple[bytes, bytes]]:
    """Return the headers that the middleware adds, for answers that are made ahead of Django.
    Without them a page sees no 413 or 503, but a network error.
    """
    if origin is None or MIDDLEWARE not in settings.MIDDLEWARE:
        return []
    request = HttpRequest()
    request.path = request.path_info = path
    request.META["HTTP_ORIGIN"] = origin
    bare = HttpResponse()
    known = {*bare.headers}
    answer = _middleware.add_response_headers(request, bare)
    return [
        (name.lower().encode(), value.encode("latin1"))
        for name, value in answer.headers.items()
        if name not in known
    ]
