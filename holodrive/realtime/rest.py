"""What the REST views of all apps share: errors in one shape, bodies read by the wire structs,
pages by id.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.urls import resolve
from django.views import defaults
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler, set_rollback
from rest_framework_simplejwt.exceptions import ExpiredTokenError

from holodrive.realtime import routing
from holodrive.realtime.answers import CODES, RETRY_SECONDS
from holodrive.realtime.database import FAULTS, unavailable
from holodrive.realtime.parsing import JsonParser
from holodrive.realtime.rest_budget import ROWS_OF_A_UNIT, SEARCH, WithinBudget, charge
from holodrive.realtime.tokens import TokenAuthentication
from holodrive.realtime.wire import (
    AnotherUser,
    ErrorCode,
    InvalidMessage,
    NotFound,
    RealtimeError,
    TooLarge,
    checked_text,
    readable,
    whole_number,
)

S = TypeVar("S", bound=msgspec.Struct)
R = TypeVar("R", bound=HttpResponseBase)
EXPECTED_USER = "X-HoloDrive-User"
_LIMIT, _MOST = 50, 100


def error_response(problem: Exception, context: dict[str, Any]) -> Response | None:
    """Every error is `{"code", "message"}`, with the codes of the sockets' `error` frames."""
    if isinstance(problem, FAULTS):
        set_rollback()
        problem = unavailable(problem)
    if isinstance(problem, RequestDataTooBig):
        problem = TooLarge("The body is too large.")
    if isinstance(problem, SuspiciousOperation):  # TooManyFieldsSent is the one that clients meet
        problem = InvalidMessage("The request has too many parameters, or a malformed one.")
    if isinstance(problem, RealtimeError):
        return _refusal(problem)
    response = exception_handler(problem, context)
    if response is None:
        return None
    code = CODES.get(response.status_code, ErrorCode.INTERNAL)
    if isinstance(problem, exceptions.ParseError):
        code = ErrorCode.INVALID_JSON
    elif isinstance(problem.__cause__, ExpiredTokenError):
        code = ErrorCode.TOKEN_EXPIRED
    # A plain string: the YAML renderer of the schema page has no form for an enum.
    response.data = {"code": code.value, "message": _sentence(problem, response.data)}
    return response


def _refusal(problem: RealtimeError) -> Response:
    shown = {"code": problem.code.value, "message": problem.message, **problem.details}
    if not problem.retryable:
        return Response(shown, status=problem.status)
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return Response(shown | {"retryable": True}, status=problem.status, headers=headers)


def _sentence(problem: Exception, content: Any) -> str:
    if isinstance(problem, Http404):
        return "Not found."
    if isinstance(content, dict) and "detail" in content:
        return str(content["detail"])
    if isinstance(content, dict):
        return " ".join(f"{field}: {' '.join(map(str, texts))}" for field, texts in content.items())
    return str(content)


def never_stored(response: R) -> R:
    """Say that nobody keeps a copy: neither a browser's cache nor a proxy's."""
    response.headers.setdefault("Cache-Control", "no-store")
    return response


class NeverStored(APIView):
    """A view of which no answer is stored, whatever its status; for views that are not a `View`."""

    def dispatch(self, *args: Any, **kwargs: Any) -> Any:
        with routing.fresh_reads():
            return super().dispatch(*args, **kwargs)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        return never_stored(super().finalize_response(request, response, *args, **kwargs))


class View(NeverStored):
    """The base of our views: who is let in, and how errors look, whatever REST_FRAMEWORK says."""

    authentication_classes: Any = (TokenAuthentication, SessionAuthentication)
    permission_classes: Any = (IsAuthenticated,)
    throttle_classes: Any = (WithinBudget,)
    renderer_classes = (JSONRenderer,)
    parser_classes = (JsonParser,)

    def perform_authentication(self, request: Request) -> None:
        """Refuse a request of a page that outlived its login: by now its cookie is another user's,
        so it would show what is not its user's, and write in a wrong name. Raises AnotherUser.
        """
        super().perform_authentication(request)
        expected = request.headers.get(EXPECTED_USER)
        if expected and request.user.is_authenticated and str(request.user.pk) != expected:
            raise AnotherUser("This page is another user's than the login: load it again.")

    def get_exception_handler(self) -> Any:
        return error_response


@extend_schema(exclude=True)
class UnknownPath(View):
    """What the other patterns under /api/ have left: says so in the shape of all errors."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if getattr(resolve(f"{request.path_info}/").func, "cls", None) is not type(self):
            raise NotFound("There is no such path: it lacks the slash at its end.")
        raise NotFound("There is no such path.")


def server_error(request: HttpRequest) -> Any:
    """Django's handler of what nobody caught (and has logged)."""
    if not request.path.startswith("/api/"):
        return defaults.server_error(request)
    message = "The server could not do this: try again."
    return never_stored(JsonResponse({"code": ErrorCode.INTERNAL, "message": message}, status=500))


def read_body(request: Request, struct: type[S]) -> S:
    """The request's JSON as the struct: the same limits as on the socket. Raises InvalidMessage."""
    if not isinstance(request.data, dict):
        raise InvalidMessage("The body is a JSON object.")
    content = dict(request.data)
    if struct.__struct_config__.tag is not None:
        content["type"] = struct.__struct_config__.tag  # the URL says it here
    try:
        return msgspec.convert(content, struct)
    except msgspec.ValidationError as problem:
        raise InvalidMessage(str(problem)) from None


def answer(content: Any, status: int = 200, **headers: str) -> Response:
    """A struct (or a list of them) as the response."""
    return Response(readable(msgspec.to_builtins(content)), status=status, headers=headers)


class Page(msgspec.Struct, kw_only=True):
    """The base of a page's shape: `results` is the subclass's. `has_more`: further on in the
    direction read. `last_seq`: the head of the stream, read before the rows.
    """

    has_more: bool
    last_seq: int


def page(
    request: Request, rows: Any, item: Callable[[Any], Any], last_seq: int | None = None
) -> Response:
    """`{results, has_more, last_seq}`: ascending by id, between `after_id` and `before_id`
    (exclusive), at most `limit` (50, at most 100); without a bound the latest. Without a
    `last_seq` it is left out: the rows are not those of one stream.
    """
    after, before = _number(request, "after_id"), _number(request, "before_id")
    limit = page_limit(request)
    if after is not None:
        rows = rows.filter(id__gt=after)
    if before is not None:
        rows = rows.filter(id__lt=before)
    forward = after is not None
    found = list(rows.order_by("id" if forward else "-id")[: limit + 1])
    charge(request, len(found) / ROWS_OF_A_UNIT)
    has_more = len(found) > limit
    found = found[:limit] if forward else found[:limit][::-1]
    shown: dict[str, Any] = {"results": [item(row) for row in found], "has_more": has_more}
    return answer(shown if last_seq is None else shown | {"last_seq": last_seq})


def page_limit(request: Request) -> int:
    return min(_number(request, "limit") or _LIMIT, _MOST)


def query_text(request: Request, name: str, *, shortest: int, longest: int) -> str:
    """A parameter that is searched for. Raises InvalidMessage."""
    text = request.query_params.get(name, "").strip()
    try:
        checked_text(text)
    except ValueError as problem:
        raise InvalidMessage(f"{name}: {problem}") from None
    if not shortest <= len(text) <= longest:
        raise InvalidMessage(f"{name} must have {shortest} to {longest} characters.")
    charge(request, SEARCH)
    return text


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    number = whole_number(text)
    if number is None:
        raise InvalidMessage(f"{name} must be a whole number from 0 to 2^63-1.")
    return number
