"""Figures as people read them: few digits, the unit with them, `?` for what is not known.

Rounded before they are drawn, because the cheapest cell on a thin link is one that does not change.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from typing import Final

UNKNOWN: Final = "?"
NONE: Final = "—"
_AGE_STEPS_S: Final = (1, 2, 3, 5, 10, 15, 20, 30, 45)
_SIZES: Final = ("B", "kB", "MB", "GB", "TB")


def number(value: float | None) -> str:
    """Three or four digits that matter: `0.42`, `24.8`, `412`, `12.3k`."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if size == 0:
        return "0"
    if size < 9.995:
        return f"{value:.2f}"
    if size < 99.95:
        return f"{value:.1f}"
    if size < 9_999.5:
        return f"{value:.0f}"
    return f"{value / 1_000:.1f}k" if size < 999_950 else f"{value / 1_000_000:.1f}M"


def rate(value: float | None) -> str:
    """A rate a second: one digit after the point below a hundred."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if 0 < abs(value) < 99.95 else number(value)


def whole(value: float | None) -> str:
    """A whole number: percent, degrees, days."""
    return UNKNOWN if value is None else f"{value:.0f}"


def share(part: float | None, total: float | None) -> float | None:
    """Percent of a total; None if either is not known."""
    return None if part is None or not total else 100.0 * part / total


def age(seconds: float | None) -> str:
    """How old, in steps that do not change each second: `3s`, `45s`, `14m`, `3h`, `2d`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{_AGE_STEPS_S[max(0, bisect_right(_AGE_STEPS_S, seconds) - 1)]}s"
    if seconds < 3_600:
        return f"{int(seconds // 60)}m"
    return f"{int(seconds // 3_600)}h" if seconds < 172_800 else f"{int(seconds // 86_400)}d"


def countdown(seconds: float) -> str:
    """What is left: `3:12`, `1:02:03`."""
    left = max(0, int(seconds))
    hours, minutes = left // 3_600, left % 3_600 // 60
    return f"{hours}:{minutes:02}:{left % 60:02}" if hours else f"{minutes}:{left % 60:02}"


def size(count: float | None) -> str:
    """Bytes: `312 B`, `2.8 kB`, `1.2 GB` (powers of ten)."""
    if count is None:
        return UNKNOWN
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1_000, unit + 1
    return f"{value:.0f} {_SIZES[unit]}" if unit == 0 or value >= 99.95 else f"{value:.1f} {_SIZES[unit]}"


def counted(count: int, noun: str) -> str:
    """`1 node`, `12 nodes`, `1,080 records`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def offset(seconds: float | None) -> str:
    """How far a node's clock is ahead of this console's: `+12ms`, `-3.2s`, `+2h`."""
    if seconds is None:
        return UNKNOWN
    sign, value = "-" if seconds < 0 else "+", abs(seconds)
    if value < 0.0005:
        return "0ms"
    if value < 0.9995:
        return f"{sign}{value * 1_000:.0f}ms"
    if value < 100:
        return f"{sign}{value:.1f}s"
    return f"{sign}{age(value)}"


def milliseconds(value: float | None) -> str:
    """A round trip: `12ms`."""
    return UNKNOWN if value is None else f"{value:.0f}ms"


def clock(wall_s: float) -> str:
    """Hours and minutes of the console's local time."""
    return time.strftime("%H:%M", time.localtime(wall_s))


def moment(wall_us: int, offset_s: float | None = None) -> str:
    """Time of day of something on a node, in the console's local time."""
    return time.strftime("%H:%M:%S", time.localtime(wall_us / 1e6 - (offset_s or 0.0)))


def day_and_time(wall_us: int, offset_s: float | None = None) -> str:
    """Day and time of something on a node, in the console's local time: `12 Mar 14:05`."""
    return time.strftime("%d %b %H:%M", time.localtime(wall_us / 1e6 - (offset_s or 0.0))).lstrip("0")
