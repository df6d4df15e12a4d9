"""Full charts by plotext, drawn off the screen's path: at most two points a column, limits as lines, a gap as a gap.

plotext has one figure a process, so drawings take turns. It is imported when the first chart is asked for (150 ms).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from console import figures
from console.charts.chart import Figure, Subject, Window, limits_of, series_of, thinned, ticks
from console.charts.readings import Plot, newest, readings
from console.seat.sheet import Sheet
from nodeagent.protocol import Trend, TrendLimit
from widgets.cells import spans_width
from widgets.chartview import Picture
from widgets.look import Role, Span, Spans

HEIGHT_MIN: Final = 8
WIDTH_MIN: Final = 24
FRAME_CELLS: Final = 8
# A limit that is further off than so many times what is shown would press the figures flat: it is only named.
LIMIT_FAR: Final = 5.0
MARKERS: Final = ("braille", "o", "x", "+")
MARKERS_ASCII: Final = ("*", "o", "x", "+")
SERIES_MAX: Final = len(MARKERS)
_LEGEND_LINES_MAX: Final = 3
_LINE: Final = "─"
_FRAME: Final = str.maketrans("┌┐└┘─│┤├┬┴┼", "++++-|||+++")

_figure_lock = threading.Lock()


def plot_of(trends: Mapping[Subject, Trend], offsets_s: Mapping[str, float], figure: Figure, window: Window) -> Plot:
    """A figure of these trends (at least one), and the limits of all of them."""
    limits: dict[tuple[float, str], TrendLimit] = {}
    for trend in trends.values():
        for metric in figure.metrics:
            limits |= {(limit.value, limit.side): limit for limit in limits_of(trend, metric)}
    return Plot(
        title=figure.metrics[0].title if len(figure.metrics) == 1 else figure.title,
        unit=figure.unit,
        series=tuple(series_of(trends, offsets_s, figure, window)[:SERIES_MAX]),
        limits=tuple(limits.values()),
        window=window,
        step_s=max(trend.step_s for trend in trends.values()),
    )


def draw(plot: Plot, width: int, height: int, *, ascii: bool = False) -> Picture | None:  # noqa: A002
    """The chart; None where there are no points or no room. Blocks: call it in a thread."""
    if width < WIDTH_MIN or height < HEIGHT_MIN or not any(v is not None for s in plot.series for _, v in s.points):
        return None
    low, high = bounds_of(plot)
    near = [limit for limit in plot.limits if low <= limit.value <= high]
    legend = _legend(plot, near, width, ascii=ascii)
    text = _built(plot, near, (low, high), width, height - len(legend) - 1, ascii=ascii)
    left = text[0].index("+" if ascii else "┌") + 1
    columns = len(text[0].rstrip()) - 1 - left
    rows = max(i for i, line in enumerate(text) if line[left - 1] in "+└") - 1
    limit = "-" if ascii else _LINE
    inside = _labelled([line[left : left + columns] for line in text[1 : 1 + rows]], near, limit)
    lines: list[Spans] = [((text[0], "dim"),)]
    lines += [
        ((line[:left], "dim"), *_roles(plotted, limit), (line[left + columns :], "dim"))
        for line, plotted in zip(text[1:], inside, strict=False)
    ]
    lines += [((line, "dim"),) for line in text[1 + rows :]]
    return Picture(
        lines=(*legend, *lines),
        left=left,
        top=len(legend) + 1,
        rows=rows,
        readings=readings(plot, columns),
        newest=newest(plot),
    )


def bounds_of(plot: Plot) -> tuple[float, float]:
    """From zero, or below, to above what is shown and the limits that are not too far off."""
    known = [value for series in plot.series for _, value in series.points if value is not None]
    low, high = min(0.0, *known), max(0.0, *known)
    size = max(abs(low), abs(high)) or 1.0
    # A little more than the limit, so that its line is not the frame.
    near = [1.02 * limit.value for limit in plot.limits if abs(limit.value) <= LIMIT_FAR * size]
    steps = round_steps(min(low, *near, 0.0), max(high, *near, 0.0))
    return steps[0], steps[-1]


def round_steps(low: float, high: float) -> list[float]:
    """Round figures from below `low` to above `high`, in steps of 1, 2 or 5."""
    span = (high - low) or 1.0
    size = 10.0 ** math.floor(math.log10(span / 4))
    step = next(size * factor for factor in (1, 2, 5, 10) if span / (size * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def _built(
    plot: Plot,
    limits: Sequence[TrendLimit],
    bounds: tuple[float, float],
    width: int,
    height: int,
    *,
    ascii: bool,  # noqa: A002
) -> list[str]:
    """The frame with its axes and everything in it, as text."""
    import plotext

    window, columns = plot.window, width - FRAME_CELLS
    with _figure_lock:
        plotext.terminal.limit(False, False)
        figure = plotext.figure
        figure.clear()
        figure.plot_size(width, height)
        for limit in limits:
            figure.line(limit.value, "horizontal")
        for series, marker in reversed(list(zip(plot.series, MARKERS_ASCII if ascii else MARKERS, strict=False))):
            for stretch in thinned(series.points, window, columns):
                signal = figure.signal([x for x, _ in stretch], [y for _, y in stretch], marker=marker)
                signal.lines(len(stretch) > 1 and marker == MARKERS[0])
                figure.draw(signal)
        marks = ticks(window, columns)
        figure.ruler("x").lim(window.first_s, window.last_s)
        figure.ruler("x").ticks([at for at, _ in marks], [words for _, words in marks])
        steps = round_steps(*bounds)
        figure.ruler("y").lim(steps[0], steps[-1])
        figure.ruler("y").ticks(steps, [f"{step:g}" for step in steps])
        figure.label("time of this console's clock", "x")
        text: str = figure.build().string(colorless=True)
    lines = [line.ljust(width) for line in text.splitlines()]
    return [line.translate(_FRAME) for line in lines] if ascii else lines


def _labelled(lines: list[str], limits: Sequence[TrendLimit], mark: str) -> list[str]:
    """The value of each limit at the right end of its line, where the line is free there."""
    at = [i for i, line in enumerate(lines) if line.count(mark) > len(line) // 2]
    if len(at) != len(limits):
        return lines
    out = list(lines)
    for i, limit in zip(at, sorted(limits, key=lambda found: -found.value), strict=True):
        words = f" {limit.side} {figures.number(limit.value)} "
        end = len(out[i]) - 2
        if set(out[i][end - len(words) : end]) == {mark}:
            out[i] = out[i][: end - len(words)] + words + out[i][end:]
    return out


def _roles(plotted: str, limit: str) -> list[Span]:
    """Limits stand out, figures are plain."""
    spans: list[Span] = []
    for cell in plotted:
        role: Role = "warn" if cell == limit else "strong"
        if spans and spans[-1][1] == role:
            spans[-1] = (spans[-1][0] + cell, role)
        else:
            spans.append((cell, role))
    return spans


def _legend(plot: Plot, near: Sequence[TrendLimit], width: int, *, ascii: bool) -> list[Spans]:  # noqa: A002
    """What the y axis is, which mark is which series, and every limit."""
    unit = f", {plot.unit}" if plot.unit else ""
    parts: list[Spans] = [((f"{plot.title}{unit}", "title"),)]
    marks = MARKERS_ASCII if ascii else ("⠒⠒", *MARKERS[1:])
    parts += [((mark, "strong"), (f" {s.name}", "base")) for mark, s in zip(marks, plot.series, strict=False)]
    for limit in plot.limits:
        line = ("--" if ascii else _LINE * 2, "warn") if limit in near else ("not in sight:", "dim")
        parts.append(
            (line, (f" {limit.side} {figures.number(limit.value)}", "warn"), (f" {limit.code}", "dim"))  # type: ignore[arg-type]
        )
    lines: list[list[Span]] = [[(" ", "base")]]
    for part in parts:
        if len(lines[-1]) > 1 and spans_width(lines[-1]) + spans_width(part) + 3 > width:
            if len(lines) == _LEGEND_LINES_MAX:
                break
            lines.append([(" ", "base")])
        lines[-1] += [("   ", "base"), *part] if len(lines[-1]) > 1 else part
    return [tuple(line) for line in lines]


def sheet(plot: Plot, name: str) -> Sheet:
    """Every point of every series as rows; an empty cell is: not known."""
    rows = [
        (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)), series.name, "" if value is None else f"{value:.6g}")
        for series in plot.series
        for at, value in series.points
    ]
    unit = f"{plot.title}, {plot.unit}" if plot.unit else plot.title
    limits = "; ".join(f"{limit.side} {limit.value:g} {limit.code}" for limit in plot.limits)
    return Sheet(name, ("time", "series", unit), rows, about={"limits": limits})
