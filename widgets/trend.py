"""Trends: min/max charts in braille, or in ASCII where a font lacks it. A gap is drawn as a gap."""

from __future__ import annotations

from collections.abc import Sequence

from widgets.look import Look

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800
_LEVELS_ASCII = "_.-=*#"

Values = Sequence[float | None]


def _columns(values: Values, columns: int) -> list[tuple[float, float, float] | None]:
    """(lowest, highest, last) of each column; None where nothing is known. Fewer values than columns sit right."""
    count = len(values)
    if count < columns:
        return [None] * (columns - count) + [None if v is None else (v, v, v) for v in values]
    found: list[tuple[float, float, float] | None] = []
    for x in range(columns):
        part = [v for v in values[x * count // columns : (x + 1) * count // columns] if v is not None]
        found.append((min(part), max(part), part[-1]) if part else None)
    return found


def bounds(values: Values) -> tuple[float, float]:
    """A scale for `values`: from zero, or from below, to a little above the highest."""
    known = [v for v in values if v is not None]
    if not known:
        return 0.0, 1.0
    low, high = min(0.0, *known), max(known)
    return low, high if high > low else low + 1.0


def chart(
    values: Values, width: int, height: int, look: Look, *, scale: tuple[float, float] | None = None
) -> list[str]:
    """`height` lines of `width` cells, newest right."""
    low, high = scale or bounds(values)
    if width <= 0 or height <= 0:
        return []
    if look.braille:
        return _braille(values, width, height, low, high)
    return _ascii(values, width, height, low, high)


def spark(values: Values, width: int, look: Look) -> str:
    """One line of `width` cells; six levels in ASCII, four in braille (two values a cell)."""
    if look.braille:
        return chart(values, width, 1, look)[0] if width > 0 else ""
    low, high = bounds(values)
    out = ""
    for column in _columns(values, width):
        if column is None:
            out += " "
        else:
            share = (column[2] - low) / (high - low)
            out += _LEVELS_ASCII[max(0, min(5, int(share * 5.999)))]
    return out


def _braille(values: Values, width: int, height: int, low: float, high: float) -> list[str]:
    rows = height * 4
    grid = [[0] * width for _ in range(height)]
    previous: int | None = None
    for x, column in enumerate(_columns(values, width * 2)):
        if column is None:
            previous = None
            continue
        y0, y1, last = (_row(v, low, high, rows) for v in (column[1], column[0], column[2]))
        if previous is not None and previous < y0:
            y0 = min(previous + 1, y0)
        elif previous is not None and previous > y1:
            y1 = max(previous - 1, y1)
        previous = last
        for y in range(y0, y1 + 1):
            grid[y >> 2][x >> 1] |= _DOTS[y & 3][x & 1]
    return ["".join(chr(_BLANK + dots) if dots else " " for dots in line) for line in grid]


def _ascii(values: Values, width: int, height: int, low: float, high: float) -> list[str]:
    grid = [[" "] * width for _ in range(height)]
    for x, column in enumerate(_columns(values, width)):
        if column is None:
            continue
        y0, y1 = _row(column[1], low, high, height), _row(column[0], low, high, height)
        for y in range(y0, y1 + 1):
            grid[y][x] = ":" if y1 > y0 else "*"
    return ["".join(line) for line in grid]


def _row(value: float, low: float, high: float, rows: int) -> int:
    return max(0, min(rows - 1, round((high - value) / ((high - low) or 1.0) * (rows - 1))))


def meter(share: float | None, width: int, look: Look) -> str:
    """A level from 0 to 1 in `width` cells; not known is blank, never empty."""
    if share is None:
        return "?".center(width)
    full = max(0, min(width, round(share * width)))
    on, off = ("#", ".") if look.ascii else ("█", "░")
    return on * full + off * (width - full)
