"""Times for people and other programs: ISO 8601 in UTC, which says that it is UTC."""

from __future__ import annotations

from datetime import datetime, timezone


def utc(seconds: float) -> str:
    """A time, given in seconds since the epoch, as ``2026-01-31T23:59:59.123456Z``."""
    try:
        found = datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):  # a database with a nonsensical number
        return ""
    return f"{found:%Y-%m-%dT%H:%M:%S.%f}Z"
