"""What `redact` takes out of a text, and what it leaves; and the filter that log handlers use."""

import io
import logging
from collections.abc import Iterator

import pytest

from holodrive.realtime.redaction import RedactTokens, redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoxfQ.s1gnatur3-_s1gnatur3"
logger = logging.getLogger("redaction")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"GET /ws/notifications/{JWT} 404", "GET /ws/notifications/[redacted] 404"),
        (f"/ws/notifications/{JWT}/", "/ws/notifications/[redacted]"),
        (f"/ws/notifications/token={JWT}", "/ws/notifications/[redacted]"),
        (f"/ws/notifications/token%3D{JWT}", "/ws/notifications/[redacted]"),
        (f"/ws/notifications/7/{JWT}", "/ws/notifications/[redacted]"),
        ("/ws/notifications/no-jwt-at-all", "/ws/notifications/[redacted]"),
        (f"/ws/chat/7/{JWT}", "/ws/chat/7/[redacted]"),
        (f"/ws/chat/7/token={JWT}/", "/ws/chat/7/[redacted]"),
        (f"/ws/chat/7/{JWT}?last_seq=3", "/ws/chat/7/[redacted]?last_seq=3"),
        (f"/ws/chat/7/?token={JWT}&last_seq=3", "/ws/chat/7/?token=[redacted]&last_seq=3"),
        (f"/ws/chat/7?last_seq=3&token={JWT}", "/ws/chat/7?last_seq=3&token=[redacted]"),
        ("/ws/chat/7/?token=no-jwt-at-all", "/ws/chat/7/?token=[redacted]"),
        ("/ws/chat/7/?ticket=t1cket", "/ws/chat/7/?ticket=[redacted]"),
        ("/ws/notifications/one?token=two", "/ws/notifications/[redacted]?token=[redacted]"),
        (f"/ws/nothing/{JWT}", "/ws/nothing/[redacted]"),
        (f"Authorization: Bearer {JWT}", "Authorization: Bearer [redacted]"),
        (f"Sec-WebSocket-Protocol: jwt, {JWT}", "Sec-WebSocket-Protocol: jwt, [redacted]"),
        (f"b'/ws/chat/7/{JWT}', b'token={JWT}'", "b'/ws/chat/7/[redacted]', b'token=[redacted]'"),
        (f'{{"refresh": "{JWT}"}}', '{"refresh": "[redacted]"}'),
        (f"{JWT}, {JWT}", "[redacted], [redacted]"),
        ("eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjoxfQ.", "[redacted]"),
        ("GET /nowhere/eyJhbGciOiJub25lIn0%2EeyJ1c2VyX2lkIjoxfQ%2exyz", "GET /nowhere/[redacted]"),
    ],
)
def test_a_credential_is_taken_out_and_the_rest_stays(text: str, clean: str) -> None:
    assert redact(text) == clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET /ws/notifications/ status=404",
        "WSCONNECT /ws/chat/7/ - -",
        "/ws/chat/7/?last_seq=3",
        "/api/conversations/7/messages/?before_id=3",
        "socket ended endpoint=chat user=7 code=4401 session=0f3e",
        "100% of eyJ and token are words",
    ],
)
def test_a_text_without_a_credential_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a handler with the filter writes for the logger `redaction`."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.addFilter(RedactTokens())
    logger.addHandler(handler)
    logger.propagate = False  # pytest's own handler makes an error of a wrong log call
    yield text
    logger.removeHandler(handler)


def test_the_arguments_of_a_log_call_are_redacted(written: io.StringIO) -> None:
    logger.warning("%s gave %d%%: %r", f"/ws/chat/7/{JWT}", 404, {"token": JWT})
    assert written.getvalue() == "/ws/chat/7/[redacted] gave 404%: {'token': '[redacted]'}\n"


def test_a_traceback_is_redacted_with_its_causes(written: io.StringIO) -> None:
    try:
        try:
            raise ValueError(f"no user for {JWT}")
        except ValueError as cause:
            raise LookupError(f"GET /ws/notifications/{JWT}") from cause
    except LookupError:
        logger.exception("It failed")
    text = written.getvalue()
    assert JWT.rpartition(".")[2] not in text
    assert "ValueError: no user for [redacted]" in text
    assert "LookupError: GET /ws/notifications/[redacted]" in text
    assert text.startswith("It failed\nTraceback (most recent call last):\n")


def test_a_traceback_that_another_handler_has_formatted_is_redacted(written: io.StringIO) -> None:
    record = logging.LogRecord("redaction", logging.ERROR, "here.py", 1, "It failed", (), None)
    record.exc_text = f"LookupError: {JWT}"
    logger.handle(record)
    assert written.getvalue() == "It failed\nLookupError: [redacted]\n"


def test_a_log_call_with_wrong_arguments_neither_fails_its_caller_nor_shows_them(
    written: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.warning("%d sockets", JWT)
    # logging itself would report it on stderr, arguments and all.
    assert JWT.rpartition(".")[2] not in written.getvalue() + capsys.readouterr().err
