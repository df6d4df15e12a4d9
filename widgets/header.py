"""The first row of every screen: how many nodes are in which state, the site, the mode, who, when, how far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style

from widgets.cells import pad, spans_width
from widgets.drawing import Drawing
from widgets.look import Look, Role, Span
from widgets.status import ALARM, MAINTENANCE, OK, STATES, UNKNOWN, WARN, count

SHORT_BELOW_CELLS = 64


@dataclass(frozen=True, slots=True)
class HeaderValues:
    """What the header shows. Counts are of nodes; `running` is the work that goes on whatever is on the screen."""

    alarm: int = 0
    warn: int = 0
    unknown: int = 0
    maintenance: int = 0
    ok: int = 0
    screen: str = ""
    site: str = "all sites"
    operate: bool = False
    operate_left: str = ""
    operator: str = ""
    clock: str = ""
    link: str = ""
    running: int = 0
    paused: bool = False
    cut_off: bool = False


class HeaderRow(Drawing):
    """One row; what matters least leaves first where it is narrow."""

    def __init__(self, look: Look | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(look, id=id)
        self.values = HeaderValues()

    def set_values(self, values: HeaderValues) -> None:
        """Shows these; repaints only if they are others."""
        if values != self.values:
            self.values = values
            self.refresh()

    def ground(self, y: int) -> Style | None:
        return self.look.band if self.values.operate else self.look.bar

    def line(self, y: int, width: int) -> Sequence[Span]:
        v = self.values
        numbers = {ALARM: v.alarm, WARN: v.warn, UNKNOWN: v.unknown, MAINTENANCE: v.maintenance, OK: v.ok}
        left: list[Span] = [(" ", "base")]
        for state in STATES:
            if state is not MAINTENANCE or numbers[state]:
                left += [*count(state, numbers[state], self.look, short=width < SHORT_BELOW_CELLS), (" ", "base")]
        right: list[tuple[int, Span] | None] = [
            (3, (f"{v.running} running", "strong")) if v.running else None,
            (1, ("PAUSED", "warn")) if v.paused else None,
            (6, (v.screen, "base")) if v.screen else None,
            (5, (v.site, "base")) if v.site else None,
            (0, (f"OPERATE {v.operate_left}".rstrip(), "strong") if v.operate else ("MONITOR", "base")),
            (2, (v.operator, "base")) if v.operator else None,
            (4, (v.clock, "base")) if v.clock else None,
            (3, (v.link, "base")) if v.link else None,
        ]
        parts = [part for part in right if part is not None]
        room = width - spans_width(left) - 1
        while parts and sum(len(text) + 2 for _, (text, _) in parts) > room:
            parts.remove(max(parts, key=lambda part: part[0]))
        tail: list[Span] = []
        for _, span in parts:
            tail += [("  ", "base"), span]
        gap = width - spans_width(left) - spans_width(tail) - 1
        role: Role = "base"
        return [*left, (pad("", max(0, gap)), role), *tail, (" ", role)]
