"""What this console is doing, and what it has done."""

from __future__ import annotations

from collections.abc import Sequence

from console import figures
from console.screens.view import View
from console.seat.messages import WorkChanged
from console.seat.work import Work
from widgets.cells import wrap
from widgets.look import Look, Role, Spans

_ROLES: dict[str, Role] = {"running": "strong", "done": "base", "failed": "alarm", "cancelled": "warn"}


class WorkView(View):
    """Newest first; what failed says why and what to do."""

    def __init__(self, look: Look, works: Sequence[Work]) -> None:
        super().__init__(look, "Work of this console", keys=(("X", "cancel"), ("esc", "back")))
        self.works = works

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        now_s = self.seat.clock.monotonic_s()
        lines: list[Spans] = []
        for work in self.works:
            took = figures.countdown((work.ended_s or now_s) - work.began_s)
            step = f"  {work.step.step}" if work.running and work.step else ""
            lines.append(((f" {work.state:<9}", _ROLES[work.state]), (f" {took:>6}  ", "dim"),
                          (f"{work.title}", "strong"), (f"  {work.node}{step}", "base")))  # fmt: skip
            if work.error is not None:
                lines += [((f"           {line}", "base"),) for line in wrap(str(work.error), self.size.width - 12)]
        self.set_lines(lines or [((" nothing yet", "dim"),)])

    def on_work_changed(self, message: WorkChanged) -> None:
        self.draw(None)
