"""A whole fleet as one cell an item, in groups: what is abnormal is seen from a metre away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message

from widgets.cells import cut, pad
from widgets.drawing import Drawing
from widgets.look import Look, Role, Span, Spans
from widgets.status import State, glyph

GROUP_CELLS: Final = 14
TOLD_LINES: Final = 2


@dataclass(frozen=True, slots=True)
class WallLine:
    """One line: the group's name where it begins, and its items."""

    group: str
    keys: tuple[str, ...]


def lay_out(groups: Sequence[tuple[str, Sequence[str]]], width: int) -> list[WallLine]:
    """The items of each group in lines of `width` cells, the group's name before the first."""
    room = max(1, width - GROUP_CELLS - 1)
    return [
        WallLine(name if at == 0 else "", tuple(keys[at : at + room]))
        for name, keys in groups
        for at in range(0, max(1, len(keys)), room)
    ]


class Wall(Drawing, can_focus=True):
    """Items by key, one cell each. The cursor stays on its item."""

    DEFAULT_CSS = "Wall { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", show=False),
        Binding("right", "step(1)", show=False),
        Binding("up,k", "rows(-1)", show=False),
        Binding("down,j", "rows(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "edge(-1)", show=False),
        Binding("end,G", "edge(1)", show=False),
    ]

    class Moved(Message):
        """The cursor is on another item."""

        def __init__(self, wall: Wall, key: str) -> None:
            super().__init__()
            self.wall, self.key = wall, key

    def __init__(self, look: Look | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(look, id=id)
        self.groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
        self.states: dict[str, State] = {}
        self.marked: frozenset[str] = frozenset()
        self.lines: list[WallLine] = []
        self.places: dict[str, tuple[int, int]] = {}
        self.key: str | None = None
        self.told: Sequence[Spans] = ()
        self.top = 0

    # ------------------------------------------------------------ values in

    def set_groups(self, groups: Sequence[tuple[str, Sequence[str]]], states: Mapping[str, State]) -> None:
        """Shows these items; repaints the lines of which something changed."""
        new = tuple((name, tuple(keys)) for name, keys in groups)
        if new != self.groups:
            self.groups, self.states = new, dict(states)
            self._arrange()
            return
        changed = {
            self.places[key][0]
            for key, state in states.items()
            if key in self.places and self.states.get(key) is not state
        }
        self.states = dict(states)
        self._touch(changed)

    def set_marked(self, marked: frozenset[str]) -> None:
        """Shows these items as marked."""
        changed = {self.places[key][0] for key in self.marked ^ marked if key in self.places}
        self.marked = marked
        self._touch(changed)

    def set_told(self, lines: Sequence[Spans]) -> None:
        """What is said of the item under the cursor, in the last TOLD_LINES lines."""
        if list(lines) != list(self.told):
            self.told = list(lines)
            self.refresh(Region(0, self.rows, self.size.width, TOLD_LINES))

    @property
    def rows(self) -> int:
        """How many lines of items there is room for."""
        return max(1, self.size.height - TOLD_LINES)

    def select(self, key: str | None) -> None:
        """Puts the cursor on an item, if it is there."""
        if key in self.places and key is not None:
            self._go(key)

    def _arrange(self) -> None:
        self.lines = lay_out(self.groups, self.size.width or 80)
        self.places = {key: (y, x) for y, line in enumerate(self.lines) for x, key in enumerate(line.keys)}
        if self.key not in self.places:
            self.key = next(iter(self.places), None)
        self._keep_in_view()
        self.refresh()

    # ------------------------------------------------------------ lines out

    def line(self, y: int, width: int) -> Sequence[Span]:
        if y >= self.rows:
            return self.told[y - self.rows] if y - self.rows < len(self.told) else ()
        if not self.lines:
            return ((" nothing to show", "dim"),) if y == 1 else ()
        if self.top + y >= len(self.lines):
            return ()
        shown = self.lines[self.top + y]
        out: list[Span] = [(f" {pad(cut(shown.group, GROUP_CELLS - 1), GROUP_CELLS - 1)} ", "dim")]
        for key in shown.keys:
            state = self.states[key]
            role: Role = "selected" if key == self.key else "band" if key in self.marked else state.role
            out.append((glyph(state, self.look), role))
        return _joined(out)

    def cursor_place(self) -> tuple[int, int] | None:
        row, column = self.places.get(self.key or "", (-1, 0))
        return (GROUP_CELLS + 1 + column, row - self.top) if 0 <= row - self.top < self.rows else None

    def _touch(self, lines: set[int]) -> None:
        for line in lines:
            if self.top <= line < self.top + self.rows:
                self.refresh(Region(0, line - self.top, self.size.width, 1))

    # ------------------------------------------------------------ moving

    def action_step(self, steps: int) -> None:
        keys = list(self.places)
        if self.key is not None:
            self._go(keys[max(0, min(len(keys) - 1, keys.index(self.key) + steps))])

    def action_rows(self, rows: int) -> None:
        if self.key is None:
            return
        y, x = self.places[self.key]
        line = y + rows
        if 0 <= line < len(self.lines) and self.lines[line].keys:
            self._go(self.lines[line].keys[min(x, len(self.lines[line].keys) - 1)])

    def action_page(self, pages: int) -> None:
        if self.key is not None:
            y = self.places[self.key][0] + pages * max(1, self.rows - 1)
            y = max(0, min(len(self.lines) - 1, y))
            self.action_rows(y - self.places[self.key][0])

    def action_edge(self, side: int) -> None:
        keys = list(self.places)
        if keys:
            self._go(keys[0 if side < 0 else -1])

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    def on_click(self, event: events.Click) -> None:
        line, x = self.top + event.y, event.x - GROUP_CELLS - 1
        if event.y < self.rows and line < len(self.lines) and 0 <= x < len(self.lines[line].keys):
            self._go(self.lines[line].keys[x])

    def _go(self, key: str) -> None:
        before, top, self.key = self.key, self.top, key
        self._keep_in_view()
        if self.top != top:
            self.refresh()
        else:
            self._touch({self.places[k][0] for k in (before, key) if k in self.places})
        if before != key:
            self.post_message(self.Moved(self, key))

    def _keep_in_view(self) -> None:
        height = self.rows
        self.top = max(0, min(self.top, len(self.lines) - height))
        if self.key is not None:
            y = self.places[self.key][0]
            self.top = min(y, max(self.top, y - height + 1))


def _joined(spans: list[Span]) -> list[Span]:
    """Neighbours of one role as one span: the wire and the renderer count them."""
    out: list[Span] = []
    for text, role in spans:
        if out and out[-1][1] == role:
            out[-1] = (out[-1][0] + text, role)
        else:
            out.append((text, role))
    return out
