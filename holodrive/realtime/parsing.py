"""Reads the bodies of REST requests. Apart from `rest.py`, because DRF imports it for its views."""

import json
from typing import IO, Any

import msgspec
from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from holodrive.realtime.wire import InvalidMessage, TooLarge, no_constant


class JsonParser(JSONParser):
    """As strict as the sockets: DRF's own lets lone surrogates through to the database, reads any
    size, and fails at 5,000 levels.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None
    ) -> Any:
        # Without a limit of our own Django's holds, which it does not apply to what is streamed.
        most = settings.REALTIME_MAX_FRAME_BYTES or settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raw: bytes = stream.read() if most is None else stream.read(most + 1)
        if most is not None and len(raw) > most:
            raise TooLarge(f"A body may have at most {most:,} bytes.")
        try:
            return msgspec.json.decode(raw)
        except msgspec.ValidationError as problem:  # an integer of thousands of digits
            raise InvalidMessage(str(problem)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _diagnose(raw) from None


def _diagnose(raw: bytes) -> Exception:
    try:
        # Accepts the lone surrogates that msgspec calls "truncated".
        json.loads(raw.decode(), parse_constant=no_constant)
    except (ValueError, RecursionError):
        return ParseError("The body is not JSON.")
    return InvalidMessage("The body holds a text that is not Unicode.")
