"""A log: a bounded ring of lines, filtered by level and words, followed only while at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType

from widgets.cells import pad, width_of
from widgets.drawing import Drawing
from widgets.look import Look, Role, Span

LINES_MAX: Final = 100_000
TRIM_LINES: Final = 10_000
SHIFT_CELLS: Final = 20
WHEEL_LINES: Final = 3
LEVELS: Final = ("debug", "info", "warning", "error")
_ROLES: Final[dict[str, Role]] = {"debug": "dim", "info": "base", "warning": "warn", "error": "alarm"}
_WORDS: Final = {"debug": "DEBG", "info": "INFO", "warning": "WARN", "error": "ERR "}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `at` is ready text; `level` one of LEVELS, or `note` for what the console itself says."""

    at: str
    node: str
    level: str
    source: str
    text: str
    wall_s: float = 0.0

    def plain(self) -> str:
        """The line as it would be printed."""
        return " ".join(part for part in (self.at, self.node, self.level, self.source, self.text) if part)


class LogView(Drawing, can_focus=True):
    """Lines as they come. Scrolling up stops following; `end` goes on."""

    DEFAULT_CSS = "LogView { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_lines(-1)", show=False),
        Binding("down,j", "scroll_lines(1)", show=False),
        Binding("pageup", "scroll_page(-1)", show=False),
        Binding("pagedown", "scroll_page(1)", show=False),
        Binding("home,g", "first", show=False),
        Binding("end,G", "follow", show=False),
        Binding("left", "shift(-1)", show=False),
        Binding("right", "shift(1)", show=False),
    ]

    def __init__(self, look: Look | None = None, *, with_node: bool = True, id: str | None = None) -> None:  # noqa: A002
        super().__init__(look, id=id)
        self.with_node = with_node
        self.entries: list[Entry] = []
        self.shown: list[Entry] = []
        self.dropped = 0
        self.following = True
        self.level = "debug"
        self.words = ""
        self.top = 0
        self.shifted = 0
        self.node_cells = 8

    def extend(self, entries: Iterable[Entry]) -> None:
        """Adds lines at the end; past LINES_MAX the oldest go and are counted."""
        new = list(entries)
        if not new:
            return
        self.entries.extend(new)
        self.node_cells = min(18, max(self.node_cells, *(width_of(e.node) for e in new)))
        if len(self.entries) > LINES_MAX:
            gone = len(self.entries) - LINES_MAX + TRIM_LINES
            self.dropped += gone
            del self.entries[:gone]
            self._select()
        else:
            self.shown.extend(e for e in new if self._passes(e))
        if self.following:
            self.top = self._top_max()
        self.refresh()

    def clear(self) -> None:
        """Forgets all lines."""
        self.entries, self.shown, self.top, self.dropped = [], [], 0, 0
        self.refresh()

    def set_filter(self, *, level: str | None = None, words: str | None = None) -> None:
        """Shows only lines of at least this level that hold these words (`!` first: that do not)."""
        self.level = self.level if level is None else level
        self.words = self.words if words is None else words.casefold()
        self._select()
        self.top = self._top_max() if self.following else min(self.top, self._top_max())
        self.refresh()

    def _select(self) -> None:
        self.shown = [e for e in self.entries if self._passes(e)]

    def _passes(self, entry: Entry) -> bool:
        if entry.level in LEVELS and LEVELS.index(entry.level) < LEVELS.index(self.level):
            return False
        words = self.words.removeprefix("!")
        found = not words or words in entry.plain().casefold()
        return found != (self.words.startswith("!") and bool(words))

    def line(self, y: int, width: int) -> Sequence[Span]:
        index = self.top + y
        if index >= len(self.shown):
            return ((" no lines yet", "dim"),) if not self.shown and y == 1 else ()
        e = self.shown[index]
        if e.level == "note":
            return (
                (f" {e.at} ", "dim"),
                (pad(e.node, self.node_cells) + " " if self.with_node else "", "dim"),
                (e.text, "unknown"),
            )
        spans: list[Span] = [(f" {e.at} ", "dim")]
        if self.with_node:
            spans.append((pad(e.node, self.node_cells) + " ", "base"))
        spans += [(_WORDS.get(e.level, "    "), _ROLES.get(e.level, "base")), (f" {pad(e.source, 12)} ", "dim")]
        spans.append((e.text[self.shifted :], "strong" if e.level == "error" else "base"))
        return spans

    def _top_max(self) -> int:
        return max(0, len(self.shown) - max(1, self.size.height))

    def _move(self, top: int) -> None:
        self.top = max(0, min(top, self._top_max()))
        self.following = self.top >= self._top_max()
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        if self.following:
            self.top = self._top_max()
        self.refresh()

    def action_scroll_lines(self, lines: int) -> None:
        self._move(self.top + lines)

    def action_scroll_page(self, pages: int) -> None:
        self._move(self.top + pages * max(1, self.size.height - 1))

    def action_first(self) -> None:
        self._move(0)

    def action_follow(self) -> None:
        self._move(self._top_max())

    def action_shift(self, steps: int) -> None:
        self.shifted = max(0, self.shifted + steps * SHIFT_CELLS)
        self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._move(self.top + WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._move(self.top - WHEEL_LINES)
