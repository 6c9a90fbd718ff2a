"""What `Retry-After` asks for: a number of seconds or a date (RFC 9110, 10.2.3)."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def seconds_of(header: str, *, now: datetime) -> float | None:
    """Return the seconds asked for, none below zero; None for what is neither number nor date."""
    asked = header.strip()
    try:
        seconds = float(asked)
    except ValueError:
        seconds = _seconds_until(asked, now=now)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _seconds_until(date: str, *, now: datetime) -> float:
    """Return the seconds from now until an HTTP date; NaN for what is none."""
    try:
        at = parsedate_to_datetime(date)
        # A date that names no zone means UTC.
        return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return math.nan
