"""How long a service asks us to wait."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def seconds_of(retry_after: str | None) -> float:
    """Of a Retry-After header: a number of seconds, or a date (RFC 9110, 10.2.3); else 0."""
    if not retry_after:
        return 0
    try:
        return min(max(0.0, float(retry_after)), _DAY)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(retry_after)
        return min(max(0.0, (until - datetime.now(UTC)).total_seconds()), _DAY)
    except (ValueError, TypeError):
        return 0


_DAY = 24 * 3600.0
