"""A table that folds: columns leave in a stated order as the terminal narrows, numbers stand right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from widgets.cells import cut, pad, spans_width
from widgets.lines import Listing
from widgets.look import Look, Role, Span

GROUP_MARK = "\x00"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `fold` is the order of leaving: the highest leaves first, 0 never. `flex` shares what is left."""

    name: str
    title: str
    width: int
    fold: int = 0
    right: bool = False
    flex: int = 0
    width_max: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one item by column name. `sentence` replaces every cell after the columns in `keep`."""

    cells: dict[str, Span]
    sentence: Span | None = None
    keep: tuple[str, ...] = ()


@lru_cache(maxsize=64)
def fold(columns: tuple[Column, ...], width: int) -> tuple[tuple[Column, int], ...]:
    """The columns that fit into `width` cells with one cell between them, and their widths."""
    shown = list(columns)
    while len(shown) > 1 and sum(c.width + 1 for c in shown) - 1 > width:
        leaving = max(shown, key=lambda c: c.fold)
        if leaving.fold == 0:
            break
        shown.remove(leaving)
    spare = width - (sum(c.width + 1 for c in shown) - 1)
    widths = {c.name: c.width for c in shown}
    while spare > 0:
        growing = [c for c in shown if c.flex and widths[c.name] < (c.width_max or width)]
        if not growing:
            break
        chosen = min(growing, key=lambda c: (widths[c.name] - c.width) / c.flex)
        widths[chosen.name] += 1
        spare -= 1
    return tuple((c, widths[c.name]) for c in shown)


class Table(Listing):
    """Rows by key. A row is asked for when it is drawn and only then."""

    heading_lines = 1

    def __init__(
        self,
        columns: Sequence[Column],
        row: Callable[[str], Row],
        look: Look | None = None,
        *,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(look, id=id)
        self.columns = tuple(columns)
        self.row = row
        self.marked: frozenset[str] = frozenset()
        self.sorted_by = ""
        self.reverse = False

    def set_marked(self, marked: frozenset[str]) -> None:
        """Shows these items as marked."""
        changed = self.marked ^ marked
        self.marked = marked
        self.touch(changed)

    def set_sort(self, column: str, reverse: bool) -> None:
        """Shows in the heading what the order is."""
        self.sorted_by, self.reverse = column, reverse
        self.refresh()

    def shown(self, width: int) -> tuple[tuple[Column, int], ...]:
        """The columns at this width. The cell at the left is for the mark, the one at the right stays free."""
        return fold(self.columns, width - 2)

    def plain(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Titles and rows of every column and every item, on the screen or not, as text; without group lines.

        A sentence that stands for cells gets a column of its own, where there is one.
        """
        rows, has_note = [], False
        for key in self.keys:
            if not self.selectable(key):
                continue
            row = self.row(key)
            cells = [row.cells[c.name][0].strip() if c.name in row.cells else "" for c in self.columns]
            note = row.sentence[0].strip() if row.sentence is not None else ""
            has_note = has_note or bool(note)
            rows.append((*cells, note))
        titles = tuple(c.title for c in self.columns)
        return (*titles, "NOTE") if has_note else titles, rows if has_note else [row[:-1] for row in rows]

    def selectable(self, key: str) -> bool:
        return not key.startswith(GROUP_MARK)

    def heading(self, y: int, width: int) -> Sequence[Span]:
        out: list[Span] = [(" ", "base")]
        arrow = ("v" if self.reverse else "^") if self.look.ascii else ("▼" if self.reverse else "▲")
        for column, cells in self.shown(width):
            chosen = column.name == self.sorted_by
            title = column.title
            if chosen:
                title = f"{arrow}{title}" if column.right else f"{title}{arrow}"
            out += [(pad(title, cells, right=column.right), "strong" if chosen else "base"), (" ", "base")]
        return out[:-1]

    def item(self, key: str, width: int) -> Sequence[Span]:
        row = self.row(key)
        if not self.selectable(key):
            return self._group(row, width)
        out: list[Span] = [("*" if key in self.marked else " ", "strong")]
        for column, cells in self.shown(width):
            if row.sentence is not None and column.name not in row.keep:
                room = width - spans_width(out)
                return [*out, (cut(row.sentence[0], room), row.sentence[1])]
            text, role = row.cells.get(column.name, ("", "base"))
            out.append((pad(cut(text, cells), cells, right=column.right), role))
            out.append((" ", "base"))
        return out[:-1]

    def _group(self, row: Row, width: int) -> Sequence[Span]:
        text, role = row.cells.get("group", ("", "strong"))
        totals: Role = "dim"
        note, totals = row.cells.get("totals", ("", totals))
        return ((f" {text}  ", role), (cut(note, width - len(text) - 3), totals))
