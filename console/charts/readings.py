"""A chart as numbers: what is to be drawn, and what a person reads in each of its columns. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from console import figures
from console.charts.chart import Point, Series, Window, moment_of
from nodeagent.protocol import TrendLimit
from widgets.look import Span, Spans


@dataclass(frozen=True, slots=True)
class Plot:
    """What is to be drawn. `step_s`: how long each point stands for."""

    title: str
    unit: str
    series: tuple[Series, ...]
    limits: tuple[TrendLimit, ...]
    window: Window
    step_s: float


def readings(plot: Plot, columns: int) -> tuple[Spans, ...]:
    """What each column of the plot says: the lowest and the highest value of every series in it."""
    times = {series.name: [at for at, _ in series.points] for series in plot.series}
    wide_s = plot.window.span_s / max(1, columns)
    found = []
    for column in range(columns):
        first_s = plot.window.first_s + column * wide_s
        values = [
            (s.name, _between(s.points, times[s.name], first_s, first_s + wide_s, plot.step_s)) for s in plot.series
        ]
        found.append(_said(plot, moment_of(plot.window, first_s + wide_s / 2, min(plot.step_s, wide_s)), values))
    return tuple(found)


def _between(
    points: Sequence[Point], times: Sequence[float], first_s: float, last_s: float, step_s: float
) -> tuple[float, float] | None:
    """The lowest and highest value of a column; of a point that began before it, where that is not over yet."""
    start, end = bisect_right(times, first_s), bisect_right(times, last_s)
    inside = [value for _, value in points[start:end] if value is not None]
    if inside:
        return min(inside), max(inside)
    if start == end and start and first_s - times[start - 1] < step_s:
        value = points[start - 1][1]
        return None if value is None else (value, value)
    return None


def newest(plot: Plot) -> Spans:
    """The last column in which anything is known; nothing is said of a series that ended before."""
    known = [at for series in plot.series for at, value in series.points if value is not None]
    last_s = max(known)
    values = []
    for series in plot.series:
        at_end = [v for at, v in series.points if v is not None and last_s - at < max(1.0, plot.step_s)]
        values.append((series.name, (at_end[-1], at_end[-1]) if at_end else None))
    return _said(plot, f"newest {moment_of(plot.window, last_s, plot.step_s)}", values)


def _said(plot: Plot, when: str, values: Sequence[tuple[str, tuple[float, float] | None]]) -> Spans:
    spans: list[Span] = [(f" {when}", "strong")]
    for name, pair in values:
        spans.append((f"   {name} ", "dim"))
        if pair is None:
            spans.append(("? not known", "unknown"))
            continue
        low, high = (figures.number(value) for value in pair)
        over = next((limit for limit in plot.limits if _is_over(limit, pair)), None)
        text = low if low == high else f"{low} to {high}"
        spans.append((f"{text} {plot.unit}".rstrip(), "warn" if over else "strong"))
        if over is not None:
            spans.append((f" beyond {over.side} {figures.number(over.value)}", "warn"))
    return tuple(spans)


def _is_over(limit: TrendLimit, pair: tuple[float, float]) -> bool:
    return pair[1] > limit.value if limit.side == "high" else pair[0] < limit.value
