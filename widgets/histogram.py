"""Bars of counts: how often each. A bar that counts anything is seen, however small it is beside the others."""

from __future__ import annotations

from collections.abc import Sequence

from widgets.look import Look


def bars(counts: Sequence[int], bar_cells: int, height: int, look: Look) -> list[str]:
    """`height` lines, `bar_cells` cells a bar; a count that is too small for half a cell is a dot."""
    highest = max(counts, default=0)
    if highest <= 0 or height <= 0 or bar_cells <= 0:
        return [""] * max(0, height)
    full, half = ("#", ".") if look.ascii else ("█", "▄")
    lines = []
    for y in range(height):
        line = ""
        for count in counts:
            halves = round(2 * height * count / highest) - 2 * (height - 1 - y)
            cell = full if halves >= 2 else half if halves == 1 else " "
            if y == height - 1 and count and halves <= 0:
                cell = "."
            line += cell * bar_cells
        lines.append(line.rstrip())
    return lines
