"""Quiet hours, on clocks of several places."""

from datetime import UTC, datetime, time

import pytest

from push.quiet import end_of_quiet, zone


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "place", "now", "until"),
    [
        # Tashkent is five hours ahead.
        ("22:00", "07:00", "Asia/Tashkent", "2026-11-24T16:59:59", None),
        ("22:00", "07:00", "Asia/Tashkent", "2026-11-24T17:00:00", "2026-11-25T02:00:00"),
        ("22:00", "07:00", "Asia/Tashkent", "2026-11-24T19:30:00", "2026-11-25T02:00:00"),
        ("22:00", "07:00", "Asia/Tashkent", "2026-11-25T01:58:00", "2026-11-25T02:00:00"),
        ("22:00", "07:00", "Asia/Tashkent", "2026-11-25T02:00:00", None),
        ("13:00", "14:30", "UTC", "2026-11-24T13:00:00", "2026-11-24T14:30:00"),
        ("13:00", "14:30", "UTC", "2026-11-24T14:30:00", None),
        ("22:00", "00:00", "UTC", "2026-12-31T23:00:00", "2027-01-01T00:00:00"),
        ("00:00", "06:00", "UTC", "2026-11-24T00:00:00", "2026-11-24T06:00:00"),
        ("12:00", "12:00", "UTC", "2026-11-24T12:00:00", None),
        # Berlin, the night in which clocks go from 02:00 to 03:00: it is an hour shorter.
        ("22:00", "07:00", "Europe/Berlin", "2026-03-28T22:00:00", "2026-03-29T05:00:00"),
        # And the one in which 02:00 to 03:00 comes twice: it is an hour longer.
        ("22:00", "07:00", "Europe/Berlin", "2026-10-24T22:00:00", "2026-10-25T06:00:00"),
        # In the second of these hours, with an end that the first one had: soon, and not before.
        ("01:00", "02:30", "Europe/Berlin", "2026-10-25T01:15:00", "2026-10-25T01:16:00"),
    ],
)
def test_when_quiet_ends(start, end, place, now, until):
    found = end_of_quiet(time.fromisoformat(start), time.fromisoformat(end), place, utc(now))
    assert found == (until and utc(until))


@pytest.mark.parametrize("name", ["", "Mars/Base", "../etc/passwd", "/etc", "Asia", "a\x00b"])
def test_what_is_no_time_zone(name):
    with pytest.raises(ValueError, match="no time zone"):
        zone(name)
