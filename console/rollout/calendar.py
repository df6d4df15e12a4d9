"""Whether a maintenance window is open. Pure: the time is an argument."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from console.rollout.policy import DAYS, Window


def is_open(window: Window | None, wall_s: float) -> bool:
    """Whether nodes may be switched at `wall_s`. `from` later than `to` goes over midnight and belongs to its first
    day; `from` equal to `to` is the whole day.
    """
    if window is None:
        return True
    now = datetime.fromtimestamp(wall_s, ZoneInfo(window.zone))
    minute, start, end = now.hour * 60 + now.minute, _minute(window.start), _minute(window.end)
    if start < end:
        return start <= minute < end and _is_day(window, now)
    if start == end:
        return _is_day(window, now)
    if minute >= start:
        return _is_day(window, now)
    return minute < end and _is_day(window, now - timedelta(days=1))


def _is_day(window: Window, day: datetime) -> bool:
    return not window.days or DAYS[day.weekday()] in window.days


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
