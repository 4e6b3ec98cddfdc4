"""Frames as no library sends them, against a real server: each is understood, answered, or ends the
socket with the code that RFC 6455 gives; the server and its other sockets live on.
"""

from contextlib import closing

import pytest

from holodrive.realtime.server import answer_to_close
from testing.client import access_token
from testing.raw import RawSocket

pytestmark = pytest.mark.django_db(transaction=True)

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x0f\xf0\x55\xaa"
HELLO = b'{"type":"ping"}'


def frame(opcode, body=b"", *, final=True, masked=True, reserved=0, size=None):
    """One frame; `size` is the length that it claims, as a number or as it stands in the head."""
    length = len(body) if size is None else size
    if isinstance(length, bytes):
        head = length
    elif length < 126:
        head = bytes([length])
    elif length < 65_536:
        head = bytes([126]) + length.to_bytes(2)
    else:
        head = bytes([127]) + length.to_bytes(8)
    first = 0x80 * final | reserved << 4 | opcode
    if not masked:
        return bytes([first]) + head + body
    hidden = bytes(byte ^ MASK[place % 4] for place, byte in enumerate(body))
    return bytes([first, 0x80 | head[0]]) + head[1:] + MASK + hidden


def close(code, reason=b""):
    return frame(CLOSE, code.to_bytes(2) + reason)


UNDERSTOOD = {
    "a text": frame(TEXT, HELLO),
    "with spaces": frame(TEXT, b" \n\t" + HELLO + b"  "),
    "two fragments": frame(TEXT, HELLO[:5], final=False) + frame(0, HELLO[5:]),
    "a fragment for each byte": frame(TEXT, HELLO[:1], final=False)
    + b"".join(frame(0, HELLO[at : at + 1], final=False) for at in range(1, len(HELLO)))
    + frame(0),
    "an empty first fragment": frame(TEXT, final=False) + frame(0, HELLO),
    "an empty last fragment": frame(TEXT, HELLO, final=False) + frame(0),
    "a ping between fragments": frame(TEXT, HELLO[:5], final=False)
    + frame(PING, b"x")
    + frame(0, HELLO[5:]),
    "a pong between fragments": frame(TEXT, HELLO[:5], final=False)
    + frame(PONG)
    + frame(0, HELLO[5:]),
    "after an empty ping": frame(PING) + frame(TEXT, HELLO),
    "after the longest ping": frame(PING, b"x" * 125) + frame(TEXT, HELLO),
    "after a pong that nothing asked for": frame(PONG, b"x") + frame(TEXT, HELLO),
    "a character over two fragments": frame(TEXT, b'{"type":"ping","x":"\xd0', final=False)
    + frame(0, b'\xb9"}'),
    "a length of two bytes": frame(TEXT, HELLO + b" " * 200),
    "a mask of zeros": b"\x81\x8f\x00\x00\x00\x00" + HELLO,
}
ANSWERED_WITH_AN_ERROR = {
    "an empty text": frame(TEXT),
    "an empty binary": frame(BINARY),
    "JSON as binary": frame(BINARY, HELLO),
    "a list": frame(TEXT, b"[]"),
    "a number": frame(TEXT, b"7"),
    "null": frame(TEXT, b"null"),
    "half of an object": frame(TEXT, b'{"type":'),
    "NaN": frame(TEXT, b'{"type":NaN}'),
    "no type": frame(TEXT, b"{}"),
    "an unknown type": frame(TEXT, b'{"type":"dance"}'),
    "a type that is a list": frame(TEXT, b'{"type":["ping"]}'),
    "deeply nested": frame(TEXT, b'{"type":' + b"[" * 5_000 + b"]" * 5_000 + b"}"),
    "a byte order mark": frame(TEXT, b"\xef\xbb\xbf" + HELLO),
    "a lone surrogate": frame(TEXT, rb'{"type":"\ud800"}'),
    "a number of 5,000 digits": frame(TEXT, b'{"type":"resume","last_seq":' + b"9" * 5_000 + b"}"),
}
ENDED = {
    "not masked": (frame(TEXT, HELLO, masked=False), 1002),
    "a reserved bit": (frame(TEXT, HELLO, reserved=4), 1002),
    "a reserved opcode": (frame(3, HELLO), 1002),
    "a reserved control opcode": (frame(11), 1002),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a fragment of a ping": (frame(PING, final=False), 1002),
    "a continuation of nothing": (frame(0, HELLO), 1002),
    "a new text within fragments": (frame(TEXT, b"{", final=False) + frame(TEXT, HELLO), 1002),
    "a length of two bytes that needs one": (frame(TEXT, size=b"\x7e\x00\x00"), 1002),
    "a length of eight bytes that needs one": (
        frame(TEXT, HELLO, size=b"\x7f" + len(HELLO).to_bytes(8)),
        1002,
    ),
    "a length with its top bit set": (frame(TEXT, size=b"\x7f" + b"\xff" * 8), 1002),
    "no UTF-8": (frame(TEXT, b"\xff"), 1007),
    "half a character": (frame(TEXT, b"\xd0"), 1007),
    "a surrogate as UTF-8": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "a close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "a close with a reason that is no UTF-8": (close(1000, b"\xff"), 1007),
    "a close without a code": (frame(CLOSE), 1000),
    "a close with the longest reason": (close(4000, b"x" * 123), 4000),
    **{
        f"a close with {code}": (close(code), code)
        for code in (1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4401, 4999)
    },
    **{
        f"a close with {code}, which is invalid": (close(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
}


@pytest.fixture
def raw(server, make_user):
    token = access_token(make_user())
    with closing(RawSocket(server, "/ws/notifications/", token)) as opened:
        assert "connection_established" in opened.read()
        yield opened


def test_whatever_is_well_formed_is_understood(raw):
    for name, sent in UNDERSTOOD.items():
        raw.socket.sendall(sent)
        assert '"pong"' in raw.read(), name


def test_what_is_no_command_is_answered_and_ends_nothing(raw):
    for name, sent in ANSWERED_WITH_AN_ERROR.items():
        raw.socket.sendall(sent)
        assert '"error"' in raw.read(), name
        raw.socket.sendall(frame(TEXT, HELLO))  # so they are not twenty in a row
        assert '"pong"' in raw.read(), name


@pytest.mark.parametrize(("sent", "code"), ENDED.values(), ids=ENDED)
def test_a_violation_or_a_close_is_answered_by_its_code(raw, server, sent, code):
    raw.socket.sendall(sent)
    assert raw.read() == code
    assert server.request("GET", "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("code", "reason", "answer"),
    [
        (None, None, 1000),
        (1000, None, 1000),
        (1001, b"bye", 1001),
        (1014, b"", 1014),
        (4999, "прощай".encode(), 4999),
        (1006, b"", 1002),
        (1015, b"", 1002),
        (4000, b"\xc3", 1007),
    ],
)
def test_which_code_answers_a_close(code, reason, answer):
    assert answer_to_close(code, reason) == answer
