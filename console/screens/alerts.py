"""Screen 2: the alerts of all nodes, those that wait for a person first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from console import figures
from console.board import BoardAlert
from console.screens.filterrow import FilterRow
from console.screens.page import Page, bindings
from nodeagent.protocol import AlertState
from widgets.cells import wrap
from widgets.look import Look, Role, Spans
from widgets.status import ALARM, WARN, word
from widgets.table import Column, Row, Table
from widgets.textview import TextView

COLUMNS = (
    Column("state", "STATE", 5),
    Column("acknowledged", "ACK", 8, flex=1, width_max=14),
    Column("since", "SINCE", 5),
    Column("node", "NODE", 10, flex=1, width_max=20),
    Column("message", "WHAT", 30, flex=6),
    Column("code", "CODE", 16, fold=2),
    Column("age", "AGE", 4, right=True),
)
DETAIL_LINES = 5


class AlertsPage(Page):
    """The list, and under it what to do about the one under the cursor."""

    kind = "alerts"
    name_shown = "Alerts"
    BINDINGS: ClassVar[list[BindingType]] = bindings("alerts")

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.table = Table(COLUMNS, self._row, look)
        self.table.empty = ("No alerts.",)
        self.detail = TextView(look)
        self.detail.styles.height = DETAIL_LINES
        self.detail.can_focus = False
        self.filter_row = FilterRow(look, hint="words of the node, the alert or its code; ! inverts")
        self.words = ""
        self.waiting_only = False
        self.alerts: dict[str, BoardAlert] = {}

    def body(self) -> Iterable[Widget]:
        return (self.table, self.detail, self.filter_row)

    def opened(self) -> None:
        super().opened()
        self.table.focus()

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        before = self.alerts
        self.alerts = {a.key: a for a in self.board.alerts if self._passes(a)}
        self.table.set_keys(list(self.alerts))
        self.table.touch(key for key, alert in self.alerts.items() if before.get(key) != alert)
        if changed is None or self.board.wall_s % 60 < 2:
            self.table.touch(self.table.visible_keys())
        self._draw_detail()

    def _passes(self, alert: BoardAlert) -> bool:
        if self.waiting_only and not alert.waits:
            return False
        words = self.words.removeprefix("!").casefold()
        if not words:
            return True
        found = words in f"{alert.node} {alert.code} {alert.message} {alert.subject}".casefold()
        return found != self.words.startswith("!")

    def _row(self, key: str) -> Row:
        alert = self.alerts[key]
        role: Role = "strong" if alert.waits else "base" if alert.active else "dim"
        state = word(ALARM if alert.urgent else WARN, self.look)
        return Row(
            {
                "state": state if alert.active else (state[0], "dim"),
                "acknowledged": (_standing(alert), role),
                "since": (figures.clock(alert.since_s) if alert.since_s else figures.UNKNOWN, "base"),
                "node": (alert.node, role),
                "message": (("cleared: " if alert.state is AlertState.CLEARED else "") + alert.message, role),
                "code": (alert.code, "dim"),
                "age": (figures.age(self.board.wall_s - alert.since_s) if alert.since_s else "", "base"),
            }
        )

    def _draw_detail(self) -> None:
        alert = self.alerts.get(self.table.key or "")
        if alert is None:
            self.detail.set_lines([])
            return
        width = self.size.width - 12
        lines: list[Spans] = [()]
        facts = [("what", f"{alert.subject}: {alert.message}"), ("do", alert.advice)]
        if alert.state is AlertState.SHELVED and alert.shelved_by:
            facts.append(("shelved", f"by {alert.shelved_by}, {_standing(alert)} more: {alert.note}"))
        if alert.suppressed:
            facts.append(("why", f"suppressed by design: {alert.suppressed}"))
        for label, text in facts:
            lines += [((f" {label if i == 0 else '':<8}", "dim"), (line, "base")) for i, line in
                      enumerate(wrap(text, width)[:2])]  # fmt: skip
        self.detail.set_lines(lines)

    def on_listing_moved(self) -> None:
        self.seat.touch()
        self._draw_detail()

    def node(self) -> str | None:
        alert = self.alerts.get(self.table.key or "")
        return alert.node if alert else None

    def do_open(self) -> None:
        if (node := self.node()) is not None:
            self.seat.go("node", node)

    def do_acknowledge(self) -> None:
        alert = self.alerts.get(self.table.key or "")
        if alert is None or not alert.waits:
            self.say("this alert does not wait for anyone")
        else:
            self.seat.acknowledge(alert)

    def do_shelve(self) -> None:
        alert = self.alerts.get(self.table.key or "")
        if alert is None or alert.id == 0:
            self.say("alerts of a node can be shelved; this one is this console's own" if alert else "no alert is here")
        else:
            self.seat.changes.shelve(alert)

    def do_faults(self) -> None:
        self.waiting_only = not self.waiting_only
        self.say("only alerts that wait for a person" if self.waiting_only else "all alerts")
        self.draw(None)

    async def do_filter(self) -> None:
        await self.filter_row.ask(self.words)

    def on_filter_row_changed(self, message: FilterRow.Changed) -> None:
        self.words = message.text
        self.draw(None)

    def on_filter_row_left(self) -> None:
        self.table.focus()
        self.filter_row.show_state(self.words, len(self.alerts), len(self.board.alerts))

    def do_back(self) -> None:
        if self.words or self.waiting_only:
            self.words, self.waiting_only = "", False
            self.filter_row.show_state("", 0, 0)
            self.draw(None)
        else:
            self.seat.way.do_history_back()

    def yank_text(self) -> str:
        return str(self.alerts.get(self.table.key or "", ""))


def _standing(alert: BoardAlert) -> str:
    """Who has seen it, or for how long it is kept quiet."""
    if alert.suppressed:
        return "suppressed"
    if alert.state is AlertState.SHELVED:
        return f"shelf {figures.countdown(alert.shelved_s_left)}" if alert.shelved_s_left else "shelved"
    return alert.acknowledged_by or ("waits" if alert.waits else alert.state.value)
