"""A full chart: lines that were drawn elsewhere, off the screen's path, and are only shown here."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from widgets.drawing import Drawing
from widgets.look import Look, Span


class ChartView(Drawing, can_focus=True):
    """Shows the newest drawing; asks for another when its size changes."""

    DEFAULT_CSS = "ChartView { height: 1fr; }"

    class Sized(Message):
        """There are so many cells to draw in."""

        def __init__(self, width: int, height: int) -> None:
            super().__init__()
            self.width, self.height = width, height

    def __init__(self, look: Look | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(look, id=id)
        self.lines: Sequence[str] = ()
        self.note = "no figures yet"

    def set_lines(self, lines: Sequence[str], note: str = "") -> None:
        """Shows a drawing, or the reason why there is none."""
        self.lines, self.note = list(lines), note
        self.refresh()

    def line(self, y: int, width: int) -> Sequence[Span]:
        if y < len(self.lines):
            return ((self.lines[y], "base"),)
        return ((f"  {self.note}", "dim"),) if not self.lines and y == 1 else ()

    def on_resize(self, event: events.Resize) -> None:
        self.post_message(self.Sized(event.size.width, event.size.height))
