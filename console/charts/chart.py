"""What a chart shows: figures of trends with their units and limits, in a window of time. Pure; charts/plot.py draws.

A gap stays a gap. Times are of this console's clock: what a node says is moved by the offset of its clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nodeagent.protocol import Trend, TrendLimit, TrendPoint

GAP_STEPS: Final = 2.5
SECONDS_SPAN_S: Final = 600.0
DAYS_SPAN_S: Final = 172_800.0
# Blank cells between two labels: as they are read best, and where there is little room.
_TICK_ROOM: Final = (4, 1)
_TICK_STEPS_S: Final = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000,
    864_000,
)  # fmt: skip

Point = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a trend, with its unit. `limits`: the figure as alert rules name it, times `scale`."""

    title: str
    unit: str
    value: Callable[[TrendPoint], float | None]
    limits: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Figure:
    """What one chart shows: metrics of one unit. `of_host`: the same whichever bundle is looked at."""

    title: str
    metrics: tuple[Metric, ...]
    of_host: bool = False

    @property
    def unit(self) -> str:
        return self.metrics[0].unit


def _rejects_percent(point: TrendPoint) -> float | None:
    if point.rejects_per_s is None or point.inferences_per_s is None:
        return None
    passed = point.rejects_per_s + point.inferences_per_s
    return 100.0 * point.rejects_per_s / passed if passed else None


RATE: Final = Metric("inferences", "1/s", lambda p: p.inferences_per_s, "bundle.inferences_per_s")
P95: Final = Metric("latency p95", "ms", lambda p: p.latency_ms_p95, "bundle.latency_ms_p95")
FIGURES: Final = (
    Figure("rate", (RATE,)),
    Figure("latency", (P95,)),
    Figure("score", (Metric("score", "", lambda p: p.score, "bundle.score"),)),
    Figure("rejects", (Metric("rejects", "% of sweeps", _rejects_percent, "bundle.rejects_share", 100.0),)),
    Figure(
        "host",
        (
            Metric("cpu", "%", lambda p: p.cpu_percent, "host.cpu_percent"),
            Metric("memory", "%", lambda p: p.memory_percent, "host.memory_percent"),
        ),
        of_host=True,
    ),
)
ZOOMS: Final = (
    ("1 min", 60.0), ("5 min", 300.0), ("15 min", 900.0), ("1 h", 3_600.0), ("6 h", 21_600.0), ("24 h", 86_400.0),
    ("7 d", 604_800.0), ("30 d", 2_592_000.0),
)  # fmt: skip
ZOOM_FIRST: Final = 3


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when a chart is, in seconds of this console's clock."""

    first_s: float
    last_s: float

    @property
    def span_s(self) -> float:
        return self.last_s - self.first_s


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: (time, value), None where nothing is known."""

    name: str
    points: tuple[Point, ...]


def points_of(trend: Trend, metric: Metric, offset_s: float = 0.0) -> list[Point]:
    """(time in seconds, value) of a metric, in order of time. A hole in time becomes a gap."""
    points: list[Point] = []
    for point in sorted(trend.points, key=lambda p: p.wall_us):
        wall_s = point.wall_us / 1e6 - offset_s
        if points and wall_s - points[-1][0] > GAP_STEPS * trend.step_s:
            points.append((points[-1][0] + trend.step_s, None))
        points.append((wall_s, metric.value(point)))
    return points


def within(points: Sequence[Point], window: Window) -> tuple[Point, ...]:
    """The points of a window."""
    return tuple(point for point in points if window.first_s <= point[0] <= window.last_s)


def limits_of(trend: Trend, metric: Metric) -> list[TrendLimit]:
    """The limits of a metric in its own unit, the nearest first."""
    found = {(limit.value, limit.side): limit for limit in reversed(trend.limits) if limit.figure == metric.limits}
    return [
        TrendLimit(figure=limit.figure, value=limit.value * metric.scale, side=limit.side, code=limit.code)
        for limit in sorted(found.values(), key=lambda limit: abs(limit.value))
    ]


def thinned(points: Sequence[Point], window: Window, columns: int) -> list[list[tuple[float, float]]]:
    """The stretches between gaps, each reduced to the lowest and the highest point of every column."""
    if not points or columns <= 0:
        return []
    width_s = max(1e-9, window.span_s / columns)
    stretches: list[list[tuple[float, float]]] = [[]]
    column: list[tuple[float, float]] = []
    at = 0

    def flush() -> None:
        if column:
            pair = {min(column, key=lambda p: p[1]), max(column, key=lambda p: p[1])}
            stretches[-1].extend(sorted(pair))
            column.clear()

    for wall_s, value in points:
        place = int((wall_s - window.first_s) / width_s)
        if place != at:
            flush()
            at = place
        if value is None:
            flush()
            if stretches[-1]:
                stretches.append([])
        else:
            column.append((wall_s, value))
    flush()
    return [stretch for stretch in stretches if stretch]


def ticks(window: Window, columns: int) -> list[tuple[float, str]]:
    """Round local times for the x axis, as many as have room, never two with the same words."""
    found: list[tuple[float, str]] = []
    for room in _TICK_ROOM:
        found = _ticks(window, columns, room)
        if len(found) > 1:
            break
    return found


def _ticks(window: Window, columns: int, room: int) -> list[tuple[float, str]]:
    form = "%H:%M:%S" if window.span_s < SECONDS_SPAN_S else "%H:%M" if window.span_s < DAYS_SPAN_S else "%d %b"
    cells = len(time.strftime(form, time.gmtime(0)))
    whole_days = window.span_s >= DAYS_SPAN_S
    least_s = max(window.span_s * (cells + room) / max(1, columns), 86_400.0 if whole_days else 0.0)
    step_s = next((step for step in _TICK_STEPS_S if step >= least_s), _TICK_STEPS_S[-1])
    edge_s = window.span_s * cells / 2 / max(1, columns)
    ahead_s = time.localtime(window.last_s).tm_gmtoff
    at_s = ((window.first_s + edge_s + ahead_s) // step_s + 1) * step_s - ahead_s
    found = []
    while at_s <= window.last_s - edge_s:
        found.append((at_s, time.strftime(form, time.localtime(at_s)).lstrip("0" if whole_days else "")))
        at_s += step_s
    return found


def moment_of(window: Window, at_s: float, step_s: float) -> str:
    """The time that a cursor stands on, as exact as the chart is."""
    if window.span_s >= DAYS_SPAN_S:
        return time.strftime("%d %b %H:%M", time.localtime(at_s)).lstrip("0")
    return time.strftime("%H:%M:%S" if step_s < 60 else "%H:%M", time.localtime(at_s))


# ---------------------------------------------------------------- what is looked at

# One line of development: a node, and one of its bundles (empty: the host alone).
Subject = tuple[str, str]


def series_of(
    trends: Mapping[Subject, Trend], offsets_s: Mapping[str, float], figure: Figure, window: Window
) -> list[Series]:
    """The series of a chart over these trends. A name says only what tells the series apart."""
    nodes = {node for node, _ in trends}
    bundles = {bundle for _, bundle in trends}
    found = []
    for (node, bundle), trend in trends.items():
        for metric in figure.metrics:
            words = [node] if len(nodes) > 1 else []
            words += [bundle] if bundle and not figure.of_host and (len(bundles) > 1 or len(nodes) == 1) else []
            words += [metric.title] if len(figure.metrics) > 1 or not words else []
            points = within(points_of(trend, metric, offsets_s.get(node, 0.0)), window)
            found.append(Series(" ".join(words), points))
    return found
