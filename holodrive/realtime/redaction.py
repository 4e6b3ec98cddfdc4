"""Keeps credentials out of everything that is logged."""

import logging
import re
import sys
from typing import Any

# What can carry a token: the documented paths, a query parameter, and anything that looks like a
# JWT.
_SECRETS = re.compile(
    r"(?P<path>/ws/(?:notifications|chat/[^/\s?\"']+)/)[^\s?\"']+"
    r"|(?P<query>[?&](?:token|ticket)=)[^&\s\"']*"
    r"|eyJ[\w-]{5,}(?:\.|%2[eE])[\w-]+(?:\.|%2[eE])[\w-]*"
)


def redact(text: str) -> str:
    """The text with every credential in it replaced."""
    return _SECRETS.sub(lambda found: (found["path"] or found["query"] or "") + "[redacted]", text)


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
