"""A chart of the app as SVG to stand in a page: the same points, limits, ticks and gaps. Pure, no script, no font file.

Series differ by their dashes and limits by their words, so that a black and white print says the same.
"""

from __future__ import annotations

from html import escape
from typing import Final

from console import figures
from console.charts.chart import thinned, ticks
from console.charts.plot import LIMIT_FAR, bounds_of, round_steps
from console.charts.readings import Plot

LEFT: Final = 52
RIGHT: Final = 8
TOP: Final = 8
BOTTOM: Final = 18
# About the width of a label's character, so that ticks have room.
CELL: Final = 7
DASHES: Final = ("", "6 3", "2 2", "8 2 2 2")


def svg(plot: Plot, width: int = 680, height: int = 120) -> str:
    """The picture; "" where nothing is known. A gap is left open and shaded."""
    if not any(value is not None for series in plot.series for _, value in series.points):
        return ""
    low, high = bounds_of(plot)
    return "".join((
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-label="{escape(plot.title)}" font-size="10" font-family="sans-serif">',
        *_frame(plot, low, high, width, height),
        *_limits(plot, low, high, width, height),
        *_series(plot, low, high, width, height),
        "</svg>",
    ))  # fmt: skip


def _x(plot: Plot, at_s: float, width: int) -> float:
    return LEFT + (at_s - plot.window.first_s) / max(1e-9, plot.window.span_s) * (width - LEFT - RIGHT)


def _y(value: float, low: float, high: float, height: int) -> float:
    return TOP + (high - value) / ((high - low) or 1.0) * (height - TOP - BOTTOM)


def _frame(plot: Plot, low: float, high: float, width: int, height: int) -> list[str]:
    found = [f'<rect x="{LEFT}" y="{TOP}" width="{width - LEFT - RIGHT}" height="{height - TOP - BOTTOM}"'
             ' fill="none" stroke="#999"/>']  # fmt: skip
    for step in round_steps(low, high):
        y = _y(step, low, high, height)
        found.append(f'<text x="{LEFT - 4}" y="{y + 3:.1f}" text-anchor="end">{step:g}</text>')
        found.append(f'<line x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
    for at_s, words in ticks(plot.window, (width - LEFT - RIGHT) // CELL):
        x = _x(plot, at_s, width)
        found.append(f'<text x="{x:.1f}" y="{height - 5}" text-anchor="middle">{escape(words)}</text>')
    return found


def _limits(plot: Plot, low: float, high: float, width: int, height: int) -> list[str]:
    found = []
    for limit in plot.limits:
        if not low <= limit.value <= high or abs(limit.value) > LIMIT_FAR * max(abs(low), abs(high)):
            continue
        y = _y(limit.value, low, high, height)
        words = escape(f"{limit.side} {figures.number(limit.value)} {limit.code}")
        found.append(f'<line x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#a00"/>')
        found.append(f'<text x="{width - RIGHT - 4}" y="{y - 2:.1f}" text-anchor="end" fill="#a00">{words}</text>')
    return found


def _series(plot: Plot, low: float, high: float, width: int, height: int) -> list[str]:
    found = []
    for series, dash in zip(plot.series, DASHES, strict=False):
        style = f' stroke-dasharray="{dash}"' if dash else ""
        for stretch in thinned(series.points, plot.window, width - LEFT - RIGHT):
            places = [(_x(plot, at, width), _y(value, low, high, height)) for at, value in stretch]
            if len(places) == 1:
                found.append(f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="1.2"/>')
                continue
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            found.append(f'<polyline points="{points}" fill="none" stroke="#000"{style}/>')
    return found
