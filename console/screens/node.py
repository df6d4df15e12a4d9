"""One node: overview, pipeline, records, logs, deployments, checks, alert rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from textual.binding import BindingType
from textual.widget import Widget

from console import figures
from console.fleet.checks import Checked
from console.fleet.overview import overview
from console.fleet.rows import state_of
from console.screens.checklines import check_lines
from console.screens.filterrow import FilterRow
from console.screens.following import Following
from console.screens.page import Page, bindings
from console.screens.panes import DeploymentsPane, PipelinePane, RecordsPane
from console.screens.rulelines import rule_lines
from console.seat.messages import LinesCame, WorkChanged
from nodeagent.protocol import AlertRules, Deployment, RecordsPage, Trend
from widgets.logview import LEVELS, LogView
from widgets.look import Look, Spans
from widgets.status import word
from widgets.textview import TextView
from widgets.titlerow import TitleRow

RECORDS: Final = 2
TABS: Final = ("Overview", "Pipeline", "Records", "Logs", "Deployments", "Checks", "Rules")
CHECKS: Final = 5
RULES: Final = 6
RECORDS_A_PAGE: Final = 200


class NodePage(Page):
    """The tabs of one node. What is fetched comes when its tab is opened."""

    kind = "node"
    name_shown = "Node"
    BINDINGS: ClassVar[list[BindingType]] = bindings("node")

    def __init__(self, look: Look, node: str) -> None:
        super().__init__(look)
        self.about = node
        self.title_row = TitleRow(look)
        self.text = TextView(look)
        self.pipeline = PipelinePane(look)
        self.records_pane = RecordsPane(look)
        self.log_view = LogView(look, with_node=False)
        self.history_pane = DeploymentsPane(look)
        self.checks_view = TextView(look)
        self.rules_view = TextView(look)
        self.panes: tuple[Widget, ...] = (
            self.text,
            self.pipeline,
            self.records_pane,
            self.log_view,
            self.history_pane,
            self.checks_view,
            self.rules_view,
        )
        self.filter_row = FilterRow(look, hint="words to look for, ! inverts")
        self.tab = self.first_tab = 0
        self.checked: Checked | None = None
        self.rules: AlertRules | None = None
        self.reviewing = False
        self.unasked = False
        self.bundle_at = 0
        self.trends: dict[str, Trend] = {}
        self.deployments: list[Deployment] | None = None
        self.following = Following(self)

    def body(self) -> Iterable[Widget]:
        for pane in self.panes[1:]:
            pane.display = False
        return (self.title_row, *self.panes, self.filter_row)

    def opened(self) -> None:
        super().opened()
        self.open_tab(self.first_tab)

    def node(self) -> str | None:
        return self.about

    # ------------------------------------------------------------ drawing

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        state = self.board.nodes.get(self.about)
        if state is None:
            self.title_row.set_values(((self.about, "strong"), ("  is not in the fleet", "dim")))
            self.text.set_lines([])
            return
        place = "/".join(p for p in (state.view.address.site, state.view.address.line) if p)
        spans: Spans = (word(state_of(state), self.look), (f" {self.about}", "strong"))
        self.title_row.set_values(spans, tabs=self._tabs(), tab=self.tab, note=place)
        if changed is not None and self.about not in changed:
            return
        if self.tab == 0:
            if self.unasked and state.known:
                self._fetch_overview()
            width = self.text.size.width or self.size.width
            self.text.set_lines(
                overview(state, self.board, self.trends, self.deployments, width, self.look, self.text.size.height)
            )
        elif self.tab == 1:
            self.pipeline.draw_state(state, self.board.now_s)
        elif self.tab == 3:
            self.following.tell_gap(self.about, state.known, state.reason)
        elif self.tab == CHECKS:
            width = self.checks_view.size.width or self.size.width
            self.checks_view.set_lines(check_lines(self.checked, "The node is being asked.", width, self.look))
        elif self.tab == RULES:
            width = self.rules_view.size.width or self.size.width
            standing = state.view.telemetry.alerts if state.view.telemetry else ()
            self.rules_view.set_lines(rule_lines(self.rules, standing, self.about, width, self.look))

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw, None)

    # ------------------------------------------------------------ tabs

    def open_tab(self, tab: int) -> None:
        """Shows a tab and fetches what it needs."""
        self.tab = tab % len(TABS)
        for i, pane in enumerate(self.panes):
            pane.display = i == self.tab
        self.panes[self.tab].focus()
        fetches = (self._fetch_overview, None, self._fetch_records, self._fetch_log, self._fetch_deployments)
        fetch = (*fetches, self._fetch_checks, self._fetch_rules)[self.tab]
        if fetch is not None:
            fetch()
        self.draw(None)

    def do_next_tab(self) -> None:
        self.open_tab(self.tab + 1)

    def do_last_tab(self) -> None:
        self.open_tab(self.tab - 1)

    def do_logs_of(self) -> None:
        self.open_tab(3)

    def do_checks(self) -> None:
        self.open_tab(CHECKS)

    def do_alert_rules(self) -> None:
        self.open_tab(RULES)

    def _fetch_overview(self) -> None:
        operations, node = self.seat.operations, self.about
        state = self.board.nodes.get(node)
        self.unasked = state is not None and not state.known
        if self.unasked:  # nobody would answer, and the row above says so; asked once it is there again
            return
        self._fetch_deployments()
        for bundle in state.bundles if state else ():

            async def fetch(_: Any, name: str = bundle.bundle) -> Trend:
                return await operations.trend(node, name)

            self.seat.begin("trend", "trend", node, fetch, quiet=True)

    def _fetch_deployments(self) -> None:
        operations, node = self.seat.operations, self.about
        self.seat.begin("deployments", "deployments", node, lambda _: operations.deployments(node), quiet=True)

    def _fetch_checks(self) -> None:
        operations, node = self.seat.operations, self.about
        self.seat.begin("checks", "checks", node, lambda _: operations.checks(node))

    def _fetch_rules(self) -> None:
        operations, node = self.seat.operations, self.about
        self.seat.begin("rules", "rules", node, lambda _: operations.alert_rules(node))

    def _bundle_names(self) -> list[str]:
        """What runs here, in an order that a trial does not change."""
        state = self.board.nodes.get(self.about)
        return sorted(b.bundle for b in state.bundles) if state else []

    def _tabs(self) -> tuple[str, ...]:
        """Of several bundles it is said whose records are shown."""
        if self.tab != RECORDS or len(self._bundle_names()) < 2:
            return TABS
        return tuple(f"{name} {self._records_of()}" if name == TABS[RECORDS] else name for name in TABS)

    def _records_of(self) -> str:
        """The bundle whose records are shown; empty where none runs."""
        names = self._bundle_names()
        return names[self.bundle_at % len(names)] if names else ""

    def _fetch_records(self, before: int | None = None) -> None:
        operations, node, bundle = self.seat.operations, self.about, self._records_of()
        if not bundle:
            return
        if self.reviewing:
            self.seat.begin("review", "review", node, lambda _: operations.review_queue(node, bundle), quiet=True)
            return

        async def fetch(_: Any) -> tuple[bool, str, RecordsPage]:
            page = await operations.records(node, bundle, before=before, limit=RECORDS_A_PAGE)
            return before is None, bundle, page

        self.seat.begin("records", "records", node, fetch, quiet=True)

    def _fetch_log(self) -> None:
        state = self.board.nodes.get(self.about)
        self.following.start({self.about: state.view.clock_offset_s if state else None})

    def on_work_changed(self, message: WorkChanged) -> None:
        work = message.work
        if work.state != "done" or work.node != self.about:
            return
        if work.kind == "trend":
            self.trends[work.result.bundle] = work.result
        elif work.kind == "review" and self.reviewing:
            state = self.board.nodes.get(self.about)
            self.records_pane.show_queue(work.result, state.view.clock_offset_s if state else None)
            self.say(f"{len(work.result.items)} records wait for your label; R shows the newest again")
        elif work.kind == "checks":
            self.checked = work.result
        elif work.kind == "rules":
            self.rules = work.result
        elif work.kind == "deployments":
            self.deployments = work.result
            self.history_pane.show(work.result)
        elif work.kind == "records" and not self.reviewing:
            anew, bundle, page = work.result
            if bundle != self._records_of():
                return
            state = self.board.nodes.get(self.about)
            offset_s = state.view.clock_offset_s if state else None
            older = page.records[-1].key if page.records and page.next is not None else None
            self.records_pane.add(page.records, older, offset_s, anew=anew)
        self.draw(None)

    def on_lines_came(self, message: LinesCame) -> None:
        self.log_view.extend(message.entries)

    # ------------------------------------------------------------ keys

    def on_listing_moved(self) -> None:
        """At the end of the records the next page is fetched."""
        self.seat.touch()
        pane = self.records_pane
        if self.tab == 2 and pane.older is not None and pane.at >= len(pane.keys) - 1:
            self._fetch_records(pane.older)

    def do_open(self) -> None:
        if self.tab == 0:
            self.seat.go("chart", self.about)
        elif self.tab == 1 and (stage := self.pipeline.stage()) is not None:
            from console.screens.tap import TapView

            self.seat.push_screen(TapView(self.look, self.about, *stage))
        elif self.tab == 2 and self.records_pane.record is not None:
            from console.screens.record import RecordView

            self.seat.push_screen(RecordView(self.look, self.about, self.records_pane.record))
        elif self.tab == 4 and (deployment := self.history_pane.deployment) is not None:
            from console.screens.deployment import DeploymentView

            state = self.board.nodes.get(self.about)
            offset_s = state.view.clock_offset_s if state else None
            self.seat.push_screen(DeploymentView(self.look, self.about, deployment, offset_s))

    async def do_filter(self) -> None:
        if self.tab != 3:
            self.open_tab(3)
        await self.filter_row.ask(self.log_view.words)

    def on_filter_row_changed(self, message: FilterRow.Changed) -> None:
        self.log_view.set_filter(words=message.text)

    def on_filter_row_left(self) -> None:
        self.filter_row.show_state(self.log_view.words, len(self.log_view.shown), len(self.log_view.entries))
        self.log_view.focus()

    def do_level(self) -> None:
        if self.tab == 3:
            level = LEVELS[(LEVELS.index(self.log_view.level) + 1) % len(LEVELS)]
            self.log_view.set_filter(level=level)
            self.say(f"log lines of level {level} and above")

    def do_back(self) -> None:
        if self.tab == 3 and self.log_view.words:
            self.log_view.set_filter(words="")
            self.filter_row.show_state("", 0, 0)
        else:
            self.seat.way.do_history_back()

    def do_acknowledge(self) -> None:
        mine = [a for a in self.board.waiting if a.node == self.about]
        if mine:
            self.seat.acknowledge(mine[0])
        else:
            self.say(f"no alert of {self.about} waits to be acknowledged")

    def do_next_bundle(self) -> None:
        """The records of another bundle; from another tab first to the records."""
        if len(self._bundle_names()) < 2:
            self.say(f"{self.about} has {'one bundle' if self._bundle_names() else 'no bundle'}")
            return
        if self.tab == RECORDS:
            self.bundle_at += 1
        self.records_pane.add([], None, None, anew=True)
        self.open_tab(RECORDS)
        self.say(f"records of {self._records_of()}; b shows those of the next bundle")

    def do_review(self) -> None:
        """The records that wait for this person's label, in place of the newest ones; again: the newest ones."""
        self.reviewing = not (self.reviewing and self.tab == 2)
        self.open_tab(2)

    def do_label(self) -> None:
        record = self.records_pane.record
        if self.tab != 2 or record is None:
            self.say("L labels the record under the cursor of the Records tab")
            return
        from console.screens.label import LabelView

        view = LabelView(self.look, self.about, record, self.records_pane.labels())
        self.seat.push_screen(view, self._labelled)

    def _labelled(self, label: object) -> None:
        record, operations, node = self.records_pane.record, self.seat.operations, self.about
        if not isinstance(label, str) or record is None:
            return

        async def send(_: Any) -> None:
            await operations.label(node, record.bundle, record.key, label)

        said = f"{figures.moment(record.wall_us)} labelled {label} as {operations.operator}"

        def then(_: Any) -> None:
            self.records_pane.labelled(record, label)
            self.say(said)

        self.seat.begin("label", f"label on {node}", node, send, then=then)

    def yank_text(self) -> str:
        if self.tab == 2 and self.records_pane.record is not None:
            return str(self.records_pane.record)
        if self.tab == 3:
            return "\n".join(e.plain() for e in self.log_view.shown[self.log_view.top :][: self.log_view.size.height])
        if self.tab == 4:
            return str(self.history_pane.deployment or "")
        return self.seat.screen_text()
