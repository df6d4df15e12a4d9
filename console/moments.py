"""A time as a person types it: `12 Mar 14:05`, `14:05`, `yesterday 6:30`, `2026-03-12 14:05`, `2h ago`. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

EXAMPLES: Final = "14:05, yesterday 6:30, 12 Mar 14:05, 2026-03-12 14:05 or 2h ago"
_AGO: Final = re.compile(r"(\d{1,6})\s*([smhd])(?:\s+ago)?")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_DAY: Final = re.compile(r"(\d{1,2})\.?\s+([A-Za-z]{3})[a-z]*(?:\s+(\d{4}))?")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class MomentError(ValueError):
    """The text names no time. It says which ones are understood."""


def parse_moment(text: str, now_s: float) -> int:
    """Microseconds since the Unix epoch of a time in the past, in local time. Raises MomentError.

    Without a day it is the last time that the clock showed it; without a year the last such day.
    """
    words = " ".join(text.split())
    try:
        found = _read(words, datetime.fromtimestamp(now_s))
        return round(found.timestamp() * 1e6)
    except (ValueError, OverflowError, OSError) as error:
        raise MomentError(f"{text!r} is no time: give {EXAMPLES}") from error


def _read(words: str, now: datetime) -> datetime:
    if (ago := _AGO.fullmatch(words.casefold())) is not None:
        return now - timedelta(seconds=int(ago[1]) * _UNITS_S[ago[2]])
    day, _, clock = words.rpartition(" ")
    time = _CLOCK.fullmatch(clock)
    if time is None or (day and day[0].isdigit() and "-" in day):
        return datetime.fromisoformat(words)
    hour, minute, second = int(time[1]), int(time[2]), int(time[3] or 0)
    at = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    if not day or day.casefold() == "today":
        return at if at <= now or day else at - timedelta(days=1)
    if day.casefold() == "yesterday":
        return at - timedelta(days=1)
    named = _DAY.fullmatch(day)
    if named is None:
        raise ValueError(words)
    month = _MONTHS.index(named[2].casefold()) + 1
    if named[3]:
        return at.replace(year=int(named[3]), month=month, day=int(named[1]))
    at = at.replace(month=month, day=int(named[1]))
    return at if at <= now else at.replace(year=at.year - 1)
