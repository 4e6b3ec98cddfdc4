"""Quiet hours, on clocks of several places."""

from datetime import UTC, datetime, time, timedelta

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
        # A start that the shorter night does not have: quiet begins when the clock is past it.
        ("02:30", "04:00", "Europe/Berlin", "2026-03-29T00:59:00", None),
        ("02:30", "04:00", "Europe/Berlin", "2026-03-29T01:00:00", "2026-03-29T02:00:00"),
        # Half an hour, in Lord Howe; and across the date line.
        ("22:00", "07:00", "Australia/Lord_Howe", "2026-10-03T12:00:00", "2026-10-03T20:00:00"),
        ("22:00", "07:00", "Pacific/Apia", "2026-11-24T09:30:00", "2026-11-24T18:00:00"),
        # An offset that a device gives knows no summer.
        ("22:00", "07:00", "GMT+05:00", "2026-11-24T17:00:00", "2026-11-25T02:00:00"),
        ("22:00", "07:00", "UTC-3", "2026-11-25T01:00:00", "2026-11-25T10:00:00"),
        ("22:00", "07:00", "+05:30", "2026-11-24T16:30:00", "2026-11-25T01:30:00"),
    ],
)
def test_when_quiet_ends(start, end, place, now, until):
    found = end_of_quiet(time.fromisoformat(start), time.fromisoformat(end), place, utc(now))
    assert found == (until and utc(until))


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        ("Asia/Tashkent", 5),
        ("asia/tashkent", 5),
        ("ASIA/CALCUTTA", 5.5),
        ("Etc/GMT-5", 5),
        ("GMT", 0),
        ("utc", 0),
        ("Z", 0),
        ("GMT+05:00", 5),
        ("GMT+0500", 5),
        ("GMT+5", 5),
        ("gmt+05", 5),
        ("UTC+5", 5),
        ("UT+05:00", 5),
        ("UT", 0),
        ("UTC+05:45", 5.75),
        ("UTC-03:30", -3.5),
        ("UTC\u22123", -3),
        ("+05:00", 5),
        ("-0800", -8),
        ("+14:00", 14),
        ("GMT-00:00", 0),
    ],
)
def test_a_zone_as_devices_name_it(name, hours):
    winter = datetime(2026, 1, 15, tzinfo=UTC)
    assert winter.astimezone(zone(name)).utcoffset() == timedelta(hours=hours)


@pytest.mark.parametrize(
    "name",
    [
        "", "Mars/Base", "../etc/passwd", "/etc", "Asia", "a\x00b", "localtime", "Factory",
        "GMT+15", "UTC+05:60", "+5:0", "UTC+", "GMT+05:00\n", " UTC", "UTC+٥", "5",
        "West Asia Standard Time",
    ],
)  # fmt: skip
def test_what_is_no_time_zone(name):
    with pytest.raises(ValueError, match="no time zone"):
        zone(name)
