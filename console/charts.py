"""Full charts by plotext, drawn off the screen's path: at most two points a column, a gap stays a gap.

plotext has one figure a process, so drawings take turns. It is imported when the first chart is asked for (150 ms).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from nodeagent.protocol import Trend, TrendPoint

POINTS_A_COLUMN: Final = 2
FRAME_CELLS: Final = 8
HEIGHT_MIN: Final = 5
WIDTH_MIN: Final = 20

Point = tuple[float, float | None]

_figure_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a trend, with its unit."""

    name: str
    title: str
    unit: str
    value: Callable[[TrendPoint], float | None]


METRICS: Final = (
    Metric("rate", "inferences", "1/s", lambda p: p.inferences_per_s),
    Metric("p95", "latency p95", "ms", lambda p: p.latency_ms_p95),
    Metric("rejects", "rejects", "1/s", lambda p: p.rejects_per_s),
    Metric("cpu", "cpu", "%", lambda p: p.cpu_percent),
    Metric("memory", "memory", "%", lambda p: p.memory_percent),
)


def points_of(trend: Trend, metric: Metric) -> list[Point]:
    """(wall time in seconds, value) of a metric. A hole in time becomes a gap."""
    points: list[Point] = []
    for point in trend.points:
        wall_s = point.wall_us / 1e6
        if points and wall_s - points[-1][0] > 2.5 * trend.step_s:
            points.append((points[-1][0] + trend.step_s, None))
        points.append((wall_s, metric.value(point)))
    return points


def thinned(points: Sequence[Point], columns: int) -> list[list[tuple[float, float]]]:
    """The stretches between gaps, each reduced to the lowest and the highest point of every column."""
    if not points or columns <= 0:
        return []
    first, last = points[0][0], points[-1][0]
    width_s = max(1e-9, (last - first) / columns)
    stretches: list[list[tuple[float, float]]] = [[]]
    column: list[tuple[float, float]] = []
    at = 0

    def flush() -> None:
        if column:
            pair = {min(column, key=lambda p: p[1]), max(column, key=lambda p: p[1])}
            stretches[-1].extend(sorted(pair))
            column.clear()

    for wall_s, value in points:
        place = int((wall_s - first) / width_s)
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


def draw(points: Sequence[Point], title: str, width: int, height: int, *, ascii: bool = False) -> list[str]:  # noqa: A002
    """The lines of a chart; none where there are no points or no room. Blocks: call it in a thread."""
    if width < WIDTH_MIN or height < HEIGHT_MIN:
        return []
    stretches = thinned(points, width - FRAME_CELLS)
    if not stretches:
        return []
    import plotext

    marker = "*" if ascii else "braille"
    high = max(value for stretch in stretches for _, value in stretch)
    low = min(0.0, *(value for stretch in stretches for _, value in stretch))
    with _figure_lock:
        plotext.terminal.limit(False, False)
        figure = plotext.figure
        figure.clear()
        figure.plot_size(width, height)
        for stretch in stretches:
            signal = figure.signal([x for x, _ in stretch], [y for _, y in stretch], marker=marker)
            signal.lines(len(stretch) > 1)
            figure.draw(signal)
        first, last = points[0][0], points[-1][0]
        ticks = [first + (last - first) * i / 4 for i in range(5)]
        form = "%H:%M" if last - first < 172_800 else "%d %b"
        figure.ruler("x").ticks(ticks, [time.strftime(form, time.localtime(t)) for t in ticks])
        steps = _steps(low, high)
        figure.ruler("y").lim(steps[0], steps[-1])
        figure.ruler("y").ticks(steps, [f"{step:g}" for step in steps])
        figure.title(title)
        text: str = figure.build().string(colorless=True)
    return [_ascii_frame(line) if ascii else line for line in text.splitlines()]


def _steps(low: float, high: float) -> list[float]:
    """Round figures from below `low` to above `high`, in steps of 1, 2 or 5."""
    span = (high - low) or 1.0
    size = 10.0 ** math.floor(math.log10(span / 4))
    step = next(size * factor for factor in (1, 2, 5, 10) if span / (size * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def _ascii_frame(line: str) -> str:
    return line.translate(_FRAME)


_FRAME: Final = str.maketrans("┌┐└┘─│┤├┬┴┼", "++++-|||+++")
