"""One figure of a node over time, as large as the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from console import charts
from console.messages import WorkChanged
from console.screens.page import Page, bindings
from nodeagent.protocol import Trend
from widgets.chartview import ChartView
from widgets.look import Look
from widgets.titlerow import TitleRow


class ChartPage(Page):
    """The chart is drawn in a thread and shown when it is ready; left and right change the figure."""

    kind = "chart"
    name_shown = "Chart"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("chart"),
        Binding("right,tab", "metric(1)", "next figure", show=False),
        Binding("left,shift+tab", "metric(-1)", "last figure", show=False),
    ]

    def __init__(self, look: Look, node: str) -> None:
        super().__init__(look)
        self.about = node
        self.title_row = TitleRow(look)
        self.chart_view = ChartView(look)
        self.metric = 0
        self.trend: Trend | None = None
        self.key_row.set_keys((("left right", "other figure"), *self.key_row.keys))

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.chart_view)

    def node(self) -> str | None:
        return self.about

    def opened(self) -> None:
        super().opened()
        self.chart_view.focus()
        state = self.board.nodes.get(self.about)
        bundle = state.bundles[0].bundle if state and state.bundles else ""
        operations, node = self.seat.operations, self.about
        self.seat.begin("trend", "trend", node, lambda _: operations.trend(node, bundle), quiet=True)

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        titles = tuple(metric.title for metric in charts.METRICS)
        self.title_row.set_values(((self.about, "strong"),), tabs=titles, tab=self.metric)

    def action_metric(self, step: int) -> None:
        self.seat.touch()
        self.metric = (self.metric + step) % len(charts.METRICS)
        self.draw(None)
        self._build()

    def on_chart_view_sized(self, message: ChartView.Sized) -> None:
        self._build()

    def _build(self) -> None:
        trend, metric = self.trend, charts.METRICS[self.metric]
        if trend is None:
            return
        size, only_ascii = self.chart_view.size, not self.look.braille
        title = f"{trend.bundle} {metric.title}, {metric.unit}"

        async def build(_: Any) -> tuple[int, list[str]]:
            points = charts.points_of(trend, metric)
            lines = await asyncio.to_thread(charts.draw, points, title, size.width, size.height, ascii=only_ascii)
            return self.metric, lines

        self.seat.begin("chart", "chart", self.about, build, quiet=True)

    def on_work_changed(self, message: WorkChanged) -> None:
        work = message.work
        if work.node != self.about or work.state not in ("done", "failed"):
            return
        if work.kind == "trend" and work.state == "failed":
            self.chart_view.set_lines([], str(work.error))
        elif work.kind == "trend":
            self.trend = work.result
            self._build()
        elif work.kind == "chart" and work.result[0] == self.metric:
            self.chart_view.set_lines(work.result[1], "no figures of this kind in this time")

    def yank_text(self) -> str:
        return "\n".join(self.chart_view.lines)
