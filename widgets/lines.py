"""A list of lines with a cursor that stays on its item: the base of tables and menus, drawn line by line.

Cost is that of what is visible, whatever the number of items. The cursor follows the key of its item and, where
that can be, keeps its place on the screen, so that nothing is re-sorted under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message

from widgets.drawing import Drawing
from widgets.look import Look, Span

WHEEL_LINES = 3


class Listing(Drawing, can_focus=True):
    """Items by key, one line an item, under `heading_lines` fixed lines."""

    DEFAULT_CSS = "Listing { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", show=False),
        Binding("down,j", "step(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "edge(-1)", show=False),
        Binding("end,G", "edge(1)", show=False),
    ]
    heading_lines = 0

    class Moved(Message):
        """The cursor is on another item."""

        def __init__(self, listing: Listing, key: str) -> None:
            super().__init__()
            self.listing, self.key = listing, key

        @property
        def control(self) -> Listing:
            return self.listing

    def __init__(self, look: Look | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(look, id=id)
        self.keys: Sequence[str] = ()
        self.places: dict[str, int] = {}
        self.top = 0
        self.at = 0
        self.empty: tuple[str, ...] = ()

    # ------------------------------------------------------------ what to override

    def item(self, key: str, width: int) -> Sequence[Span]:
        """The spans of one item."""
        return ((f" {key}", "base"),)

    def heading(self, y: int, width: int) -> Sequence[Span]:
        """The spans of one fixed line."""
        return ()

    def selectable(self, key: str) -> bool:
        """Whether the cursor may stand on the item."""
        return True

    # ------------------------------------------------------------ values in

    @property
    def key(self) -> str | None:
        """The key under the cursor; None in an empty list."""
        return self.keys[self.at] if self.at < len(self.keys) else None

    @property
    def visible_lines(self) -> int:
        return max(1, self.size.height - self.heading_lines)

    def set_keys(self, keys: Sequence[str]) -> None:
        """Shows these items in this order. The cursor stays on its item, and its item where it is on the screen."""
        if list(keys) == list(self.keys):
            return
        old, offset = self.key, self.at - self.top
        self.keys = list(keys)
        self.places = {key: index for index, key in enumerate(self.keys)}
        self.at = self.places.get(old, min(self.at, max(0, len(self.keys) - 1))) if old is not None else 0
        self._to_selectable(1)
        self.top = self.at - offset
        self._keep_in_view()
        self.refresh()

    def touch(self, keys: Iterable[str]) -> None:
        """Repaints the lines of these items, if they are visible."""
        height = self.size.height
        for key in keys:
            index = self.places.get(key)
            if index is not None:
                y = index - self.top + self.heading_lines
                if self.heading_lines <= y < height:
                    self.refresh(Region(0, y, self.size.width, 1))

    def visible_keys(self) -> Sequence[str]:
        """The keys that are on the screen now."""
        return self.keys[self.top : self.top + self.visible_lines]

    def select(self, key: str) -> None:
        """Puts the cursor on an item, if it is there."""
        if key in self.places:
            self._go(self.places[key])

    # ------------------------------------------------------------ lines out

    def line(self, y: int, width: int) -> Sequence[Span]:
        if y < self.heading_lines:
            return self.heading(y, width)
        index = self.top + y - self.heading_lines
        if index < len(self.keys):
            return self.item(self.keys[index], width)
        note = y - self.heading_lines - 1
        if not self.keys and 0 <= note < len(self.empty):
            return ((f"  {self.empty[note]}", "dim" if note else "base"),)
        return ()

    def ground(self, y: int) -> Style | None:
        if y < self.heading_lines:
            return self.look.head
        index = self.top + y - self.heading_lines
        return self.look.selected if index == self.at and index < len(self.keys) else None

    def cursor_place(self) -> tuple[int, int] | None:
        y = self.at - self.top + self.heading_lines
        return (0, y) if self.keys and self.heading_lines <= y < self.size.height else None

    # ------------------------------------------------------------ moving

    def action_step(self, lines: int) -> None:
        self._go(self.at + lines, 1 if lines > 0 else -1)

    def action_page(self, pages: int) -> None:
        self._go(self.at + pages * max(1, self.visible_lines - 1), 1 if pages > 0 else -1)

    def action_edge(self, side: int) -> None:
        self._go(0 if side < 0 else len(self.keys) - 1, -side)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.action_step(WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.action_step(-WHEEL_LINES)

    def on_click(self, event: events.Click) -> None:
        index = self.top + event.y - self.heading_lines
        if event.y >= self.heading_lines and index < len(self.keys):
            self._go(index)

    def on_resize(self, event: events.Resize) -> None:
        self._keep_in_view()
        self.refresh()

    def _go(self, index: int, direction: int = 1) -> None:
        before, top = self.at, self.top
        self.at = max(0, min(len(self.keys) - 1, index))
        self._to_selectable(direction)
        self._keep_in_view()
        if self.top != top:
            self.refresh()
        elif self.at != before:
            self.touch([self.keys[before], self.keys[self.at]])
        if self.at != before and self.key is not None:
            self.post_message(self.Moved(self, self.key))

    def _to_selectable(self, direction: int) -> None:
        count = len(self.keys)
        for step in (direction, -direction):
            index = self.at
            while 0 <= index < count and not self.selectable(self.keys[index]):
                index += step
            if 0 <= index < count:
                self.at = index
                return

    def _keep_in_view(self) -> None:
        lines = self.visible_lines
        self.top = max(0, min(self.top, len(self.keys) - lines, self.at))
        if self.at >= self.top + lines:
            self.top = self.at - lines + 1
