"""Screen 3: rollouts, and under the list the one under the cursor: lanes, gate, causes, countdowns, five verbs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import BindingType
from textual.widget import Widget

from console import figures
from console.rollout.report import Report
from console.screens.confirm import Change, ConfirmView
from console.screens.page import Page, bindings
from console.screens.rolloutlines import report_lines, state_span
from console.seat.messages import WorkChanged
from console.seat.operations import OnStep
from console.seat.work import Work
from widgets.look import Look
from widgets.table import Column, Row, Table
from widgets.textview import TextView

if TYPE_CHECKING:
    from console.rollout.desk import Order

COLUMNS = (
    Column("id", "ROLLOUT", 18, flex=2, width_max=40),
    Column("state", "STATE", 10, flex=1, width_max=20),
    Column("nodes", "RUN IT", 8, right=True),
    Column("operator", "BY", 10, fold=2, width_max=16, flex=1),
    Column("planned", "PLANNED", 12, fold=1),
)
LOOK_S: Final = 2.0
LIST_LINES_MAX: Final = 7
PAGE_LINES: Final = 10
KIND: Final = "rollout"


@dataclass(frozen=True, slots=True)
class Verb:
    """How one order is asked for. `typed`: the end of the rollout's id has to be typed."""

    order: Order
    title: str
    effect: str
    undo: str
    yes: str
    typed: bool = True


VERBS: Final = {
    "past": Verb(
        "past",
        "Past the gate of {id}",
        "The gate stopped it and goes on stopping nobody: the wave counts as accepted by you.",
        "z pauses it, K and V abort it",
        "go past the gate",
    ),
    "go": Verb(
        "go",
        "Carry {id} out",
        "Nodes get the bundle, then are switched wave by wave; each goes back by itself unless it is confirmed.",
        "z pauses it, K and V abort it; a console that dies loses nothing",
        "carry it out",
    ),
    "pause": Verb(
        "pause", "Pause {id}", "Nothing new is begun; running trials are still confirmed.", "c goes on", "pause", False
    ),
    "retry": Verb(
        "retry",
        "Retry what failed in {id}",
        "Each node that failed gets another attempt; what it holds is not sent again.",
        "K and V abort the rollout",
        "retry",
    ),
    "keep": Verb(
        "keep",
        "Abort {id} and keep what is committed",
        "Trials end now and go back. Committed nodes stay with the new bundle.",
        "plan a new rollout",
        "abort and keep",
    ),
    "revert": Verb(
        "revert",
        "Abort {id} and revert",
        "Trials end now. Committed nodes go back too, the last wave first, each with a trial of its own.",
        "plan a new rollout",
        "abort and revert",
    ),
}


class RolloutsPage(Page):
    """The list above, one rollout below."""

    kind = "rollouts"
    name_shown = "Rollouts"
    BINDINGS: ClassVar[list[BindingType]] = bindings("rollouts")

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.table = Table(COLUMNS, self._row, look)
        self.table.empty = ("No rollouts. D plans one for the marked nodes of the fleet, or for all.",)
        self.table.styles.height = 3
        self.detail = TextView(look)
        self.detail.can_focus = False
        self.reports: dict[str, Report] = {}

    def body(self) -> Iterable[Widget]:
        return (self.table, self.detail)

    def opened(self) -> None:
        super().opened()
        self.table.focus()
        self._fetch()
        self.set_interval(LOOK_S, self._fetch)

    # ------------------------------------------------------------ what is shown

    def _fetch(self) -> None:
        """Reads the rows again, unless nobody looks or the last reading has not ended."""
        work = self.seat.works.latest("rollouts", "")
        if self.is_current and self.seat.paused_at_s is None and not (work and work.running):
            self.seat.begin("rollouts", "read rollouts", "", self._read, quiet=True, then=self._came)

    async def _read(self, _: OnStep) -> list[Report]:
        return await self.seat.operations.rollouts()

    def _came(self, work: Work) -> None:
        before, self.reports = self.reports, {report.id: report for report in work.result}
        self.table.styles.height = min(LIST_LINES_MAX, len(self.reports) + 1) if self.reports else 3
        self.table.set_keys(list(self.reports))
        self.table.touch(id_ for id_, report in self.reports.items() if before.get(id_) != report)
        if self.seat.rollout in self.reports:
            self.table.select(self.seat.rollout)
            self.seat.rollout = ""
        self._draw_detail()

    @property
    def report(self) -> Report | None:
        """The rollout under the cursor."""
        return self.reports.get(self.table.key or "")

    def _row(self, key: str) -> Row:
        report = self.reports[key]
        ok, total = report.counts.get("ok", 0), sum(report.counts.values())
        return Row(
            {
                "id": (report.id, "strong"),
                "state": state_span(report),
                "nodes": (f"{ok}/{total}", "base"),
                "operator": (report.operator, "base"),
                "planned": (figures.day_and_time(int(report.created_wall_s * 1e6)), "dim"),
            }
        )

    def _draw_detail(self) -> None:
        report = self.report
        width = max(40, self.size.width)
        self.detail.set_lines([] if report is None else [(), *report_lines(report, self.look, width)])

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        if changed is None:
            self._draw_detail()

    def on_listing_moved(self) -> None:
        self.seat.touch()
        self.detail.action_scroll_edge(-1)
        self._draw_detail()

    def on_work_changed(self, message: WorkChanged) -> None:
        super().on_work_changed(message)
        if message.work.kind == KIND:
            self._fetch()

    def on_resize(self) -> None:
        self._draw_detail()

    # ------------------------------------------------------------ commands

    def do_more(self) -> None:
        self.detail.action_scroll_lines(PAGE_LINES)

    def do_less(self) -> None:
        self.detail.action_scroll_lines(-PAGE_LINES)

    def do_rollout_go(self) -> None:
        self._ask(VERBS["go"])

    def do_rollout_past(self) -> None:
        self._ask(VERBS["past"])

    def do_rollout_pause(self) -> None:
        self._ask(VERBS["pause"])

    def do_rollout_retry(self) -> None:
        self._ask(VERBS["retry"])

    def do_rollout_keep(self) -> None:
        self._ask(VERBS["keep"])

    def do_rollout_revert(self) -> None:
        self._ask(VERBS["revert"])

    def _ask(self, verb: Verb) -> None:
        report = self.report
        if report is None:
            self.say("no rollout is under the cursor")
            return
        total = sum(report.counts.values())
        change = Change(
            title=verb.title.format(id=report.id),
            what=(f"{report.bundle} {report.version}, {report.state}", *((report.why,) if report.why else ())),
            nodes=f"{total} nodes in {len(report.waves)} waves",
            effect=(verb.effect,),
            undo=verb.undo,
            typed=report.id.rpartition("-")[2] if verb.typed else "",
            yes=verb.yes,
        )
        view = ConfirmView(self.seat.look, change)
        self.seat.push_screen(view, partial(self._agreed, report.id, verb))

    def _agreed(self, id_: str, verb: Verb, yes: object) -> None:
        if yes is not True:
            return
        operations = self.seat.operations

        async def carry_out(on_step: OnStep) -> Report | None:
            return await operations.order_rollout(id_, verb.order, on_step=on_step)

        self.seat.begin(KIND, f"{verb.yes}: {id_}", "", carry_out, then=partial(self._ended, id_))

    def _ended(self, id_: str, work: Work) -> None:
        report: Report | None = work.result
        if report is None:
            self.seat.say(f"{id_}: noted; the console that carries it out does it")
        elif report.success:
            self.seat.say(f"{id_} is done: every node of its plan runs {report.bundle} {report.version}")
        else:
            self.seat.say(f"{id_} is {report.state}: {report.why}", "warn")

    def yank_text(self) -> str:
        return self.report.id if self.report else ""
