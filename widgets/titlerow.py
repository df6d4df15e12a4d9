"""The first row of a view: what it is about, and its tabs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style

from widgets.cells import cut, spans_width
from widgets.drawing import Drawing
from widgets.look import Look, Span, Spans


class TitleRow(Drawing):
    """`press-07 ■ALRM   Overview  Pipeline` and a note at the right."""

    def __init__(self, look: Look | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(look, id=id)
        self.spans: Spans = ()
        self.tabs: tuple[str, ...] = ()
        self.tab = 0
        self.note = ""

    def set_values(self, spans: Spans, *, tabs: tuple[str, ...] = (), tab: int = 0, note: str = "") -> None:
        """Shows these; repaints only if they are others."""
        new = (spans, tabs, tab, note)
        if new != (self.spans, self.tabs, self.tab, self.note):
            self.spans, self.tabs, self.tab, self.note = new
            self.refresh()

    def ground(self, y: int) -> Style | None:
        return self.look.head

    def line(self, y: int, width: int) -> Sequence[Span]:
        out: list[Span] = [(" ", "base"), *self.spans]
        if self.tabs:
            out.append(("  ", "base"))
        for i, name in enumerate(self.tabs):
            out.append((f"[{name}]" if i == self.tab else f" {name} ", "key" if i == self.tab else "base"))
        room = width - spans_width(out) - 3
        if self.note and room >= 8:
            note = cut(self.note, room)
            out += [(" " * (width - spans_width(out) - spans_width(((note, "base"),)) - 1), "base"), (note, "base")]
        return out
