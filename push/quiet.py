"""Quiet hours, on the clock of a time zone. No I/O, no models."""

import re
from datetime import datetime, time, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

_AT_LEAST = timedelta(minutes=1)
_MOST_OFFSET = timedelta(hours=14)  # Kiritimati's
# U+2212 is the minus sign that formatters of ICU write.
_OFFSET = re.compile(r"(?:GMT|UTC?)?([+\-\u2212])([0-9]{1,2})(?::?([0-9]{2}))?", re.IGNORECASE)


def zone(name: str) -> tzinfo:
    """Return the time zone that a device names: IANA's (Asia/Tashkent, in any case) or an offset as
    Java, Apple and browsers write it (GMT+05:00, GMT+0500, UTC+5, +05:00). Raises ValueError.
    """
    if offset := _OFFSET.fullmatch(name):
        return _fixed(*offset.groups())
    try:
        return ZoneInfo(_spelling().get(name.lower(), ""))
    except (OSError, ValueError):  # an unknown name, or one of which the system has no file
        raise _unknown(name) from None


def _fixed(sign: str, hours: str, minutes: str | None) -> tzinfo:
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    if offset > _MOST_OFFSET or int(minutes or 0) > 59:
        raise _unknown(f"{sign}{hours}:{minutes or '00'}")
    return timezone(offset if sign == "+" else -offset)


def _unknown(name: str) -> ValueError:
    return ValueError(f"{name!r} is no time zone: Asia/Tashkent is one, and GMT+05:00")


@cache
def _spelling() -> dict[str, str]:
    """IANA's names by their lower case. `localtime` is not among them: it is the server's."""
    names = available_timezones() - {"localtime", "Factory"}
    return {name.lower(): name for name in names} | {"z": "UTC", "ut": "UTC"}


def end_of_quiet(start: time, end: time, time_zone: str, now: datetime) -> datetime | None:
    """When the quiet that is on at `now` ends; None if none is. From `start` to `end` (exclusive)
    of every day there, over midnight if `end` is the earlier; the same twice is never.
    """
    here = now.astimezone(zone(time_zone))
    clock = here.time()
    over_midnight = end < start
    is_quiet = (clock >= start or clock < end) if over_midnight else start <= clock < end
    if not is_quiet:
        return None
    day = here.date() + timedelta(days=over_midnight and clock >= start)
    until = datetime.combine(day, end, here.tzinfo).astimezone(now.tzinfo)
    # Where clocks are put back, an hour comes twice, and its end may be that of the first.
    return max(until, now + _AT_LEAST)
