"""A log: a bounded ring of lines in the order of time, filtered by level and words, followed only while at its end."""

from __future__ import annotations

from bisect import bisect_right, insort_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import ClassVar, Final

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType

from widgets.cells import pad, width_of
from widgets.drawing import Drawing
from widgets.look import Look, Role, Span

LINES_MAX: Final = 1_000_000
TRIM_PARTS: Final = 20
SCAN_LINES: Final = 8_000
FEW: Final = 64
SCAN_S: Final = 0.001
SHIFT_CELLS: Final = 20
WHEEL_LINES: Final = 3
LEVELS: Final = ("debug", "info", "warning", "error")
_RANKS: Final = {level: rank for rank, level in enumerate(LEVELS)}
_ROLES: Final[dict[str, Role]] = {"debug": "dim", "info": "base", "warning": "warn", "error": "alarm"}
_WORDS: Final = {"debug": "DEBG", "info": "INFO", "warning": "WARN", "error": "ERR "}
_TIME: Final = attrgetter("wall_s")


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
    """Lines as they come. Going up stops following; `end` goes on. The cursor is there only while it stands still."""

    DEFAULT_CSS = "LogView { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", show=False),
        Binding("down,j", "step(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "first", show=False),
        Binding("end,G", "follow", show=False),
        Binding("left", "shift(-1)", show=False),
        Binding("right", "shift(1)", show=False),
    ]

    def __init__(
        self,
        look: Look | None = None,
        *,
        with_node: bool = True,
        lines_max: int = LINES_MAX,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(look, id=id)
        self.lines_max = lines_max
        self.with_node = with_node
        self.entries: list[Entry] = []
        # The same list while nothing is filtered away.
        self.shown: list[Entry] = self.entries
        self.dropped = 0
        self.following = True
        self.level = "debug"
        self.words = ""
        self.top = 0
        self.at = 0
        self.shifted = 0
        self.node_cells = 8
        self.empty = "no lines yet"
        # How many of the oldest entries have not been looked at for the filter yet; 0: all have.
        self.unscanned = 0

    # ------------------------------------------------------------ lines in

    def extend(self, entries: Iterable[Entry]) -> None:
        """Adds lines where their time is; past `lines_max` the oldest go and are counted."""
        new = sorted(entries, key=_TIME)
        if not new:
            return
        filtered = self.shown is not self.entries
        place = _merge(self.entries, new)
        if filtered and place < self.unscanned:
            self._select()
        elif filtered:
            place = _merge(self.shown, [e for e in new if self._passes(e)])
        self.node_cells = min(18, max(self.node_cells, *(width_of(e.node) for e in new)))
        if not self.following and place <= self.at:
            self.top, self.at = self.top + len(new), self.at + len(new)
        if len(self.entries) > self.lines_max:
            self._trim()
        self._settle()
        self.refresh()

    def _trim(self) -> None:
        gone = len(self.entries) - self.lines_max + self.lines_max // TRIM_PARTS
        self.dropped += gone
        filtered = self.shown is not self.entries
        away = {id(entry) for entry in self.entries[:gone]} if filtered else set()
        del self.entries[:gone]
        self.unscanned = max(0, self.unscanned - gone)
        if filtered:
            gone = next((i for i, entry in enumerate(self.shown) if id(entry) not in away), len(self.shown))
            del self.shown[:gone]
        self.top, self.at = max(0, self.top - gone), max(0, self.at - gone)

    def clear(self) -> None:
        """Forgets all lines."""
        self.entries, self.top, self.at, self.dropped, self.unscanned = [], 0, 0, 0, 0
        self.shown = self.entries
        self._select()
        self.refresh()

    # ------------------------------------------------------------ what is shown of them

    def set_filter(self, *, level: str | None = None, words: str | None = None) -> None:
        """Shows only lines of at least this level that hold these words (`!` first: that do not)."""
        self.level = self.level if level is None else level
        self.words = self.words if words is None else words.casefold()
        kept = self.current
        self._select()
        if not self.following and kept is not None:
            self.at = max(0, min(len(self.shown) - 1, bisect_right(self.shown, kept.wall_s, key=_TIME) - 1))
            self.top = self.at - self.size.height // 2
        self._settle()
        self.refresh()

    def _select(self) -> None:
        """Starts to look for what passes, the newest lines first; what is older follows, a part at a time."""
        if self.level == "debug" and not self.words.removeprefix("!"):
            self.shown, self.unscanned = self.entries, 0
            return
        self.shown, self.unscanned = [], len(self.entries)
        self._scan()

    def _scan(self) -> None:
        low = max(0, self.unscanned - SCAN_LINES)
        found = [e for e in self.entries[low : self.unscanned] if self._passes(e)]
        self.unscanned = low
        self.shown[:0] = found
        if not self.following:
            self.top, self.at = self.top + len(found), self.at + len(found)
        self._settle()
        if low and self.is_attached:
            self.set_timer(SCAN_S, self._scan_on)
        elif low:
            self._scan()
        self.refresh()

    def _scan_on(self) -> None:
        if self.unscanned:
            self._scan()

    def _passes(self, entry: Entry) -> bool:
        if _RANKS.get(entry.level, 3) < _RANKS[self.level]:
            return False
        words = self.words.removeprefix("!")
        found = not words or words in entry.plain().casefold()
        return found != (self.words.startswith("!") and bool(words))

    @property
    def current(self) -> Entry | None:
        """The line under the cursor; the newest while following."""
        if not self.shown:
            return None
        return self.shown[-1] if self.following else self.shown[min(self.at, len(self.shown) - 1)]

    # ------------------------------------------------------------ lines out

    def line(self, y: int, width: int) -> Sequence[Span]:
        index = self.top + y
        if index >= len(self.shown):
            note = "older lines are looked at" if self.unscanned else "none has that" if self.entries else self.empty
            return ((f" {note}", "dim"),) if not self.shown and y == 1 else ()
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

    def ground(self, y: int) -> Style | None:
        here = not self.following and self.top + y == self.at and self.at < len(self.shown)
        return self.look.selected if here else None

    # ------------------------------------------------------------ moving

    def _settle(self) -> None:
        """Brings cursor and window to where they can be."""
        height, count = max(1, self.size.height), len(self.shown)
        if self.following:
            self.at = max(0, count - 1)
        self.at = max(0, min(self.at, count - 1))
        self.top = max(0, min(self.top, count - height, self.at))
        if self.at >= self.top + height:
            self.top = self.at - height + 1

    def go(self, index: int) -> None:
        """Stands still with the cursor on a line of `shown`; on the last one it follows."""
        self.at = max(0, min(index, len(self.shown) - 1))
        self.following = self.at >= len(self.shown) - 1
        self._settle()
        self.refresh()

    def go_to_time(self, wall_s: float) -> bool:
        """Stands still on the first line at or after a time. False: all lines are before it."""
        index = bisect_right(self.shown, wall_s - 1e-6, key=_TIME)
        self.go(index)
        return index < len(self.shown)

    def on_resize(self, event: events.Resize) -> None:
        self._settle()
        self.refresh()

    def action_step(self, lines: int) -> None:
        self.go(self.at + lines)

    def action_page(self, pages: int) -> None:
        self.go(self.at + pages * max(1, self.size.height - 1))

    def action_first(self) -> None:
        self.go(0)

    def action_follow(self) -> None:
        self.go(len(self.shown) - 1)

    def action_shift(self, steps: int) -> None:
        self.shifted = max(0, self.shifted + steps * SHIFT_CELLS)
        self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.go(self.at + WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.go(self.at - WHEEL_LINES)

    def on_click(self, event: events.Click) -> None:
        if self.top + event.y < len(self.shown):
            self.go(self.top + event.y)


def _merge(entries: list[Entry], new: list[Entry]) -> int:
    """Puts sorted `new` where its time is; the first index that moved. Nearly always that is the end."""
    if not new:
        return len(entries)
    place = bisect_right(entries, new[0].wall_s, key=_TIME) if entries and entries[-1].wall_s > new[0].wall_s else None
    if place is None:
        place = len(entries)
        entries.extend(new)
    elif len(entries) - place > FEW * len(new):
        for entry in new:
            insort_right(entries, entry, key=_TIME)
    else:
        entries[place:] = sorted((*entries[place:], *new), key=_TIME)
    return place
