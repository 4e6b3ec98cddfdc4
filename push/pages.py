"""The admin's service worker, at an address from which it may act for the admin."""

import functools
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

_FILE = Path(__file__).parent / "worker.js"


@functools.cache
def _script() -> str:
    return _FILE.read_text()


@require_safe
def worker(request: HttpRequest) -> HttpResponse:
    """A service worker acts for pages below its own path, unless this header names another."""
    headers = {"Service-Worker-Allowed": reverse("admin:index"), "Cache-Control": "no-cache"}
    return HttpResponse(_script(), content_type="text/javascript; charset=utf-8", headers=headers)
