"""Keeps credentials out of everything that is logged; and what somebody searches for (`q`), which
is names and words of people who may be erased.
"""

import logging
import re
import sys
from contextlib import suppress
from typing import Any


def _spelled(text: str) -> str:
    """A pattern of the text with any of its characters percent-encoded, once or several times."""
    return "".join(rf"(?:{re.escape(each)}|%(?:25)*{ord(each):x})" for each in text)


# No pattern may go over a line again and again: an attacker writes 16 KB of it. So each begins
# with something short, and what repeats takes all it can and gives nothing back.
_SLASH = rf"(?:{_spelled('/')}|{_spelled(chr(92))})"
_ROOT = rf"{_SLASH}(?:w|%(?:25)*[57]7)(?:s|%(?:25)*[57]3)(?:;[^/?\s\"']*+)?{_SLASH}"
# What of a socket's path is no secret. Wherever else a token may stand in it: it is taken out.
_END = r"(?:/|(?=[\s?\"']|$))"
_ENDPOINT = rf"(?:notifications|support/notes/\d{{1,19}}|[a-z]{{1,20}}(?:/\d{{1,19}})?){_END}"
_NAMES = "|".join(map(_spelled, ("token", "ticket", "sessionid", "q")))
_NAMED = rf"(?:(?<![\w%])|%(?:25)*(?:3f|26|3b))(?:{_NAMES}){_spelled('=')}"
_DOT = r"(?:\.|%(?:25)*2e)"
_PART = r"(?:[\w-]|%(?!(?:25)*2e))"
_JWT = (
    rf"{_spelled('e')}{_spelled('y')}{_spelled('J')}[\w-]{{5,400}}+{_DOT}{_PART}++{_DOT}{_PART}*+"
)
_SECRETS = re.compile(
    rf"(?P<path>{_ROOT}(?:{_ENDPOINT})?+)(?P<rest>[^\s?\"']*+)"
    rf"|(?P<name>{_NAMED})[^&\s\"';]*+"
    r"|(?P<scheme>\bbearer\s{1,9}+|\bjwt['\"]?\s{0,9}+,\s{0,9}+['\"]?)[^\s\"',;\[]{16,}+"
    rf"|{_JWT}",
    re.IGNORECASE,
)


# hypercorn and granian log paths decoded, a %20 as a blank.
_REQUEST_LINE = re.compile(r'(?<=")([A-Z]{3,10}|-) ([^"]*) (HTTP/[\d.]+|[\d.]+|wss?)(?=")')


def redact(text: str) -> str:
    """The text with every credential in it replaced."""
    return _SECRETS.sub(_without, _REQUEST_LINE.sub(_in_one_word, text))


def _in_one_word(found: re.Match[str]) -> str:
    path = re.sub(r"\s", "%20", found[2])
    return f"{found[1]} {path} {found[3]}"


def _without(found: re.Match[str]) -> str:
    if found["path"] and not found["rest"]:
        return found[0]
    kept = found["path"] or found["name"] or found["scheme"] or ""
    return f"{kept}[redacted]"


class RedactTokens(logging.Filter):
    """A filter for log handlers: redacts the message, its arguments, and the traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - logging would print the arguments, tokens and all
            text = f"{record.msg} (wrong arguments)"
        record.msg = redact(text)
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True


def redact_records() -> None:
    """Whatever this process logs from now on, by whichever logger, handler and formatter: access
    logs of uvicorn, gunicorn, hypercorn and granian have handlers of their own. A record without a
    credential stays as it is.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        with suppress(Exception):  # no log call may fail by it
            _redact(record)
        return record

    made.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(made)


def _redact(record: logging.LogRecord) -> None:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - logging would print the arguments, tokens and all
        record.msg, record.args = redact(f"{record.msg} (wrong arguments)"), ()
        return
    if redact(text) != text:
        _take_out(record)
    if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
        trace = logging.Formatter().formatException(record.exc_info)
        if (clean := redact(trace)) != trace:
            record.exc_text = clean


def _take_out(record: logging.LogRecord) -> None:
    """The arguments keep their places, for formatters that know them by these (uvicorn's), unless
    that leaves something.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in record.args)
    text = record.getMessage()
    if (clean := redact(text)) != text:
        record.msg, record.args = clean, ()


def redact_plain_daphne() -> None:
    """The `daphne` command prints its access lines itself, past logging: redact them there.
    `manage.py serve` and uvicorn do not come this way.
    """
    access = sys.modules.get("daphne.access")
    if access is None:
        return
    write_entry = access.AccessLogGenerator.write_entry

    def write_redacted(self: Any, *args: Any, request: str, **kwargs: Any) -> None:
        write_entry(self, *args, request=redact(request), **kwargs)

    access.AccessLogGenerator.write_entry = write_redacted
