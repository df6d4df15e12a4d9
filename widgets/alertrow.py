"""The second row of every screen: the alert that matters most and is not acknowledged. Blank is normal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from widgets.cells import cut, pad, spans_width
from widgets.drawing import Drawing
from widgets.look import Look, Span
from widgets.status import ALARM, WARN, glyph


@dataclass(frozen=True, slots=True)
class AlertValues:
    """One alert in a line. `more` is the number of other unacknowledged ones."""

    urgent: bool
    at: str
    node: str
    text: str
    age: str
    keys: tuple[tuple[str, str], ...] = ()
    more: int = 0


class AlertRow(Drawing):
    """One row, blank when there is nothing to say."""

    def __init__(self, look: Look | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(look, id=id)
        self.values: AlertValues | None = None

    def set_values(self, values: AlertValues | None) -> None:
        """Shows this alert, or none; repaints only if it is another."""
        if values != self.values:
            self.values = values
            self.refresh()

    def line(self, y: int, width: int) -> Sequence[Span]:
        v = self.values
        if v is None:
            return ()
        state = ALARM if v.urgent else WARN
        tail: list[Span] = [(f" {v.age}", "base")]
        for key, name in v.keys:
            tail += [("  ", "base"), (key, "key"), (f" {name}", "base")]
        if v.more:
            tail.append((f"  +{v.more}", "strong"))
        head: list[Span] = [(" ", "base"), (f"{glyph(state, self.look)} {v.at} {v.node}", state.role), (" ", "base")]
        room = width - spans_width(head) - spans_width(tail) - 1
        if room < 12:
            return head
        return [*head, (pad(cut(v.text, room), room), "strong"), *tail]
