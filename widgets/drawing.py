"""What all drawings share: values in, lines out, nothing repainted that did not change."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from widgets.cells import strip
from widgets.look import Look, Span, grey


class Drawing(Widget):
    """A widget that draws line by line from plain values. Text is never read as markup."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "Drawing { width: 1fr; height: 1; scrollbar-size: 0 0; }"

    def __init__(self, look: Look | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.look = look or grey()

    def set_look(self, look: Look) -> None:
        """Draws in another look from now on."""
        self.look = look
        self.refresh()

    def line(self, y: int, width: int) -> Sequence[Span]:
        """The spans of line `y`; override."""
        raise NotImplementedError

    def ground(self, y: int) -> Style | None:
        """The background of line `y`; None is the ordinary one."""
        return None

    def cursor_place(self) -> tuple[int, int] | None:
        """(x, y) in this widget of what is selected, for the terminal's own cursor; None where nothing is."""
        return None

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        return strip(self.line(y, width), width, self.look, self.ground(y))
