"""The full chart of latencies: a bar a bin, the quantiles and the limits under it. Cheap enough to be drawn at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from console import figures
from console.charts.latency import Bin, bins_of, fitted, quantile_ms
from nodeagent.protocol import TrendLimit
from widgets.chartview import Picture
from widgets.histogram import bars
from widgets.look import Look, Span, Spans

WIDTH_MIN: Final = 24
HEIGHT_MIN: Final = 9
BAR_CELLS_MAX: Final = 6
AXIS_CELLS: Final = 8
QUANTILES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@dataclass(frozen=True, slots=True)
class Latencies:
    """What is to be drawn. `limits` are of p95 and p99."""

    name: str
    histogram_ms: Sequence[tuple[float, int]]
    limits: Sequence[TrendLimit] = ()


def draw(latencies: Latencies, width: int, height: int, look: Look) -> Picture | None:
    """The chart; None where nothing was counted or there is no room."""
    every = bins_of(latencies.histogram_ms)
    if not every or width < WIDTH_MIN or height < HEIGHT_MIN:
        return None
    shown = fitted(every, width - AXIS_CELLS - 1)
    cells = min(BAR_CELLS_MAX, (width - AXIS_CELLS - 1) // len(shown))
    head = _head(latencies, every)
    rows = height - len(head) - 5
    highest = max(b.count for b in shown)
    drawn = bars([b.count for b in shown], cells, rows, look)
    lines: list[Spans] = [*head]
    for y, line in enumerate(drawn):
        label = _count(highest) if y == 0 else _count(highest / 2) if y == rows // 2 else "0" if y == rows - 1 else ""
        edge = "|" if look.ascii else "│"
        plotted = line.ljust(len(shown) * cells)
        lines.append(((f"{label:>{AXIS_CELLS - 1}}{edge}", "dim"), (plotted, "strong")))
    lines += _axis(latencies, every, shown, cells, look)
    readings = tuple(_said(every, shown[column // cells]) for column in range(len(shown) * cells))
    return Picture(lines=tuple(lines), left=AXIS_CELLS, top=len(head), rows=rows, readings=readings, newest=_all(every))


def _head(latencies: Latencies, every: Sequence[Bin]) -> list[Spans]:
    total = sum(b.count for b in every)
    parts: list[Span] = [(" answers by latency", "title"), (f"   {latencies.name}", "base")]
    parts.append((f"   {total:,} since its worker started", "dim"))
    limits: list[Span] = []
    for limit in latencies.limits:
        over = sum(b.count for b in every if b.low_ms >= limit.value)
        limits += [(f"   limit of {limit.figure[-3:]} {figures.number(limit.value)} ms", "warn"),
                   (f" {limit.code}: {over:,} took at least that", "dim")]  # fmt: skip
    return [tuple(parts), *([((limits[0][0][2:], "warn"), *limits[1:])] if limits else [])]


def _axis(latencies: Latencies, every: Sequence[Bin], shown: Sequence[Bin], cells: int, look: Look) -> list[Spans]:
    """The ms under the bars, then the quantiles and limits where they are."""
    width = len(shown) * cells
    corner, dash, up = ("+", "-", "^") if look.ascii else ("└", "─", "^")
    ticks, labels = [dash] * width, [" "] * (width + 8)
    free = 0
    for i, b in enumerate(shown):
        words, at = figures.number(b.low_ms), i * cells
        if at >= free and at + len(words) <= width + 7:
            ticks[at] = "+" if look.ascii else "┬"
            labels[at : at + len(words)] = words
            free = at + len(words) + 3
    marks = [" "] * (width + 24)
    taken = 0
    for name, share in QUANTILES:
        value = quantile_ms(every, share)
        at = next((i for i, b in enumerate(shown) if value is not None and value <= b.high_ms), 0) * cells
        words = f"{up}{name} {figures.number(value)}"
        at = max(at, taken)
        marks[at : at + len(words)] = words
        taken = at + len(words) + 1
    margin = " " * AXIS_CELLS
    return [
        ((f"{' ' * (AXIS_CELLS - 1)}{corner}{''.join(ticks)}", "dim"),),
        ((margin + "".join(labels).rstrip(), "dim"),),
        ((margin + "".join(marks).rstrip(), "strong"),),
        ((margin + "latency, ms (the axis is logarithmic); height: how many answers", "dim"),),
    ]


def _count(value: float) -> str:
    return figures.number(value).removesuffix(".00").removesuffix(".0")


def _said(every: Sequence[Bin], b: Bin) -> Spans:
    total = sum(x.count for x in every)
    up_to = sum(x.count for x in every if x.high_ms <= b.high_ms)
    return (
        (f" {figures.number(b.low_ms)} to {figures.number(b.high_ms)} ms", "strong"),
        (f"   {b.count:,} answers, {_percent(b.count, total)}", "base"),
        (f"   {_percent(up_to, total)} took at most {figures.number(b.high_ms)} ms", "dim"),
    )


def _all(every: Sequence[Bin]) -> Spans:
    words = "   ".join(f"{name} {figures.number(quantile_ms(every, share))} ms" for name, share in QUANTILES)
    return ((f" {words}", "strong"), (f"   longest under {figures.number(every[-1].high_ms)} ms", "dim"))


def _percent(part: int, total: int) -> str:
    share = 100.0 * part / total
    return f"{share:.3g} %" if 0 < share < 99.95 or share in (0.0, 100.0) else ">99.9 %"
