"""Alerts that were: of the marked nodes, or of all that answer, newest first; and which of them chatter."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from textual.widget import Widget

from console import figures
from console.screens.view import View
from console.seat.messages import WorkChanged
from console.seat.operations import OnStep, OperationFailed
from console.seat.sheet import Sheet
from nodeagent.protocol import Alert
from widgets.look import Look, Role
from widgets.status import ALARM, WARN, word
from widgets.table import Column, Row, Table

COLUMNS: Final = (
    Column("state", "STATE", 5),
    Column("raised", "RAISED", 12),
    Column("lasted", "LASTED", 7, right=True),
    Column("node", "NODE", 10, flex=1, width_max=20),
    Column("message", "WHAT", 20, flex=6),
    Column("by", "ACK BY", 7, flex=1, width_max=14),
    Column("note", "WHY", 12, fold=2, flex=2),
    Column("code", "CODE", 16, fold=1),
    Column("times", "TIMES", 5, fold=3, right=True),
)
A_NODE: Final = 100
AT_ONCE: Final = 8
NODES_MAX: Final = 500
# So often in what a node kept is chattering: such an alert is a bad alert, not a bad machine (ISA-18.2).
CHATTERS: Final = 10
URGENT: Final = 2


@dataclass(frozen=True, slots=True)
class Was:
    """One alert of a node. `offset_s`: how far its clock is ahead of this console's."""

    node: str
    alert: Alert
    offset_s: float


class AlertHistoryView(View):
    """Fetched once, when it is opened."""

    def __init__(self, look: Look) -> None:
        super().__init__(look, "Alerts that were")
        self.table = Table(COLUMNS, self._row, look)
        self.table.empty = ("The nodes are asked.",)
        self.found: dict[str, Was] = {}
        self.times: Counter[tuple[str, str, str]] = Counter()
        self.failures: dict[str, str] = {}

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.table)

    def opened(self) -> None:
        super().opened()
        self.table.focus()
        wanted = [s for s in self.board.nodes.values() if not self.seat.marked or s.view.name in self.seat.marked]
        self.failures = {s.view.name: s.reason for s in wanted if not s.known}
        offsets = {s.view.name: s.view.clock_offset_s or 0.0 for s in wanted if s.known}
        asked = dict(list(offsets.items())[:NODES_MAX])
        operations = self.seat.operations

        async def ask_all(_: OnStep) -> list[Was]:
            gate = asyncio.Semaphore(AT_ONCE)
            found: list[Was] = []

            async def ask(name: str, offset_s: float) -> None:
                async with gate:
                    try:
                        alerts = await operations.alert_history(name, A_NODE)
                    except OperationFailed as failure:
                        self.failures[name] = str(failure)
                    else:
                        found.extend(Was(name, alert, offset_s) for alert in alerts)

            await asyncio.gather(*(ask(name, offset_s) for name, offset_s in asked.items()))
            return sorted(found, key=lambda was: -(was.alert.raised_us / 1e6 - was.offset_s))

        self.seat.begin("alert history", "alerts that were", "", ask_all, quiet=True)

    def on_work_changed(self, message: WorkChanged) -> None:
        super().on_work_changed(message)
        work = message.work
        if work.kind == "alert history" and work.state == "done":
            self._came(work.result)

    def _came(self, found: list[Was]) -> None:
        self.found = {f"{was.node}/{was.alert.id}": was for was in found}
        self.times = Counter((was.node, was.alert.code, was.alert.subject) for was in found)
        silent = f"{figures.counted(len(self.failures), 'node')} unknown: not here" if self.failures else ""
        self.table.empty = ("Not known: no node answers.",) if silent and not found else ("No alert was ever raised.",)
        chatter = sum(1 for times in self.times.values() if times >= CHATTERS)
        told = f"Alerts that were: {len(found):,}" + (f", {chatter} chatter" if chatter else "")
        self.title_row.set_values(((told, "strong"),), note=silent)
        self.table.set_keys(list(self.found))
        self.table.refresh()

    def _row(self, key: str) -> Row:
        was = self.found[key]
        alert = was.alert
        end_us = alert.cleared_us
        lasted = figures.age((end_us - alert.raised_us) / 1e6) if end_us is not None else "stands"
        sign = word(ALARM if alert.priority <= URGENT else WARN, self.look)
        role: Role = "base" if end_us is not None else "strong"
        times = self.times[was.node, alert.code, alert.subject]
        return Row(
            {
                "state": sign if end_us is None else (sign[0], "dim"),
                "raised": (figures.day_and_time(alert.raised_us, was.offset_s), "dim"),
                "lasted": (lasted, role),
                "node": (was.node, role),
                "message": (f"{alert.subject}: {alert.message}", role),
                "by": (alert.acknowledged_by or "nobody", "base" if alert.acknowledged_by else "warn"),
                "note": (alert.note, "base"),
                "code": (alert.code, "dim"),
                "times": (f"{times}x", "warn" if times >= CHATTERS else "dim"),
            }
        )

    def yank_text(self) -> str:
        row = self._row(self.table.key) if self.table.key else Row({})
        return "  ".join(text.strip() for text, _ in row.cells.values() if text.strip())

    def sheet(self) -> Sheet:
        columns, rows = self.table.plain()
        return Sheet("alerts that were", columns, rows)
