"""One figure of a node over time, as large as the screen: zoom, limits, several series, a cursor; or its latencies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from textual.binding import BindingType
from textual.widget import Widget

from console.charts import histogram, plot
from console.charts.chart import FIGURES, ZOOM_FIRST, ZOOMS, Subject, Window
from console.charts.readings import Plot
from console.fleet.rows import state_of
from console.screens.page import Page, bindings
from console.seat.messages import WorkChanged
from console.seat.sheet import Sheet
from nodeagent.protocol import BundleTelemetry, Trend
from widgets.chartview import ChartView, Picture
from widgets.look import Look, Spans
from widgets.status import word
from widgets.titlerow import TitleRow

TABS: Final = (*(figure.title for figure in FIGURES), "histogram")
HISTOGRAM: Final = len(FIGURES)
POINTS_MIN: Final = 120
FAR_COLUMNS: Final = 10
# How often what is shown is fetched anew: a share of the time that is shown, within these.
FETCHES_A_SPAN: Final = 120
FETCH_S: Final = (5.0, 300.0)


class ChartPage(Page):
    """The picture is made in a thread and shown when it is ready; until then the one before stays."""

    kind = "chart"
    name_shown = "Chart"
    BINDINGS: ClassVar[list[BindingType]] = bindings("chart")

    def __init__(self, look: Look, node: str) -> None:
        super().__init__(look)
        self.about = node
        self.title_row = TitleRow(look)
        self.chart_view = ChartView(look)
        self.tab = 0
        self.zoom = ZOOM_FIRST
        self.bundle_at = 0
        self.with_marked = False
        self.trends: dict[Subject, Trend] = {}
        self._asked: set[tuple[int, Subject]] = set()
        self._fetched_s: float | None = None
        self._drawn: tuple[object, ...] = ()
        self._builds = 0

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.chart_view)

    def node(self) -> str | None:
        return self.about

    def opened(self) -> None:
        super().opened()
        self.chart_view.focus()
        self._fetch()

    # ------------------------------------------------------------ what is looked at

    def bundles(self, node: str = "") -> list[BundleTelemetry]:
        """What runs on a node, in an order that a trial does not change."""
        state = self.board.nodes.get(node or self.about)
        return sorted(state.bundles, key=lambda b: b.bundle) if state else []

    def chosen(self) -> list[str]:
        """The bundles that are looked at: one, or all of them; empty names the host alone."""
        names = [b.bundle for b in self.bundles()]
        if len(names) < 2:
            return names or [""]
        at = self.bundle_at % (len(names) + 1)
        return names if at == len(names) else [names[at]]

    def subjects(self) -> list[Subject]:
        """What is charted: bundles of this node, then the same bundle, or else the first one, of the marked nodes."""
        chosen = self.chosen()
        found = [(self.about, bundle) for bundle in chosen]
        if self.with_marked:
            for node in sorted(self.seat.marked - {self.about}):
                names = [b.bundle for b in self.bundles(node)]
                if names:
                    found.append((node, chosen[0] if chosen[0] in names else names[0]))
        return found

    def window(self) -> Window:
        """The time that is shown, up to now."""
        return Window(self.board.wall_s - ZOOMS[self.zoom][1], self.board.wall_s)

    def _fetch(self) -> None:
        self._fetched_s = self.seat.clock.monotonic_s()
        for subject in self.subjects():
            if (self.zoom, subject) not in self._asked:
                self._ask(self.zoom, subject)

    def _ask(self, zoom: int, subject: Subject) -> None:
        self._asked.add((zoom, subject))
        hours, points = ZOOMS[zoom][1] / 3_600, max(POINTS_MIN, 2 * self.size.width)
        operations, (node, bundle) = self.seat.operations, subject

        async def fetch(_: Any) -> tuple[int, Subject, Trend]:
            try:
                return zoom, subject, await operations.trend(node, bundle, hours=hours, points=points)
            finally:
                self._asked.discard((zoom, subject))

        self.seat.begin("trends", "trend", node, fetch, quiet=True)

    def _is_due(self) -> bool:
        state = self.board.nodes.get(self.about)
        if self._fetched_s is None or self._asked or state is None or not state.known:
            return False
        every_s = max(FETCH_S[0], min(FETCH_S[1], ZOOMS[self.zoom][1] / FETCHES_A_SPAN), 5 * self.seat.link.period_s)
        return self.seat.clock.monotonic_s() - self._fetched_s >= every_s

    # ------------------------------------------------------------ drawing

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        state = self.board.nodes.get(self.about)
        note = ", ".join(name for name in self.chosen() if name)
        if self.tab != HISTOGRAM:
            note = f"{ZOOMS[self.zoom][0]}  {note}".strip()
        spans: Spans = ((self.about, "strong"),)
        if state is not None and not state.known:
            spans = (word(state_of(state), self.look), (" ", "base"), *spans)
        self.title_row.set_values(spans, tabs=TABS, tab=self.tab, note=note)
        if self.tab == HISTOGRAM:
            self._draw_histogram()
        elif self._is_due():
            self._fetch()

    def on_chart_view_sized(self, message: ChartView.Sized) -> None:
        self._drawn = ()
        self._build()

    def _build(self) -> None:
        """Has the picture made of what is there."""
        if self.tab == HISTOGRAM:
            self._draw_histogram()
            return
        if not self.trends:
            return
        self._builds += 1
        size, only_ascii, shown = self.chart_view.size, not self.look.braille, self._builds
        wanted, subjects = self._plot(), len(self.subjects())

        async def build(_: Any) -> tuple[int, Picture | None, int]:
            made = await asyncio.to_thread(plot.draw, wanted, size.width, size.height, ascii=only_ascii)
            return shown, made, subjects

        self.seat.begin("chart", "chart", self.about, build, quiet=True)

    def _plot(self) -> Plot:
        offsets = {name: state.view.clock_offset_s or 0.0 for name, state in self.board.nodes.items()}
        return plot.plot_of(self.trends, offsets, FIGURES[self.tab], self.window())

    def _draw_histogram(self) -> None:
        """Of what telemetry said last; drawn only when that, or the room for it, is another."""
        name = self.chosen()[0]
        bundle = next((b for b in self.bundles() if b.bundle == name), None)
        size = self.chart_view.size
        if bundle is None or not bundle.latency_histogram_ms:
            self._drawn = ()
            self.chart_view.set_picture(None, f"{self.about} tells no latencies of {name or 'any bundle'} now")
            return
        drawn = (tuple(bundle.latency_histogram_ms), size, self.look)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        trend = self.trends.get((self.about, name))
        limits = [limit for limit in trend.limits if limit.figure.startswith("bundle.latency_ms")] if trend else []
        told = histogram.Latencies(f"{name} {bundle.version} r{bundle.revision}", bundle.latency_histogram_ms, limits)
        picture = histogram.draw(told, size.width, size.height - 1, self.look)
        self.chart_view.set_picture(picture, "this terminal is too small for a chart")

    def on_work_changed(self, message: WorkChanged) -> None:
        super().on_work_changed(message)
        work = message.work
        if work.state == "failed" and work.kind == "trends" and not self.trends:
            self.chart_view.set_picture(None, str(work.error))
        elif work.state == "done" and work.kind == "trends":
            zoom, subject, trend = work.result
            if zoom == self.zoom and subject in self.subjects():
                have = self.trends | {subject: trend}
                self.trends = {subject: have[subject] for subject in self.subjects() if subject in have}
                self._build()
        elif work.state == "done" and work.kind == "chart" and work.node == self.about:
            self._show(*work.result)

    def _show(self, build: int, picture: Picture | None, subjects: int) -> None:
        """Only the newest picture: threads may end in another order than they began."""
        if build != self._builds or self.tab == HISTOGRAM:
            return
        small = self.chart_view.size.height < plot.HEIGHT_MIN or self.chart_view.size.width < plot.WIDTH_MIN
        nothing = f"nothing is known of {FIGURES[self.tab].metrics[0].title} in the last {ZOOMS[self.zoom][0]}"
        self.chart_view.set_picture(picture, "this terminal is too small for a chart" if small else nothing)
        lines = subjects * len(FIGURES[self.tab].metrics)
        if lines > plot.SERIES_MAX:
            self.say(f"{plot.SERIES_MAX} of {lines} series are shown: mark fewer nodes")

    # ------------------------------------------------------------ keys

    def _open(self, tab: int) -> None:
        self.tab = tab % len(TABS)
        self._builds += 1
        self.chart_view.cursor = None
        self._drawn = ()
        self.draw(None)
        self._build()

    def _look_anew(self) -> None:
        """At other trends: those that are there do not belong to what is asked."""
        self.trends = {}
        self._open(self.tab)
        self._fetch()

    def do_next_figure(self) -> None:
        self._open(self.tab + 1)

    def do_last_figure(self) -> None:
        self._open(self.tab - 1)

    def do_histogram(self) -> None:
        self._open(1 if self.tab == HISTOGRAM else HISTOGRAM)

    def do_zoom_in(self) -> None:
        self._zoom_to(self.zoom - 1)

    def do_zoom_out(self) -> None:
        self._zoom_to(self.zoom + 1)

    def _zoom_to(self, zoom: int) -> None:
        if self.tab == HISTOGRAM:
            self.say("the histogram counts since the worker started; H shows latencies over time")
        elif 0 <= zoom < len(ZOOMS):
            self.zoom = zoom
            self._look_anew()
        else:
            self.say(f"{ZOOMS[self.zoom][0]} is the {'shortest' if zoom < 0 else 'longest'} time")

    def do_next_bundle(self) -> None:
        if len(self.bundles()) < 2:
            self.say(f"{self.about} has {'one bundle' if self.bundles() else 'no bundle'}")
            return
        self.bundle_at += 1
        self._look_anew()

    def do_beside(self) -> None:
        if not self.with_marked and not self.seat.marked - {self.about}:
            self.say("no other node is marked: space marks one in the fleet")
            return
        self.with_marked = not self.with_marked
        self._look_anew()

    def do_read_left(self) -> None:
        self.chart_view.move(-1)

    def do_read_right(self) -> None:
        self.chart_view.move(1)

    def do_read_far_left(self) -> None:
        self.chart_view.move(-FAR_COLUMNS)

    def do_read_far_right(self) -> None:
        self.chart_view.move(FAR_COLUMNS)

    def do_back(self) -> None:
        if not self.chart_view.leave():
            super().do_back()

    def yank_text(self) -> str:
        picture = self.chart_view.picture
        reading = "".join(text for text, _ in self.chart_view.reading())
        return "\n".join([*picture.plain(), reading]) if picture else ""

    def sheet(self) -> Sheet | None:
        if self.tab == HISTOGRAM or not self.trends:
            return super().sheet()
        return plot.sheet(self._plot(), f"{self.about} {FIGURES[self.tab].title}")
