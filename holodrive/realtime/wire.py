"""The bases of every wire frame: codes, the error tree, and the JSON codec. No I/O, no models.

A frame that a client sends is a `Command`, one that it receives is a `Frame`, and a frame that is
kept in a stream's log (and so carries `seq`) is an `Event`.
"""

import json
import re
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec

MAX_INTEGER = 2**63 - 1  # the largest BIGINT; msgspec's own ints are unbounded
# Of text fields in the documents: what `checked_text`, and a rule against blank texts, refuse.
ANY_TEXT = {"pattern": r"^[^\u0000]*$"}
NOT_BLANK = {"pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$", "minLength": 1}
_MOST_DIGITS = len(str(MAX_INTEGER))  # Python refuses to read more than 4,300
_SAFE_INTEGER = 2**53 - 1  # JavaScript's Number.MAX_SAFE_INTEGER (RFC 8259, 6)
_LONG_NUMBER = re.compile(r"[0-9]{16}")  # the digits of the smallest that is not safe
Identifier = Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)]
Sequence = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
# An id of the host project, such as a user's: as text where JavaScript would round the number.
HostIdentifier = (
    Identifier | Annotated[str, msgspec.Meta(pattern="^[0-9]*[1-9][0-9]*$", max_length=19)]
)


class CloseCode(IntEnum):
    """Why the server closes a socket.

    | code | when | the client should |
    |---|---|---|
    | 4400 | too many bad frames | not retry |
    | 4401 | no, bad or expired credentials | get a new token first |
    | 4403 | a cookie without an Origin | not retry |
    | 4404 | no such conversation for this user | not retry |
    | 4408 | too slow to read, or the log was pruned under it | resume at once |
    | 1012 | the server restarts | resume after the `delay_ms` of the `reconnect` before it |
    | 1013 | the database did not answer while the socket was opened | back off, then resume |
    | 4409 | too many sockets of this user | back off |
    | 4429 | ten seconds over the frame limit; too many connects | back off |
    """

    BAD_FRAMES = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    TOO_SLOW = 4408
    TOO_MANY_SOCKETS = 4409
    RATE_LIMITED = 4429
    TRY_LATER = 1013  # as 1012, of that registry
    RESTART = 1012  # "Service Restart" of the registry that RFC 6455 (11.7) began

    @property
    def reason(self) -> str:
        """What stands in the close frame beside the code, for people."""
        return self.name.lower().replace("_", " ")


class ErrorCode(StrEnum):
    """What an `error` frame (and an error over REST) says in its `code`."""

    INVALID_JSON = "invalid_json"
    INVALID_MESSAGE = "invalid_message"
    UNKNOWN_TYPE = "unknown_type"
    TOO_LARGE = "too_large"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONVERSATION_CLOSED = "conversation_closed"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    ALREADY_CLAIMED = "already_claimed"
    UNAUTHENTICATED = "unauthenticated"
    ANOTHER_USER = "another_user"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    RATE_LIMITED = "rate_limited"
    TOO_MANY_SOCKETS = "too_many_sockets"
    UNAVAILABLE = "unavailable"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INTERNAL = "internal"


class RealtimeError(Exception):
    """Something the client is told about: its class gives the wire code and the HTTP status, and
    `details` are fields beside them over REST.
    """

    code = ErrorCode.INTERNAL
    status = 500
    retryable = False  # the same again, a little later, may well succeed

    def __init__(self, message: str, ref: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.ref = ref
        self.details: dict[str, Any] = {}


class Unavailable(RealtimeError):
    code, status, retryable = ErrorCode.UNAVAILABLE, 503, True


class InvalidJson(RealtimeError):
    code, status = ErrorCode.INVALID_JSON, 400


class InvalidMessage(RealtimeError):
    code, status = ErrorCode.INVALID_MESSAGE, 400


class UnknownType(RealtimeError):
    code, status = ErrorCode.UNKNOWN_TYPE, 400


class TooLarge(RealtimeError):
    code, status = ErrorCode.TOO_LARGE, 413


class Forbidden(RealtimeError):
    code, status = ErrorCode.FORBIDDEN, 403


class NotFound(RealtimeError):
    code, status = ErrorCode.NOT_FOUND, 404


class ConversationClosed(RealtimeError):
    code, status = ErrorCode.CONVERSATION_CLOSED, 409


class IdempotencyConflict(RealtimeError):
    code, status = ErrorCode.IDEMPOTENCY_CONFLICT, 409


class Unauthenticated(RealtimeError):
    code, status = ErrorCode.UNAUTHENTICATED, 401


class TokenExpired(Unauthenticated):
    code = ErrorCode.TOKEN_EXPIRED


class AnotherUser(RealtimeError):
    code, status = ErrorCode.ANOTHER_USER, 412


class RateLimited(RealtimeError):
    code, status, retryable = ErrorCode.RATE_LIMITED, 429, True


class TooManySockets(RealtimeError):
    code, status = ErrorCode.TOO_MANY_SOCKETS, 429


class Frame(msgspec.Struct, kw_only=True, tag_field="type"):
    """A frame for clients; `type` is the subclass's tag."""


class Event(Frame, kw_only=True):
    """A frame that is kept in its stream's log: `seq` is its place there, counted from 1, without
    holes.
    """

    seq: int = 0


class Removal(Event, kw_only=True):
    """The base of the event by which a user's right to be in its stream ends. Behind it nothing of
    the stream reaches them, unless they may be there for another reason (support may).
    """

    user_id: int


_REMOVAL = '{"type":"participant_removed",'  # so does msgspec begin it


def removed_user(text: str) -> int:
    """The user id of a finished frame that is a `Removal`; of any other, 0."""
    if not text.startswith(_REMOVAL):
        return 0
    return int(msgspec.json.decode(text)["user_id"])


class Own(msgspec.Struct, kw_only=True):
    """Fields that an event has for one user alone: everybody else gets it as it is without."""

    user_id: int
    fields: dict[str, Any]


_OWN = ',"own":{"user_id":'


def encode_with(event: Event, own: Own) -> str:
    """The event as the log keeps it; `views` takes it apart again."""
    return f'{encode_logged(event)[:-1]},"own":{msgspec.json.encode(own).decode()}}}'


class Views(NamedTuple):
    """A logged event as frames: everybody's, and that of one user, if it differs (0: no one's)."""

    shared: str
    user_id: int
    own: str


def views(text: str) -> Views:
    """Every frame that comes out of the log goes through here."""
    frame = msgspec.json.decode(text) if _OWN in text else {}
    own = frame.pop("own", None)
    if own is None:  # or it stands in the data of an app
        shared = _for_clients(text)
        return Views(shared, 0, shared)
    shared = msgspec.json.encode(readable(frame)).decode()
    mine = msgspec.json.encode(readable(frame | own["fields"])).decode()
    return Views(shared, own["user_id"], mine)


def view_of(text: str, user_id: int) -> str:
    """A logged event as this user sees it."""
    shared, owner, own = views(text)
    return own if owner == user_id else shared


class Welcome(Frame, kw_only=True):
    """The base of a socket's first frame; `last_seq` is the head of its stream,
    `heartbeat_interval` is in seconds, `expires_at` the token's end, `session_id` names this socket
    in the server's log.
    """

    message: str
    last_seq: int
    heartbeat_interval: int = 0
    expires_at: str | None = None
    session_id: str = ""


class LoggedEvent(NamedTuple):
    """An event as it travels inside and between processes: its stream, its seq there, the finished
    frame.
    """

    stream: str
    seq: int
    text: str


class Command(msgspec.Struct, kw_only=True, tag_field="type"):
    """A frame that a client sends; fields it has beyond these are ignored."""


class Ping(Command, tag="ping"):
    """A client may ping; the server never requires it."""


class Resume(Command, tag="resume"):
    """Asks for everything after `last_seq`, the last event that the client has processed."""

    last_seq: Sequence


class RefreshToken(Command, tag="token_refresh"):
    """A new access token of the same user, so that the socket outlives the first."""

    token: Annotated[str, msgspec.Meta(max_length=8_192)]


class Pong(Frame, tag="pong"):
    server_time: str


class Resumed(Frame, tag="resumed"):
    """Ends a resume: (from_seq, to_seq] was sent, `count` events; if not `recovered`, none was:
    reload over REST.
    """

    recovered: bool
    from_seq: int
    to_seq: int
    count: int


class Reconnect(Frame, tag="reconnect"):
    """The server is about to close this socket, to restart. Wait `delay_ms` milliseconds after the
    close, then resume: each socket is told another delay, so that not all come back at once.
    """

    delay_ms: int


class TokenExpiring(Frame, tag="token_expiring"):
    """A minute ahead: refresh the token, or the socket closes with 4401."""

    expires_at: str


class TokenRefreshed(Frame, tag="token_refreshed"):
    expires_at: str | None


class Error(Frame, tag="error"):
    """`ref` is the client_message_id, or else the type, of the frame that this answers. `retryable`
    is there, and true, if that frame may be sent again as it was: nothing of it was stored, or its
    client_message_id keeps it from being stored twice.
    """

    code: ErrorCode
    message: str
    ref: str | None = None
    retryable: bool | msgspec.UnsetType = msgspec.UNSET


def timestamp(moment: datetime) -> str:
    """The contract's form of a time: microseconds and +00:00. (msgspec and DRF would write `Z`.)"""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def timestamp_if(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment else None


def checked_text(text: str) -> str:
    """Refuse what no database column or no client can hold. Raises ValueError (inside a struct: a
    ValidationError).
    """
    if "\x00" in text:
        raise ValueError("NUL is not allowed in a text")
    return text


def error(problem: RealtimeError) -> Error:
    return Error(
        code=problem.code,
        message=problem.message,
        ref=problem.ref,
        retryable=problem.retryable or msgspec.UNSET,
    )


def encode(frame: Frame) -> str:
    """Return a frame as clients get it."""
    return _for_clients(encode_logged(frame))


def encode_logged(event: Frame) -> str:
    """Return an event as the log keeps it: every id is a number there, however large, by which
    erasures and observers find what is somebody's. `views` makes it what clients get.
    """
    return msgspec.json.encode(event).decode()


def _for_clients(text: str) -> str:
    if not _LONG_NUMBER.search(text):
        return text
    return msgspec.json.encode(readable(msgspec.json.decode(text))).decode()


def readable(content: Any) -> Any:
    """Return JSON content with every integer beyond 2^53-1 as a string: JavaScript would round it.
    Ids of host projects (snowflakes) are as large.
    """
    if isinstance(content, dict):
        return {key: readable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [readable(value) for value in content]
    if isinstance(content, int) and not -_SAFE_INTEGER <= content <= _SAFE_INTEGER:
        return str(content)
    return content


def host_id(id: int | str | None) -> int | None:
    """Return a `HostIdentifier` as the number that it is. Raises InvalidMessage."""
    if not isinstance(id, str):
        return id
    number = whole_number(id)
    if not number:
        raise InvalidMessage("An id is a whole number from 1 to 2^63-1.")
    return number


def whole_number(text: str) -> int | None:
    """Return the BIGINT that a client wrote in ASCII digits, 0 or more; None for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        return None
    number = int(text)
    return number if number <= MAX_INTEGER else None


class CommandReader:
    """Turns the text of one client frame into one of a fixed set of commands."""

    def __init__(self, commands: tuple[type[Command], ...], max_bytes: int) -> None:
        self._decoder = msgspec.json.Decoder(
            commands[0] if len(commands) == 1 else _union(commands)
        )
        self._types = {command.__struct_config__.tag for command in commands}
        self._max_bytes = max_bytes

    def read(self, text: str | None) -> Command:
        """Raise the RealtimeError that says what is wrong, with its `ref`, if it is not such a
        command.
        """
        if text is None:
            raise InvalidMessage("Binary frames are not understood: send JSON as text.")
        if self._max_bytes and len(text) > self._max_bytes:
            raise TooLarge(f"A frame may have at most {self._max_bytes:,} bytes.")
        try:
            raw = text.encode()
            if self._max_bytes and len(raw) > self._max_bytes:
                raise TooLarge(f"A frame may have at most {self._max_bytes:,} bytes.")
            command: Command = self._decoder.decode(raw)
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError) as problem:
            raise self._diagnose(text, problem) from None
        return command

    def _diagnose(self, text: str, problem: Exception) -> RealtimeError:
        """Name the fault of a frame that was not understood. Off the fast path, so it may parse a
        second time.
        """
        try:
            # Accepts the lone surrogates that msgspec calls "truncated", and integers of any size.
            content = json.loads(text, parse_constant=no_constant, parse_int=float)
        except RecursionError:
            return InvalidJson("The frame is nested too deeply.")
        except ValueError:
            return InvalidJson("The frame is not JSON.")
        if not isinstance(content, dict):
            return InvalidMessage("A frame is a JSON object.")
        kind = content.get("type")
        if not isinstance(kind, str) or kind not in self._types:
            return UnknownType("The frame's type is absent or unknown.", ref=_ref(kind))
        ref = _ref(content.get("client_message_id")) or kind
        if isinstance(problem, msgspec.ValidationError):
            return InvalidMessage(str(problem), ref=ref)
        return InvalidMessage("The frame holds a text that is not Unicode.", ref=ref)


def no_constant(name: str) -> Any:
    """Python's json reads NaN and Infinity, which are not JSON."""
    raise ValueError(name)


def _union(commands: tuple[type[Command], ...]) -> Any:
    union: Any = commands[0]
    for command in commands[1:]:
        union = union | command
    return union


def _ref(value: object) -> str | None:
    """Echo only what a client could have meant as a reference, and what can be encoded."""
    if not isinstance(value, str) or not 1 <= len(value) <= 64:
        return None
    return value.encode("utf-8", "replace").decode()
