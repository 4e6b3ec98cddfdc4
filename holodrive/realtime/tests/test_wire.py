"""The frames of every socket, to the letter; and that each frame there is has such a test."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from chat.tests.test_events import FRAMES as CHAT
from chat.tests.test_notes import FRAMES as SUPPORT
from holodrive.realtime import wire
from notifications.tests.test_events import FRAMES as NOTIFICATIONS

FRAMES = [
    (
        wire.Pong(server_time="2025-11-22T13:15:22.970153+00:00"),
        '{"type":"pong","server_time":"2025-11-22T13:15:22.970153+00:00"}',
    ),
    (
        wire.Resumed(recovered=True, from_seq=1, to_seq=3, count=2),
        '{"type":"resumed","recovered":true,"from_seq":1,"to_seq":3,"count":2}',
    ),
    (wire.Reconnect(delay_ms=1500), '{"type":"reconnect","delay_ms":1500}'),
    (
        wire.TokenExpiring(expires_at="2025-11-22T13:15:22.970153+00:00"),
        '{"type":"token_expiring","expires_at":"2025-11-22T13:15:22.970153+00:00"}',
    ),
    (
        wire.TokenRefreshed(expires_at="2025-11-22T13:15:22.970153+00:00"),
        '{"type":"token_refreshed","expires_at":"2025-11-22T13:15:22.970153+00:00"}',
    ),
    (
        wire.Error(code=wire.ErrorCode.NOT_FOUND, message="No.", ref="a1"),
        '{"type":"error","code":"not_found","message":"No.","ref":"a1"}',
    ),
    (
        wire.error(wire.Unavailable("Later.", ref="a1")),
        '{"type":"error","code":"unavailable","message":"Later.","ref":"a1","retryable":true}',
    ),
]


@pytest.mark.parametrize(("frame", "text"), FRAMES, ids=lambda value: type(value).__name__)
def test_a_frame_is_exactly_this(frame, text):
    assert wire.encode(frame) == text


def leaves(kind):
    return {leaf for sub in kind.__subclasses__() for leaf in leaves(sub)} or {kind}


def test_every_frame_has_a_literal_test():
    tested = {type(frame) for frame, _ in [*FRAMES, *CHAT, *SUPPORT, *NOTIFICATIONS]}
    assert leaves(wire.Frame) == tested


def test_a_time_has_microseconds_and_an_offset():
    moment = datetime(2025, 11, 22, 13, 15, 22, tzinfo=UTC)
    assert wire.timestamp(moment) == "2025-11-22T13:15:22.000000+00:00"
    tashkent = moment.astimezone(timezone(timedelta(hours=5)))
    assert wire.timestamp(tashkent) == "2025-11-22T13:15:22.000000+00:00"
