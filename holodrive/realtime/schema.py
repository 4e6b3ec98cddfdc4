"""The OpenAPI document: msgspec structs become its components, so shapes are written once."""

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import Direction, OpenApiParameter

from holodrive.realtime.wire import MAX_INTEGER, Command, ErrorCode

_COMPONENT = "#/components/schemas/{name}"


class Problem(msgspec.Struct, kw_only=True):
    """Every error: `code` is for programs (the sockets' codes), `message` for people."""

    code: ErrorCode
    message: str
    retryable: bool | msgspec.UnsetType = msgspec.UNSET


class StructExtension(OpenApiSerializerExtension):
    """A msgspec struct as a component, with the structs that it is made of. `more_schema` of a
    struct are rules about several of its fields.
    """

    target_class = msgspec.Struct
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: Direction) -> str:
        name: str = self.target.__name__
        return name

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        _, parts = msgspec.json.schema_components([self.target], ref_template=_COMPONENT)
        parts[self.target.__name__] |= getattr(self.target, "more_schema", {})
        if issubclass(self.target, Command):
            _forget_type(parts[self.target.__name__])
        own: dict[str, Any] = parts.pop(self.target.__name__)
        for hint in get_type_hints(self.target).values():
            for struct in _structs(hint):
                resolve: Any = auto_schema.resolve_serializer
                resolve(struct, direction)
        for name, schema in parts.items():
            if "enum" in schema:  # the others are structs, and known by now
                auto_schema.registry.register_on_missing(
                    ResolvedComponent(name, ResolvedComponent.SCHEMA, schema=schema, object=name)
                )
        return own


def _structs(hint: Any) -> Iterator[type[msgspec.Struct]]:
    """The structs that a type is made of."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for part in get_args(hint):
        yield from _structs(part)


def _forget_type(schema: dict[str, Any]) -> None:
    """On a socket a frame says its type, over REST the URL does."""
    schema["properties"].pop("type")
    schema["required"] = [name for name in schema["required"] if name != "type"]


class TokenScheme(SimpleJWTScheme):
    target_class = "holodrive.realtime.tokens.TokenAuthentication"
    name = "token"


class Schema(AutoSchema):
    """Beside its own answers every operation has the one shape of errors."""

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        problem = self._get_response_for_code(Problem, "default")
        return bodies | {"default": problem | {"description": "An error."}}


_NUMBER: Any = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}
_CURSOR: Any = {"type": "string", "pattern": "^([01]_)?[0-9]{0,18}_[0-9]{1,18}$"}
_SOUGHT: Any = {
    "type": "string",
    "minLength": 2,
    "maxLength": 200,
    "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*[^\s\u0000][^\u0000]*$",
}


def _query(name: str, kind: Any, description: str, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description, **more)


LIMIT = _query("limit", _NUMBER, "Items on the page: 50 unless told, at most 100.")
PAGE = [
    _query("after_id", _NUMBER, "Only ids above this one, the oldest first in line."),
    _query("before_id", _NUMBER, "Only ids below this one."),
    LIMIT,
]
CURSOR = [_query("cursor", _CURSOR, "The `next` of the page before."), LIMIT]
CONVERSATION = _query("conversation", _NUMBER, "Of this conversation.")
QUEUE = [
    _query(
        "filter",
        str,
        "Support only: of the open, pending and snoozed ones `mine`, `unassigned` or `all`; or "
        "`closed` (and resolved).",
        enum=["mine", "unassigned", "all", "closed"],
    ),
    _query("kind", str, "Support only.", enum=["support", "trip"]),
    _query("q", _SOUGHT, "Support only: in names, subjects and messages; 2 to 200 characters."),
]
SEARCH = [_query("q", _SOUGHT, "The text to find, 2 to 200 characters.", required=True), *PAGE]
