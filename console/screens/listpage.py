"""What screens with one list share: words that narrow it, the way back, copying a row and all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.widget import Widget

from console.screens.filterrow import FilterRow
from console.screens.page import Page
from console.seat.sheet import Sheet
from widgets.look import Look, Spans
from widgets.table import Column, Row, Table
from widgets.textview import TextView
from widgets.titlerow import TitleRow


def holds(words: str, text: str) -> bool:
    """Whether a text has all the words; one that begins with `!` must not be in it."""
    found = text.casefold()
    return all((word.removeprefix("!") in found) != word.startswith("!") for word in words.casefold().split())


class ListPage(Page):
    """A title, a list, and under it what the cursor is on. Subclasses give `_row`, `all_keys` and `key_text`."""

    hint: ClassVar[str] = "words to look for, ! inverts"
    columns: ClassVar[Sequence[Column]] = ()
    detail_share: ClassVar[float] = 0.0
    detail_lines_min: ClassVar[int] = 0

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.title_row = TitleRow(look)
        self.table = Table(self.columns, self._row, look)
        self.detail = TextView(look)
        self.detail.can_focus = False
        self.detail.display = self.detail_lines_min > 0
        self.filter_row = FilterRow(look, hint=self.hint)
        self.words = ""
        self.faults_only = False

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.table, self.detail, self.filter_row)

    def opened(self) -> None:
        super().opened()
        self._size_detail()
        self.table.focus()

    def on_resize(self) -> None:
        self._size_detail()
        self.call_after_refresh(self.draw, None)

    def _size_detail(self) -> None:
        room = self.size.height - 5
        lines = max(self.detail_lines_min, int(room * self.detail_share))
        self.detail.styles.height = min(lines, max(0, room - 4))

    # ------------------------------------------------------------ what to give

    def _row(self, key: str) -> Row:
        """The cells of one item."""
        raise NotImplementedError

    def all_keys(self) -> Sequence[str]:
        """Every item there is, in order."""
        raise NotImplementedError

    def key_text(self, key: str) -> str:
        """What words are looked for in."""
        row = self._row(key)
        return " ".join([*(text for text, _ in row.cells.values()), row.sentence[0] if row.sentence else ""])

    def is_fault(self, key: str) -> bool:
        """Whether `!` shows it."""
        return True

    def detail_spans(self) -> Sequence[Spans]:
        """The lines under the list, about the item under the cursor."""
        return ()

    # ------------------------------------------------------------ what is shown

    def lay_out(self) -> None:
        """Puts what passes the filter into the list; the cursor stays on its item."""
        keys = self.all_keys()
        if self.faults_only:
            keys = [key for key in keys if self.is_fault(key)]
        if self.words:
            keys = [key for key in keys if holds(self.words, self.key_text(key))]
        self.table.set_keys(keys)
        described = "  ".join([*([self.words] if self.words else []), *(["faults only"] if self.faults_only else [])])
        self.filter_row.show_state(described, len(keys), len(self.all_keys()))
        self.draw_detail()

    def draw_detail(self) -> None:
        """Draws what is under the list again."""
        if self.detail_lines_min:
            self.detail.set_lines(self.detail_spans())

    def on_listing_moved(self) -> None:
        self.seat.touch()
        self.detail.action_scroll_edge(-1)
        self.draw_detail()

    # ------------------------------------------------------------ keys

    def do_faults(self) -> None:
        self.faults_only = not self.faults_only
        self.lay_out()

    async def do_filter(self) -> None:
        await self.filter_row.ask(self.words)

    def on_filter_row_changed(self, message: FilterRow.Changed) -> None:
        self.words = message.text
        self.lay_out()

    def on_filter_row_left(self) -> None:
        self.table.focus()
        self.lay_out()

    def do_back(self) -> None:
        if self.words or self.faults_only:
            self.words, self.faults_only = "", False
            self.lay_out()
        else:
            self.seat.way.do_history_back()

    def yank_text(self) -> str:
        key = self.table.key
        if key is None:
            return ""
        row = self._row(key)
        cells = [f"{c.title.lower()}={row.cells[c.name][0].strip()}" for c in self.columns
                 if row.cells.get(c.name, ("",))[0].strip()]  # fmt: skip
        return "  ".join(cells) + (f"  {row.sentence[0]}" if row.sentence else "")

    def sheet(self) -> Sheet:
        columns, rows = self.table.plain()
        return Sheet(self.name_shown, columns, rows, note=self.filter_row.note.text)
