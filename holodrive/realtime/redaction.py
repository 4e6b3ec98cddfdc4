"""Keeps credentials out of everything that is logged."""

import logging
import re

# What can carry a token: the documented paths, a query parameter, and anything that looks like a
# JWT.
_SECRETS = re.compile(
    r"(?P<path>/ws/(?:notifications|chat/[^/\s?\"']+)/)[^\s?\"']+"
    r"|(?P<query>[?&](?:token|ticket)=)[^&\s\"']*"
    r"|eyJ[\w-]{5,}\.[\w-]+\.[\w-]*"
)


def redact(text: str) -> str:
    """The text with every credential in it replaced."""
    return _SECRETS.sub(lambda found: (found["path"] or found["query"] or "") + "[redacted]", text)


class RedactTokens(logging.Filter):
    """A filter for log handlers: redacts the message, its arguments, and the traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact(record.getMessage())
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True
