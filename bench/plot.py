"""One line over one axis as SVG, both axes logarithmic: a straight line of slope one is linear growth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP = 480, 280, 64, 40
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - LEFT - 24, HEIGHT - TOP - 40


def plot(title: str, points: Sequence[tuple[float, float]]) -> str:
    """The picture: the measured points, and dashed the line of linear growth through the last of them."""
    xs, ys = [max(x, 1e-9) for x, _ in points], [max(y, 1e-9) for _, y in points]
    linear = [ys[-1] * x / xs[-1] for x in xs]
    left, right = _decades(xs)
    low, high = _decades([*ys, *linear])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - left) / (right - left)
        up = (math.log10(y) - low) / (high - low)
        return round(LEFT + across * _PLOT_WIDTH, 1), round(TOP + (1 - up) * _PLOT_HEIGHT, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><text x="{LEFT}" y="22">{escape(title)}</text>',
    ]
    for power in range(low, high + 1):
        _x, y = place(xs[0], 10.0**power)
        parts.append(f'<path d="M{LEFT} {y}H{LEFT + _PLOT_WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{10.0**power:g}</text>')
    for x in xs:
        at, _y = place(x, ys[0])
        parts.append(f'<text x="{at}" y="{HEIGHT - 16}" text-anchor="middle">{x:g}</text>')
    parts.append(_line([place(x, y) for x, y in zip(xs, linear, strict=True)], 'stroke="#888" stroke-dasharray="4 4"'))
    places = [place(x, y) for x, y in zip(xs, ys, strict=True)]
    parts.append(_line(places, 'stroke="#0b62a4" stroke-width="2"'))
    parts += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="#0b62a4"/>' for x, y in places]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(places: Sequence[tuple[float, float]], style: str) -> str:
    return f'<polyline points="{" ".join(f"{x},{y}" for x, y in places)}" fill="none" {style}/>'


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)
