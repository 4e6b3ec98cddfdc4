"""Quiet hours, on the clock of a time zone. No I/O, no models."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

_AT_LEAST = timedelta(minutes=1)


def zone(name: str) -> ZoneInfo:
    """The time zone of that name (IANA: Asia/Tashkent). Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder, a path, an unknown name
        raise ValueError(f"{name!r} is no time zone: Asia/Tashkent is one") from None


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
