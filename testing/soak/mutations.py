"""Frames with one fault each: generated from the commands' own structs, and a corpus of old
acquaintances. Each comes with the codes that may answer it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from holodrive.realtime.wire import Command

_CHECKED = ("message", "client_message_id")  # texts that refuse NUL
_UNKNOWN = ("", "x", "Ping", "ping ", "connection_established", "message_ack", "__class__", "\x00")
_NOT_OBJECTS = ("null", "true", "0", "-1.5", '""', '"ping"', "[]", '["ping"]', '[{"type":"ping"}]')
_LEADING = ("\ufeff", "\x00", "x", ",", "}", "'", "//", "\u00a0")
_TRAILING = ("x", "}", "{}", ",", "\x00", "]", '"', "null", "\ufeff")
_DEEP = 100_000


class BadFrame(NamedTuple):
    """`endpoint` is that of its consumer; `content` is sent as text or as bytes."""

    endpoint: str
    content: str | bytes
    codes: frozenset[str]


def bad_frames(
    commands: Mapping[str, Sequence[type[Command]]], longest: int
) -> st.SearchStrategy[BadFrame]:
    """A command of an endpoint, valid but for one fault. `longest`: the most bytes of a frame."""
    faulty = {
        name: [_Faults(command, longest) for command in known] for name, known in commands.items()
    }

    @st.composite
    def frames(draw: st.DrawFn) -> BadFrame:
        endpoint = draw(st.sampled_from(sorted(faulty)))
        faults = draw(st.sampled_from(faulty[endpoint]))
        content, code = draw(faults.frames())
        return BadFrame(endpoint, content, frozenset([code]))

    return frames()


class _Faults:
    """What can be wrong with one command."""

    def __init__(self, command: type[Command], longest: int) -> None:
        shape = msgspec.inspect.type_info(command)
        assert isinstance(shape, msgspec.inspect.StructType)
        self._type = shape.tag
        self._fields = shape.fields
        self._longest = longest
        required = [field.encode_name for field in shape.fields if field.required]
        of_objects: list[Callable[[st.DrawFn, dict[str, Any]], str]] = [
            self._without_type,
            self._of_unknown_type,
        ]
        if self._fields:
            of_objects += [self._with_a_wrong_value] * 8
        if required:
            of_objects += [lambda draw, frame: self._without(draw, frame, required)] * 2
        self._of_objects = of_objects
        self._of_texts: list[Callable[[st.DrawFn, str], tuple[str | bytes, str]]] = [
            lambda draw, text: (text[: draw(st.integers(0, len(text) - 1))], "invalid_json"),
            lambda draw, text: (draw(st.sampled_from(_LEADING)) + text, "invalid_json"),
            lambda draw, text: (text + draw(st.sampled_from(_TRAILING)), "invalid_json"),
            lambda draw, text: (draw(st.sampled_from(_NOT_OBJECTS)), "invalid_message"),
            lambda draw, text: (text.encode() + draw(st.binary(max_size=20)), "invalid_message"),
        ]

    @st.composite
    @staticmethod
    def _frames(draw: st.DrawFn, self: "_Faults") -> tuple[str | bytes, str]:
        frame = {"type": self._type} | {
            field.encode_name: draw(_valid(field)) for field in self._fields
        }
        if draw(st.integers(0, 2)):
            code = draw(st.sampled_from(self._of_objects))(draw, frame)
            return json.dumps(frame, ensure_ascii=draw(st.booleans())), code
        fault = draw(st.sampled_from(self._of_texts))
        return fault(draw, json.dumps(frame))

    def frames(self) -> st.SearchStrategy[tuple[str | bytes, str]]:
        return self._frames(self)

    def _without_type(self, draw: st.DrawFn, frame: dict[str, Any]) -> str:
        del frame["type"]
        return "unknown_type"

    def _of_unknown_type(self, draw: st.DrawFn, frame: dict[str, Any]) -> str:
        wrong: Any = st.sampled_from([*_UNKNOWN, None, True, 7, 1.5, [], {}, [self._type]])
        frame["type"] = draw(wrong)
        return "unknown_type"

    def _without(self, draw: st.DrawFn, frame: dict[str, Any], required: Sequence[str]) -> str:
        del frame[draw(st.sampled_from(required))]
        return "invalid_message"

    def _with_a_wrong_value(self, draw: st.DrawFn, frame: dict[str, Any]) -> str:
        field = draw(st.sampled_from(self._fields))
        frame[field.encode_name] = draw(_wrong(field))
        return "invalid_message"


def _kind(field: msgspec.inspect.Field) -> tuple[msgspec.inspect.Type, bool]:
    """The field's type, and whether null is one of its values."""
    if not isinstance(field.type, msgspec.inspect.UnionType):
        return _bare(field.type), False
    (kind,) = (t for t in field.type.types if not isinstance(t, msgspec.inspect.NoneType))
    return _bare(kind), True


def _bare(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The type without what its documents say beside it."""
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


def _valid(field: msgspec.inspect.Field) -> st.SearchStrategy[Any]:
    kind, _ = _kind(field)
    match kind:
        case msgspec.inspect.IntType(ge=least, le=most):
            return st.integers(least or 0, most)
        case msgspec.inspect.StrType():
            return st.sampled_from(["x", "Hello", "ў" * 20, "👍", '"\\'])
        case msgspec.inspect.BoolType():
            return st.booleans()
    raise NotImplementedError(f"{field.name}: say what is valid and what is not")


def _wrong(field: msgspec.inspect.Field) -> st.SearchStrategy[Any]:
    kind, optional = _kind(field)
    values: list[Any] = [[], {}, [1], {"a": 1}, 0.5] + [None] * (not optional)
    match kind:
        case msgspec.inspect.IntType(ge=least, le=most):
            beyond = st.integers(max_value=(least or 0) - 1) | st.integers(
                min_value=(most or 0) + 1
            )
            return st.sampled_from([*values, "1", "", True, False, 1e300, 10**400]) | beyond
        case msgspec.inspect.StrType(min_length=shortest, max_length=longest):
            values += [0, 1, True, "\ud800", "x\udfffy", "\udc00\ud800"]
            values += [""] * bool(shortest) + ["x" * ((longest or 0) + 1)] * bool(longest)
            if field.name in _CHECKED:
                values += ["\x00", "a\x00b"]
            if field.name == "message":
                values += ["", " ", "\n\t", "\u2003\u00a0"]
            return st.sampled_from(values)
        case msgspec.inspect.BoolType():
            return st.sampled_from([*values, 0, 1, "true", "false", ""])
    raise NotImplementedError(f"{field.name}: say what is valid and what is not")


def corpus(endpoints: Iterable[str], longest: int) -> list[BadFrame]:
    """What no schema suggests, for each endpoint."""
    bad: list[tuple[str | bytes, *tuple[str, ...]]] = [
        # Nested: beyond what a recursive parser can do, and far below
        ("[" * _DEEP, "invalid_json", "too_large"),
        ('{"a":' * (longest // 6), "invalid_json"),
        ('{"type":"ping","x":' + "[" * 30_000 + "]" * 30_000 + "}", "invalid_json"),
        ("[" * 500 + "]" * 500, "invalid_message"),
        # Texts that are none
        ('{"type":"\\ud800"}', "unknown_type"),
        ('{"\\udfff":1}', "unknown_type"),
        ('{"type":"ping","x":"\\ud800"}', "invalid_message"),
        ('{"type":"ping","x":"\ud800"}', "invalid_message"),
        ('{"type":"pi\x00ng"}', "invalid_json"),
        ('{"type":"pi\nng"}', "invalid_json"),
        ('{"type":"\\u0000"}', "unknown_type"),
        ('{"type":"\\x70ing"}', "invalid_json"),
        ('{"type":"\\u12"}', "invalid_json"),
        # Numbers that are none, or too much of one
        ('{"type":"ping","x":NaN}', "invalid_json"),
        ('{"type":"ping","x":-Infinity}', "invalid_json"),
        ('{"type":"ping","x":01}', "invalid_json"),
        ('{"type":"ping","x":0x1}', "invalid_json"),
        ('{"type":"ping","x":+1}', "invalid_json"),
        ('{"type":"ping","x":.5}', "invalid_json"),
        ('{"type":"resume","last_seq":' + "9" * 5_000 + "}", "invalid_message", "invalid_json"),
        ('{"type":"resume","last_seq":-1}', "invalid_message"),
        ('{"type":"resume","last_seq":9223372036854775808}', "invalid_message"),
        ('{"type":"resume","last_seq":1.0}', "invalid_message"),
        ('{"type":"resume","last_seq":1e2}', "invalid_message"),
        # Keys that are there twice
        ('{"type":"resume","last_seq":0,"last_seq":"x"}', "invalid_message"),
        ('{"type":"resume","last_seq":"x","last_seq":0}', "invalid_message"),
        ('{"type":"nothing","type":"nothing"}', "unknown_type"),
        # Almost JSON
        ("", "invalid_json"),
        (" \n", "invalid_json"),
        ("\ufeff", "invalid_json"),
        ("ping", "invalid_json"),
        ("{type:'ping'}", "invalid_json"),
        ("{'type':'ping'}", "invalid_json"),
        ('{"type":"ping",}', "invalid_json"),
        ('{"type":"ping"}{"type":"ping"}', "invalid_json"),
        ('{"type":"ping"} // a comment', "invalid_json"),
        ('{"type" "ping"}', "invalid_json"),
        ('{"type":ping}', "invalid_json"),
        ('{"type":True}', "invalid_json"),
        ("42[", "invalid_json"),
        ('2["chat_message","hi"]', "invalid_json"),  # Socket.IO
        ("CONNECT\n\n\x00", "invalid_json"),  # STOMP
        ("GET / HTTP/1.1\r\n\r\n", "invalid_json"),
        ("<ping/>", "invalid_json"),
        # Objects that are none of ours
        ("{}", "unknown_type"),
        ('{"type":null}', "unknown_type"),
        ('{"type":{"type":"ping"}}', "unknown_type"),
        ('{"Type":"ping"}', "unknown_type"),
        ('{"type":"PING"}', "unknown_type"),
        ('{"type":"__init__"}', "unknown_type"),
        ('{"type":"websocket.disconnect"}', "unknown_type"),
        ('{"type":"chat.message","message":"x"}', "unknown_type"),
        ('{"e":[["user.1",1,"x"]],"t":0}', "unknown_type"),  # a wake-up of ours
        ('{"__proto__":{"type":"ping"}}', "unknown_type"),
        # Too much of anything
        ('{"type":"ping","x":"' + "x" * longest + '"}', "too_large"),
        ('{"type":"ping","x":"' + "ў" * (longest // 2) + '"}', "too_large"),
        (" " * (longest + 1), "too_large"),
        ("x" * (2 * longest), "too_large"),
        # Bytes
        (b"", "invalid_message"),
        (b"\x00", "invalid_message"),
        (b'{"type":"ping"}', "invalid_message"),
        (b"\xff\xfe", "invalid_message"),
        (b"\x80\x04N.", "invalid_message"),  # a pickle
        (b"\x81\xa4type\xa4ping", "invalid_message"),  # MessagePack
        (b"x" * (2 * longest), "invalid_message"),
    ]
    return [
        BadFrame(endpoint, content, frozenset(codes))
        for endpoint in endpoints
        for content, *codes in bad
    ]
