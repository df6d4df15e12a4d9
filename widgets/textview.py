"""A page of ready lines that scrolls: help, summaries, details."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from widgets.drawing import Drawing
from widgets.look import Look, Span, Spans

WHEEL_LINES = 3


class TextView(Drawing, can_focus=True):
    """Lines of spans. What does not fit is reached by scrolling; the last line says how much is below."""

    DEFAULT_CSS = "TextView { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_lines(-1)", show=False),
        Binding("down,j", "scroll_lines(1)", show=False),
        Binding("pageup", "scroll_page(-1)", show=False),
        Binding("pagedown", "scroll_page(1)", show=False),
        Binding("home,g", "scroll_edge(-1)", show=False),
        Binding("end,G", "scroll_edge(1)", show=False),
    ]

    def __init__(self, look: Look | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(look, id=id)
        self.lines: Sequence[Spans] = ()
        self.top = 0

    def set_lines(self, lines: Sequence[Spans]) -> None:
        """Shows these lines; repaints only if they are others."""
        if list(lines) != list(self.lines):
            self.lines = list(lines)
            self._move(self.top)
            self.refresh()

    def line(self, y: int, width: int) -> Sequence[Span]:
        below = len(self.lines) - self.top - self.size.height
        if below > 0 and y == self.size.height - 1:
            return ((f" {below + 1} more lines below", "dim"),)
        index = self.top + y
        return self.lines[index] if index < len(self.lines) else ()

    def action_scroll_lines(self, lines: int) -> None:
        self._move(self.top + lines)

    def action_scroll_page(self, pages: int) -> None:
        self._move(self.top + pages * max(1, self.size.height - 2))

    def action_scroll_edge(self, side: int) -> None:
        self._move(0 if side < 0 else len(self.lines))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._move(self.top + WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._move(self.top - WHEEL_LINES)

    def _move(self, top: int) -> None:
        top = max(0, min(top, len(self.lines) - self.size.height))
        if top != self.top:
            self.top = top
            self.refresh()
