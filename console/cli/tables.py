"""Plain tables for people, cleaned to the last cell."""

from __future__ import annotations

from collections.abc import Sequence

from console.client.clean import clean

CELL_CHARS_MAX = 100
GAP = "  "


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Lines of a table; the last column is not padded. Columns in `right` are aligned to the right."""
    body = [[clean(cell, CELL_CHARS_MAX) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(headers, *body, strict=True)]
    return [_line(row, widths, right) for row in (list(headers), *body)]


def _line(cells: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    padded = [
        cell.rjust(width) if index in right else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return GAP.join(padded).rstrip()


def pairs(items: Sequence[tuple[str, str]]) -> list[str]:
    """`name   value` lines."""
    width = max((len(name) for name, _ in items), default=0)
    return [f"{name.ljust(width)}{GAP}{clean(value)}".rstrip() for name, value in items]
