"""Whether a bundle fits several nodes: the passport of each, before any byte moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from textual.widget import Widget

from console.screens.view import View
from console.seat.messages import WorkChanged
from console.seat.operations import BundleEntry, OnStep, OperationFailed
from console.seat.sheet import Sheet
from nodeagent.protocol import Passport
from widgets.look import Look
from widgets.table import Column, Row, Table

COLUMNS: Final = (
    Column("node", "NODE", 14, flex=1, width_max=24),
    Column("fits", "FITS", 7),
    Column("why", "WHY NOT, AND WHAT TO DO", 40, flex=4),
)
AT_ONCE: Final = 8


class FitsView(View):
    """One row a node; those that do not fit first, once all have answered."""

    def __init__(self, look: Look, entry: BundleEntry, names: Sequence[str]) -> None:
        super().__init__(look, f"{entry.title}: does it fit {len(names)} node{'s' if len(names) != 1 else ''}")
        self.entry, self.names = entry, tuple(names)
        self.table = Table(COLUMNS, self._row, look)
        self.table.empty = ("No node is marked, and none answers.", "1, then space marks one")
        self.answers: dict[str, Passport | str] = {}

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.table)

    def opened(self) -> None:
        super().opened()
        self.table.focus()
        self.table.set_keys(self.names)
        self.seat.begin("fits", "passports", self.entry.digest, self._ask_all, quiet=True)

    async def _ask_all(self, _: OnStep) -> dict[str, Passport | str]:
        gate, operations = asyncio.Semaphore(AT_ONCE), self.seat.operations
        answers: dict[str, Passport | str] = {}

        async def ask(name: str) -> None:
            async with gate:
                try:
                    answers[name] = await operations.passport(name, self.entry.digest)
                except OperationFailed as failure:
                    answers[name] = str(failure)

        await asyncio.gather(*(ask(name) for name in self.names))
        return answers

    def on_work_changed(self, message: WorkChanged) -> None:
        super().on_work_changed(message)
        work = message.work
        if work.kind == "fits" and work.node == self.entry.digest and work.state == "done":
            self.answers = work.result
            self.table.set_keys(sorted(self.names, key=lambda name: (self._rank(name), name)))
            self.table.refresh()

    def _rank(self, name: str) -> int:
        answer = self.answers.get(name)
        if isinstance(answer, Passport):
            return 2 if answer.fits else 0
        return 1

    def _row(self, key: str) -> Row:
        answer = self.answers.get(key)
        if answer is None:
            return Row({"node": (key, "base"), "fits": ("asked", "dim")})
        if isinstance(answer, str):
            return Row({"node": (key, "base"), "fits": ("?", "unknown"), "why": (answer, "base")})
        if answer.fits:
            return Row({"node": (key, "base"), "fits": ("yes", "base")})
        wrong = [item for item in answer.items if item.verdict == "no"]
        why = "; ".join(f"{item.name}: {item.text}" + (f" ({item.fix})" if item.fix else "") for item in wrong)
        return Row({"node": (key, "strong"), "fits": ("NO", "warn"), "why": (why, "base")})

    def yank_text(self) -> str:
        row = self._row(self.table.key) if self.table.key else Row({})
        return "  ".join(text for text, _ in row.cells.values())

    def sheet(self) -> Sheet:
        columns, rows = self.table.plain()
        return Sheet(self.title_row.spans[0][0], columns, rows)
