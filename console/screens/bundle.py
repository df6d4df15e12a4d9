"""One bundle looked into: its facts, its blobs hashed anew, what it came from and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console import figures
from console.screens.view import View
from console.seat.messages import WorkChanged
from console.seat.operations import BundleEntry
from widgets.cells import wrap
from widgets.look import Look, Role, Spans

if TYPE_CHECKING:
    from console.seat.shelf import Inspection

LABEL_CELLS = 16


class BundleView(View):
    """The file is opened and hashed when the view is."""

    def __init__(self, look: Look, entry: BundleEntry, active: Sequence[str]) -> None:
        super().__init__(look, entry.title)
        self.entry, self.active = entry, tuple(active)
        self.inspection: Inspection | None = None
        self.failure = ""

    def opened(self) -> None:
        super().opened()
        operations, digest = self.seat.operations, self.entry.digest
        self.seat.begin("inspect", "inspect", digest, lambda _: operations.inspect(digest), quiet=True)

    def on_work_changed(self, message: WorkChanged) -> None:
        super().on_work_changed(message)
        work = message.work
        if work.kind == "inspect" and work.node == self.entry.digest and not work.running:
            self.inspection, self.failure = work.result, str(work.error or "")
            self.draw(None)

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        width = max(20, self.size.width - LABEL_CELLS - 2)
        if self.inspection is None:
            text = self.failure or "its file is opened and hashed"
            role: Role = "warn" if self.failure else "dim"
            self.set_lines([(), *(((f" {line}", role),) for line in wrap(text, width + LABEL_CELLS))])
            return
        self.set_lines(self._lines(self.inspection, width))

    def _lines(self, found: Inspection, width: int) -> list[Spans]:
        pairs = [*found.facts, ("active on", ", ".join(self.active) or "no node that answers")]
        lines = [line for name, text in pairs for line in _pair(name, text, width)]
        lines += [(), ((" lineage", "title"),)]
        lines += [line for p in found.parents for line in _pair("comes from", f"{p[0]} {p[1]}  {p[2][:19]}", width)]
        lines += [line for name, text in found.lineage for line in _pair(name, text, width)]
        lines += [line for c in found.children for line in _pair("then came", f"{c[0]} {c[1]}  {c[2][:19]}", width)]
        if not (found.parents or found.lineage or found.children):
            lines.append(((" it says nothing of where it came from", "dim"),))
        lines += [(), ((" blobs", "title"), ("  each was read and hashed now", "dim"))]
        for digest, size in found.blobs:
            bad = digest in found.damaged
            lines.append(((" DAMAGED " if bad else " whole   ", "alarm" if bad else "dim"),
                          (f"{figures.size(size):>9}  ", "base"), (digest, "base")))  # fmt: skip
        if found.damaged:
            lines.append(((" it cannot be deployed: add its .ostn file again", "strong"),))
        return lines


def _pair(name: str, text: str, width: int) -> list[Spans]:
    return [
        ((f" {name if i == 0 else '':<{LABEL_CELLS}.{LABEL_CELLS}} ", "dim"), (line, "base"))
        for i, line in enumerate(wrap(text, width))
    ]
