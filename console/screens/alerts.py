"""Screen 2: the alerts of all nodes, those that wait for a person first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from console import figures
from console.fleet.alertbook import kind_of, plain
from console.fleet.board import BoardAlert
from console.fleet.floods import Flood, group
from console.screens.confirm import Change, ConfirmView
from console.screens.filterrow import FilterRow
from console.screens.page import Page, bindings
from console.seat.sheet import Sheet
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
DETAIL_LINES = 7


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
        self.floods: dict[str, Flood] = {}
        self.unfolded: set[str] = set()

    def body(self) -> Iterable[Widget]:
        return (self.table, self.detail, self.filter_row)

    def opened(self) -> None:
        super().opened()
        self.table.focus()

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        before, floods = self.alerts, self.floods
        self.alerts = {a.key: a for a in self.board.alerts if self._passes(a)}
        lines = group(list(self.alerts.values()), self.board.nodes)
        self.floods = {line.key: line for line in lines if line.is_flood}
        self.table.empty = self._nothing()
        self.table.set_keys([key for line in lines for key in self._keys_of(line)])
        self.table.touch(key for key, alert in self.alerts.items() if before.get(key) != alert)
        self.table.touch(key for key, flood in self.floods.items() if floods.get(key) != flood)
        if changed is None or self.board.wall_s % 60 < 2:
            self.table.touch(self.table.visible_keys())
        self._draw_detail()

    def _keys_of(self, line: Flood) -> list[str]:
        """A flood is one line until it is opened; its alerts stand under it then."""
        if not line.is_flood:
            return [line.key]
        return [line.key, *(alert.key for alert in line.alerts)] if line.key in self.unfolded else [line.key]

    def _nothing(self) -> tuple[str, ...]:
        """Why the list is empty. A node that does not answer may have alerts that nobody sees."""
        if self.words or self.waiting_only:
            return ("Nothing matches.", "esc shows all alerts")
        if self.board.nodes and not any(state.known for state in self.board.nodes.values()):
            return ("Not known: no node answers.", "1 says why; what a node raises meanwhile comes when it is back")
        return ("No alerts.", "H shows those that were")

    def _passes(self, alert: BoardAlert) -> bool:
        if self.waiting_only and not alert.waits:
            return False
        words = self.words.removeprefix("!").casefold()
        if not words:
            return True
        found = words in f"{alert.node} {alert.code} {alert.message} {alert.subject}".casefold()
        return found != self.words.startswith("!")

    def _row(self, key: str) -> Row:
        if key in self.floods:
            return self._flood_row(self.floods[key])
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

    def _flood_row(self, flood: Flood) -> Row:
        first, waiting = flood.first, len(flood.waiting)
        sign = ("-" if flood.key in self.unfolded else "+") + f"{len(flood.alerts)}"
        return Row(
            {
                "state": word(ALARM if flood.worst.urgent else WARN, self.look),
                "acknowledged": (f"{waiting} wait" if waiting else "seen", "strong" if waiting else "base"),
                "since": (figures.clock(first.since_s) if first.since_s else figures.UNKNOWN, "base"),
                "node": (f"{sign} alerts", "strong"),
                "message": (flood.message, "strong"),
                "code": (first.code, "dim"),
                "age": (figures.age(self.board.wall_s - first.since_s) if first.since_s else "", "base"),
            }
        )

    @property
    def alert(self) -> BoardAlert | None:
        """The alert under the cursor; of a flood the one that came first."""
        key = self.table.key or ""
        return self.floods[key].first if key in self.floods else self.alerts.get(key)

    def _draw_detail(self) -> None:
        alert, flood = self.alert, self.floods.get(self.table.key or "")
        if alert is None:
            self.detail.set_lines([])
            return
        width = self.size.width - 12
        lines: list[Spans] = [()]
        facts = [("what", f"{alert.subject}: {alert.message}")]
        if flood is not None:
            facts = [("flood", f"{flood.message}; enter opens it, a acknowledges all of it")]
        kind = kind_of(alert.code)
        if kind is not None:
            facts.append(("means", plain(kind.means)))
        facts.append(("do", alert.advice or (plain(kind.do) if kind is not None else figures.UNKNOWN)))
        if alert.state is AlertState.SHELVED and alert.shelved_by:
            facts.append(
                ("shelved", f"by {alert.shelved_by}, {figures.age(alert.shelved_s_left or 0.0)} more: {alert.note}")
            )
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
        return self.alert.node if self.alert else None

    def do_open(self) -> None:
        key = self.table.key or ""
        if key in self.floods:
            self.unfolded ^= {key}
            self.draw(None)
        elif (node := self.node()) is not None:
            self.seat.go("node", node)

    def do_acknowledge(self) -> None:
        alert, flood = self.alert, self.floods.get(self.table.key or "")
        if flood is not None and flood.waiting:
            self._acknowledge_all(flood)
        elif alert is None or not alert.waits:
            self.say("this alert does not wait for anyone")
        else:
            self.seat.acknowledge(alert)

    def _acknowledge_all(self, flood: Flood) -> None:
        waiting = flood.waiting
        change = Change(
            title=f"Acknowledge {len(waiting)} alerts",
            what=(flood.message,),
            nodes=f"{len({alert.node for alert in waiting})} nodes",
            effect=("Nothing changes on a line. Each alert stays until its condition ends.",),
            undo="nothing: your name stands under each of them",
            yes="acknowledge them all",
        )

        def agreed(yes: object) -> None:
            if yes is True:
                for alert in waiting:
                    self.seat.acknowledge(alert)

        self.seat.push_screen(ConfirmView(self.look, change), agreed)

    def do_alert_history(self) -> None:
        from console.screens.alerthistory import AlertHistoryView

        self.seat.push_screen(AlertHistoryView(self.look))

    def do_shelve(self) -> None:
        alert = self.alert
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
        key = self.table.key
        return "  ".join(text for text, _ in self._row(key).cells.values() if text.strip()) if key else ""

    def sheet(self) -> Sheet:
        columns, rows = self.table.plain()
        return Sheet("alerts", columns, rows, note=self.words)


def _standing(alert: BoardAlert) -> str:
    """Who has seen it, or for how long it is kept quiet."""
    if alert.suppressed:
        return "suppressed"
    if alert.state is AlertState.SHELVED:
        return f"shelf {figures.age(alert.shelved_s_left)}" if alert.shelved_s_left else "shelved"
    return alert.acknowledged_by or ("waits" if alert.waits else alert.state.value)
