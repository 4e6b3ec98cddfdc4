"""What the error codes and close codes of `wire` mean, as rows for the document."""

import re
from typing import NamedTuple

from holodrive.realtime.wire import CloseCode, ErrorCode


class Close(NamedTuple):
    """Why a socket was closed, and what its client should do."""

    code: int
    when: str
    then: str


ERRORS: dict[ErrorCode, str] = {
    ErrorCode.INVALID_JSON: "the frame cannot be parsed, or is nested too deeply",
    ErrorCode.INVALID_MESSAGE: "not an object; a field is missing or wrong; binary; NUL",
    ErrorCode.UNKNOWN_TYPE: "`type` is absent, or not one that this socket takes",
    ErrorCode.TOO_LARGE: "the frame has more bytes than the server takes",
    ErrorCode.FORBIDDEN: "not allowed; a session cookie without an Origin (closes with 4403)",
    ErrorCode.NOT_FOUND: "no such thing for this user; as the first frame, closes with 4404",
    ErrorCode.CONVERSATION_CLOSED: "the conversation takes no more messages",
    ErrorCode.IDEMPOTENCY_CONFLICT: "this `client_message_id` was used for another text",
    ErrorCode.ALREADY_CLAIMED: "over REST only: somebody else has the conversation",
    ErrorCode.UNAUTHENTICATED: "no or bad credentials (closes with 4401)",
    ErrorCode.TOKEN_EXPIRED: "the token has expired (closes with 4401)",
    ErrorCode.ANOTHER_USER: "over REST only: the login is not that of `X-HoloDrive-User`",
    ErrorCode.RATE_LIMITED: "too much of something: wait, then send it again",
    ErrorCode.TOO_MANY_SOCKETS: "the user has too many open (closes with 4409)",
    ErrorCode.UNAVAILABLE: "the database does not answer: back off, then send it again",
    ErrorCode.METHOD_NOT_ALLOWED: "over REST only: the path does not take this method",
    ErrorCode.INTERNAL: "the server failed at this frame: try again",
}

# RFC 6455, 7.4.1; what they mean here.
_STANDARD = [
    Close(1007, "bad UTF-8", "not repeat that frame"),
    Close(1009, "a frame above the server's limit", "not repeat that frame"),
    Close(1011, "the server failed before the first frame", "back off, then resume"),
]


def errors() -> dict[str, str]:
    """Every code with its meaning; a code without one says its own name."""
    return {code.value: ERRORS.get(code, code.value.replace("_", " ")) for code in ErrorCode}


def closes() -> list[Close]:
    """The rows of the table that stands in CloseCode, then the standard ones."""
    rows = re.findall(r"^ *\| (\d+) \| (.+?) \| (.+?) \|$", CloseCode.__doc__ or "", re.MULTILINE)
    known = {int(code): Close(int(code), when, then) for code, when, then in rows}
    ours = [
        known.get(code, Close(code, code.name.replace("_", " ").lower(), "")) for code in CloseCode
    ]
    return [*ours, *_STANDARD]
