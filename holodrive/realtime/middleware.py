"""Django middleware of the engine."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.deprecation import MiddlewareMixin

from holodrive.realtime.answers import RETRY_SECONDS
from holodrive.realtime.wire import RealtimeError


class Refusals(MiddlewareMixin):
    """What ordinary views (the admin's login is one) are refused by is an answer, and no error: too
    many passwords at once are 429 there too.
    """

    def process_exception(self, request: HttpRequest, problem: Exception) -> Any:
        if not isinstance(problem, RealtimeError):
            return None
        if request.path.startswith("/api/"):
            shown = {"code": problem.code, "message": problem.message}
            response: HttpResponse = JsonResponse(shown, status=problem.status)
        else:
            response = HttpResponse(f"{problem.message}\n", "text/plain", problem.status)
        if problem.retryable:
            response["Retry-After"] = str(RETRY_SECONDS)
        return response
