"""A view over a screen: opaque and full width, closed by esc. Keys typed before it was drawn are dropped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.widget import Widget

from console.screens.page import Page, bindings
from console.seat.commands import Screen
from console.seat.sheet import Sheet, lines_sheet
from widgets.look import Look, Spans
from widgets.textview import TextView
from widgets.titlerow import TitleRow


class View(Page):
    """A title and a page of text; subclasses add what they ask for."""

    kind: ClassVar[Screen] = "deploy"
    BINDINGS: ClassVar[list[BindingType]] = bindings("deploy")

    def __init__(self, look: Look, title: str, *, keys: tuple[tuple[str, str], ...] = (("esc", "back"),)) -> None:
        super().__init__(look)
        self.title_row = TitleRow(look)
        self.title_row.set_values(((title, "strong"),))
        self.text = TextView(look)
        self.key_row.set_keys(keys)
        self._drawn_at: float | None = None

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.text)

    def opened(self) -> None:
        super().opened()
        self.text.focus()
        self.call_after_refresh(self._is_drawn)

    def _is_drawn(self) -> None:
        self._drawn_at = events.Event().time

    def _forward_event(self, event: events.Event) -> None:
        """A key that was pressed before this was on the screen was meant for something else."""
        if isinstance(event, events.Key) and (self._drawn_at is None or event.time < self._drawn_at):
            return
        super()._forward_event(event)

    def set_lines(self, lines: Iterable[Spans]) -> None:
        """What the page says."""
        self.text.set_lines(list(lines))

    def yank_text(self) -> str:
        """The whole text of the view, also what is further down."""
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self.text.lines)

    def sheet(self) -> Sheet:
        return lines_sheet(self.title_row.spans[0][0], self.yank_text().splitlines())

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw, None)

    def do_back(self) -> None:
        self.dismiss(None)
