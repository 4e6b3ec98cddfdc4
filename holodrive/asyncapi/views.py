"""The document of this installation, as JSON and as a page for people. Public, like the page on
REST: it says what there is, not what anybody may do.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from holodrive.asyncapi.document import document
from holodrive.asyncapi.reading import Reading


@require_safe
def document_json(request: HttpRequest) -> JsonResponse:
    return JsonResponse(_document(request), json_dumps_params={"ensure_ascii": False})


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """One page without a script. The AsyncAPI project's own component (2.9 MB of script) does not
    start without `unsafe-eval`.
    """
    response = render(request, "asyncapi/page.html", {"api": Reading(_document(request))})
    response["Content-Security-Policy"] = "default-src 'self'"
    return response


def _document(request: HttpRequest) -> dict[str, Any]:
    return document(settings.WEBSOCKET_URL, "wss" if request.is_secure() else "ws")
