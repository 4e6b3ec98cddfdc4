"""What the REST views of all apps share: errors in one shape, bodies read by the wire structs,
pages by id.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from django.http import Http404
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler

from holodrive.realtime.wire import MAX_INTEGER, ErrorCode, InvalidMessage, RealtimeError

S = TypeVar("S", bound=msgspec.Struct)
_LIMIT, _MOST = 50, 100
_CODES = {
    400: ErrorCode.INVALID_MESSAGE,
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    415: ErrorCode.INVALID_MESSAGE,
}


def error_response(problem: Exception, context: dict[str, Any]) -> Response | None:
    """Every error is `{"code", "message"}`, with the codes of the sockets' `error` frames."""
    if isinstance(problem, RealtimeError):
        return Response({"code": problem.code, "message": problem.message}, status=problem.status)
    response = exception_handler(problem, context)
    if response is None:
        return None
    code: str = _CODES.get(response.status_code, "error")
    if isinstance(problem, exceptions.ParseError):
        code = ErrorCode.INVALID_JSON
    response.data = {"code": code, "message": _sentence(problem, response.data)}
    return response


def _sentence(problem: Exception, content: Any) -> str:
    if isinstance(problem, Http404):
        return "Not found."
    if isinstance(content, dict) and "detail" in content:
        return str(content["detail"])
    if isinstance(content, dict):
        return " ".join(f"{field}: {' '.join(map(str, texts))}" for field, texts in content.items())
    return str(content)


def read_body(request: Request, struct: type[S]) -> S:
    """The request's JSON as the wire struct: the same limits as on the socket. Raises
    InvalidMessage.
    """
    try:
        content = dict(request.data)
    except (TypeError, ValueError):
        raise InvalidMessage("The body is a JSON object.") from None
    content["type"] = struct.__struct_config__.tag  # the URL says it here
    try:
        return msgspec.convert(content, struct)
    except msgspec.ValidationError as problem:
        raise InvalidMessage(str(problem)) from None


def page(request: Request, rows: Any, item: Callable[[Any], Any], last_seq: int) -> Response:
    """`{results, has_more, last_seq}`: ascending by id, between `after_id` and `before_id`
    (exclusive), at most `limit` (50, at most 100); without a bound the latest. `has_more`: further
    on in the direction read.
    """
    after, before = _number(request, "after_id"), _number(request, "before_id")
    limit = min(_number(request, "limit") or _LIMIT, _MOST)
    if after is not None:
        rows = rows.filter(id__gt=after)
    if before is not None:
        rows = rows.filter(id__lt=before)
    forward = after is not None
    found = list(rows.order_by("id" if forward else "-id")[: limit + 1])
    has_more = len(found) > limit
    found = found[:limit] if forward else found[:limit][::-1]
    results = [msgspec.to_builtins(item(row)) for row in found]
    return Response({"results": results, "has_more": has_more, "last_seq": last_seq})


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text[:20]) > MAX_INTEGER:
        raise InvalidMessage(f"{name} must be a whole number from 0 to 2^63-1.")
    return int(text)
