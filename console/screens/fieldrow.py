"""A name, and one line to type in beside it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal

from widgets.drawing import Drawing
from widgets.entry import EntryField
from widgets.look import Look, Span

NAME_CELLS = 14


class FieldName(Drawing):
    """What the field beside it is for."""

    def __init__(self, look: Look, name: str) -> None:
        super().__init__(look)
        self.named = name

    def line(self, y: int, width: int) -> list[Span]:
        return [(f" {self.named}", "dim")]


class FieldRow(Horizontal):
    """`entry` holds what is typed."""

    DEFAULT_CSS = f"""
    FieldRow {{ height: 1; }}
    FieldRow FieldName {{ width: {NAME_CELLS}; height: 1; }}
    """

    def __init__(self, look: Look, name: str, *, hint: str) -> None:
        super().__init__()
        self.named = FieldName(look, name)
        self.entry = EntryField(hint=hint)

    def compose(self) -> ComposeResult:
        yield self.named
        yield self.entry

    @property
    def typed(self) -> str:
        """The text without blanks around it."""
        return self.entry.value.strip()
