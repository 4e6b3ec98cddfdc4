"""What `redact` takes out of a text, and what it leaves; and the filter that log handlers use."""

import io
import logging
from collections.abc import Iterator

import pytest

from holodrive.realtime.redaction import RedactTokens, redact, redact_records

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
        ("jwt , no-jwt-but-a-secret", "jwt , [redacted]"),
        ("jwt,\tno-jwt-but-a-secret", "jwt,\t[redacted]"),
        ("['chat', 'jwt', 'no-jwt-but-a-secret']", "['chat', 'jwt', '[redacted]']"),
        ('["jwt","no-jwt-but-a-secret"]', '["jwt","[redacted]"]'),
        ("authorization: bearer  no-jwt-but-a-secret", "authorization: bearer  [redacted]"),
        (f"b'/ws/chat/7/{JWT}', b'token={JWT}'", "b'/ws/chat/7/[redacted]', b'token=[redacted]'"),
        (f'{{"refresh": "{JWT}"}}', '{"refresh": "[redacted]"}'),
        (f"{JWT}, {JWT}", "[redacted], [redacted]"),
        ("eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjoxfQ.", "[redacted]"),
        ("GET /nowhere/eyJhbGciOiJub25lIn0%2EeyJ1c2VyX2lkIjoxfQ%2exyz", "GET /nowhere/[redacted]"),
        ("GET /WS/NOTIFICATIONS/opaque HTTP/1.1", "GET /WS/NOTIFICATIONS/[redacted] HTTP/1.1"),
        ("/Ws/Chat/7/opaque/", "/Ws/Chat/7/[redacted]"),
        ("/ws/chat/opaque-token", "/ws/chat/[redacted]"),
        ("/ws/opaque-token", "/ws/[redacted]"),
        ("/ws/0paque/", "/ws/[redacted]"),
        ("/ws/support/opaque", "/ws/support/[redacted]"),
        ("/ws/support/notes/7/opaque", "/ws/support/notes/7/[redacted]"),
        ("/ws/trip/42/opaque", "/ws/trip/42/[redacted]"),
        ("//ws//chat//7//opaque", "//ws/[redacted]"),
        ("/./ws/chat/7/opaque", "/./ws/chat/7/[redacted]"),
        ("/x/../ws/chat/7/opaque", "/x/../ws/chat/7/[redacted]"),
        ("/ws/..;/chat/7/opaque", "/ws/[redacted]"),
        ("/ws;x=y/chat/7/opaque", "/ws;x=y/chat/7/[redacted]"),
        ("/\\ws/chat/7/opaque", "/\\ws/chat/7/[redacted]"),
        ("/%77s/chat/7/opaque", "/%77s/chat/7/[redacted]"),
        ("/%57%53/chat/7/opaque", "/%57%53/chat/7/[redacted]"),
        ("/%2577s/chat/7/opaque", "/%2577s/chat/7/[redacted]"),
        ("/ws%2Fchat%2F7%2Fopaque", "/ws%2F[redacted]"),
        ("/ws/chat/7%2Fopaque", "/ws/chat/[redacted]"),
        ("/ws/chat/7/%6Fpaque", "/ws/chat/7/[redacted]"),
        ("/ws/chat/7/?%74oken=opaque&last_seq=3", "/ws/chat/7/?%74oken=[redacted]&last_seq=3"),
        ("/ws/chat/7/?TOKEN=opaque", "/ws/chat/7/?TOKEN=[redacted]"),
        ("/ws/chat/7/?token%3Dopaque", "/ws/chat/7/?token%3D[redacted]"),
        ("/ws/chat/7/?a=b;ticket=opaque", "/ws/chat/7/?a=b;ticket=[redacted]"),
        ("/elsewhere/?token=opaque", "/elsewhere/?token=[redacted]"),
        ("/login/?next=%2Fws%2Fchat%2F7%2Fopaque", "/login/?next=%2Fws%2F[redacted]"),
        ("?next=/x%3Ftoken%3Dopaque", "?next=/x%3Ftoken%3D[redacted]"),
        ("Referer: https://a.example/ws/chat/7/opaque", "Referer: https://a.example/ws/chat/7/[redacted]"),
        ("GET /api/conversations/?q=Kim&limit=5", "GET /api/conversations/?q=[redacted]&limit=5"),
        ("/admin/chat/message/?all=&q=white+umbrella", "/admin/chat/message/?all=&q=[redacted]"),
        ('"GET /search/?q=white umbrella 2"', '"GET /search/?q=[redacted] 2"'),
        ("query_string=b'token=opaque'", "query_string=b'token=[redacted]'"),
        ("Cookie: a=b; sessionid=0123456789; c=d", "Cookie: a=b; sessionid=[redacted]; c=d"),
        ('"GET /ws/chat/7/ opaque HTTP/1.1"', '"GET /ws/chat/7/[redacted] HTTP/1.1"'),
        ('"- /ws/chat/7/ opaque HTTP/1.1" 101', '"- /ws/chat/7/[redacted] HTTP/1.1" 101'),
        ('"GET /ws/chat/7/ opaque 2" 404', '"GET /ws/chat/7/[redacted] 2" 404'),
        ('"GET /ws/chat/7/\\n opaque ws"', '"GET /ws/chat/7/[redacted] ws"'),
        ("Bearer 0123456789abcdefghij", "Bearer [redacted]"),
        ("GET /nowhere/%65yJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjoxfQ.xyz", "GET /nowhere/[redacted]"),
    ],
)  # fmt: skip
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
        "/ws/chat/7",
        "/ws/support/",
        "/ws/support/notes/7/",
        "/ws/trip/42/",
        "/ws/",
        "/ws",
        "GET /WS/CHAT/7/",
        "/api/token/refresh/ 200",
        "the bearer of bad news",
        "/static/rows/7/x.js",
        "/news/7/x",
        "/aws/chat/7/x",
    ],
)
def test_a_text_without_a_credential_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_long_line_takes_no_long_time() -> None:
    """Each of these makes a pattern with nested repetitions go over the line again and again."""
    for piece in (
        "/",
        "/.",
        "/ws",
        "/ws/",
        "%25",
        "%2f",
        "ws;",
        "/..;",
        "eyJ",
        "eyJaaaaa.",
        "token",
        "a/",
    ):
        redact(piece * (16_384 // len(piece)))


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


# Whatever a process logs (`redact_records`, which the app's `ready` has called)


@pytest.fixture
def plain() -> Iterator[io.StringIO]:
    """What a handler without the filter writes, as servers bring it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logger.addHandler(handler)
    logger.propagate = False
    yield text
    logger.removeHandler(handler)


def test_a_record_is_redacted_whoever_writes_it(plain: io.StringIO) -> None:
    logger.warning("%s gave %d: %r", f"/ws/chat/7/{JWT}", 404, {"token": JWT})
    logger.warning("%(path)s", {"path": "/WS/chat/7/opaque"})
    logger.warning("%d sockets", "/ws/chat/7/opaque")
    try:
        raise LookupError(f"GET /ws/notifications/{JWT}")
    except LookupError:
        logger.exception("It failed")
    text = plain.getvalue()
    assert text.startswith(
        "/ws/chat/7/[redacted] gave 404: {'token': '[redacted]'}\n"
        "/WS/chat/7/[redacted]\n"
        "%d sockets (wrong arguments)\n"
        "It failed\nTraceback"
    )
    assert text.endswith("LookupError: GET /ws/notifications/[redacted]\n")


def test_arguments_that_a_formatter_knows_by_their_places_keep_them() -> None:
    """uvicorn's AccessFormatter takes them apart again."""
    args = ("127.0.0.1:1", "GET", "/ws/chat/7/?token=opaque", "1.1", 200)
    record = logger.makeRecord("x", logging.INFO, "x", 1, '%s - "%s %s HTTP/%s" %d', args, None)
    assert record.args == ("127.0.0.1:1", "GET", "/ws/chat/7/?token=[redacted]", "1.1", 200)


def test_a_record_without_a_credential_stays_as_it_is() -> None:
    args = ({"a": 1}, object())
    try:
        raise LookupError("nothing")
    except LookupError as problem:
        info = (LookupError, problem, problem.__traceback__)
    record = logger.makeRecord("x", logging.INFO, "x", 1, "%s of %s", args, info)
    assert (record.msg, record.args, record.exc_text) == ("%s of %s", args, None)


def test_records_are_redacted_once_however_often_it_is_asked_for() -> None:
    before = logging.getLogRecordFactory()
    redact_records()
    assert logging.getLogRecordFactory() is before
