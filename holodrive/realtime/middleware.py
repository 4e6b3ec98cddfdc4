"""Django middleware of the engine."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import NoReverseMatch, reverse
from django.utils.deprecation import MiddlewareMixin

from holodrive.realtime.answers import RETRY_SECONDS
from holodrive.realtime.database import FAULTS, note, unavailable
from holodrive.realtime.wire import RealtimeError


class Refusals(MiddlewareMixin):
    """What ordinary views (the admin's login is one) are refused by is an answer, and no error: too
    many passwords at once are 429 there too, and a fault of the database is 503 in the admin.
    """

    def process_exception(self, request: HttpRequest, problem: Exception) -> Any:
        if isinstance(problem, FAULTS) and _is_of_admin(request) and not settings.DEBUG:
            problem = unavailable(problem)
        if not isinstance(problem, RealtimeError):
            return None
        if request.path.startswith("/api/"):
            shown: dict[str, Any] = {"code": problem.code, "message": problem.message}
            if problem.retryable:
                shown["retryable"] = True
            response: HttpResponse = JsonResponse(shown, status=problem.status)
        else:
            response = HttpResponse(f"{problem.message}\n", "text/plain", problem.status)
        if problem.retryable:
            response["Retry-After"] = str(RETRY_SECONDS)
        return response

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Let no page of the admin be stored: Django says so of most, but not of the form for a new
        password, nor of errors.

        Answer although SESSION_SAVE_EVERY_REQUEST cannot move a session's end: Django would say
        that it was deleted, by 400, to whoever only reads.
        """
        if _is_of_admin(request):
            response.headers.setdefault("Cache-Control", "no-store")
        session: Any = getattr(request, "session", None)
        if settings.SESSION_SAVE_EVERY_REQUEST and session is not None and not session.modified:
            session.save = partial(_save_if_possible, session.save)
        return response


def _save_if_possible(save: Callable[[], None]) -> None:
    try:
        save()
    except UpdateError as problem:
        if not isinstance(problem.__context__, FAULTS):
            raise
        note(problem.__context__)


def _is_of_admin(request: HttpRequest) -> bool:
    """Return whether this page is below the admin's index. Errors of a project's own pages are
    that project's.
    """
    try:
        return request.path.startswith(reverse("admin:index"))
    except NoReverseMatch:
        return False
