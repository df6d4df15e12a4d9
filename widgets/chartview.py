"""A full chart: a picture that was drawn elsewhere, off the screen's path, and a cursor that reads its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message

from widgets.cells import width_of
from widgets.drawing import Drawing
from widgets.look import Look, Span, Spans

_BLANKS = (" ", "⠀")


@dataclass(frozen=True, slots=True)
class Picture:
    """Lines, where in them the plot is, and what each of its columns says. `newest` is said without a cursor."""

    lines: tuple[Spans, ...]
    left: int
    top: int
    rows: int
    readings: tuple[Spans, ...]
    newest: Spans = ()

    def plain(self) -> list[str]:
        """The lines as text."""
        return ["".join(text for text, _ in line).rstrip() for line in self.lines]


class ChartView(Drawing, can_focus=True):
    """Shows the newest picture, under it what the cursor reads; asks for another picture when its size changes."""

    DEFAULT_CSS = "ChartView { height: 1fr; }"

    class Sized(Message):
        """There are so many cells to draw in."""

        def __init__(self, width: int, height: int) -> None:
            super().__init__()
            self.width, self.height = width, height

    def __init__(self, look: Look | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(look, id=id)
        self.picture: Picture | None = None
        self.note = "no figures yet"
        self.cursor: int | None = None

    def set_picture(self, picture: Picture | None, note: str = "") -> None:
        """Shows a picture, or the reason why there is none. The cursor stays where it is on the screen."""
        self.picture, self.note = picture, note
        if picture is not None and self.cursor is not None:
            self.cursor = max(0, min(self.cursor, len(picture.readings) - 1))
        self.refresh()

    def move(self, columns: int) -> None:
        """The cursor goes so many columns to the right; the first time it comes in from the newest one."""
        if self.picture is None or not self.picture.readings:
            return
        last = len(self.picture.readings) - 1
        at = last + 1 if self.cursor is None else self.cursor
        self.cursor = max(0, min(last, at + columns))
        self.refresh()

    def leave(self) -> bool:
        """No cursor any more; False: there was none."""
        was, self.cursor = self.cursor, None
        self.refresh()
        return was is not None

    def reading(self) -> Spans:
        """What the cursor says, or the newest column."""
        if self.picture is None:
            return ()
        return self.picture.newest if self.cursor is None else self.picture.readings[self.cursor]

    def line(self, y: int, width: int) -> Sequence[Span]:
        picture = self.picture
        if picture is None:
            return ((f"  {self.note}", "dim"),) if y == 1 else ()
        if y == self.size.height - 1:
            return self.reading()
        if y >= len(picture.lines):
            return ()
        spans = picture.lines[y]
        if self.cursor is None or not picture.top <= y < picture.top + picture.rows:
            return spans
        return self._with_cursor(spans, picture.left + self.cursor)

    def _with_cursor(self, spans: Spans, x: int) -> list[Span]:
        out: list[Span] = []
        at = 0
        for text, role in spans:
            end = at + width_of(text)
            if at <= x < end:
                cell = text[x - at]
                bar = "|" if self.look.ascii else "│"
                out += [
                    (text[: x - at], role),
                    (bar if cell in _BLANKS else cell, "selected"),
                    (text[x - at + 1 :], role),
                ]
            else:
                out.append((text, role))
            at = end
        return [span for span in out if span[0]]

    def on_resize(self, event: events.Resize) -> None:
        self.post_message(self.Sized(event.size.width, event.size.height))
