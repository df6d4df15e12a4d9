"""Screen 5: log lines of several nodes on one time axis, in the console's clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.widget import Widget

from console import figures
from console.messages import LinesCame
from console.query import order
from console.screens.filterrow import FilterRow
from console.screens.following import Following
from console.screens.page import Page, bindings
from widgets.logview import LEVELS, LINES_MAX, LogView
from widgets.look import Look
from widgets.titlerow import TitleRow

# Each node followed is one more stream over its link.
NODES_MAX: Final = 16


class LogsPage(Page):
    """The marked nodes; without marks the first of the fleet, worst first."""

    kind = "logs"
    name_shown = "Logs"
    BINDINGS: ClassVar[list[BindingType]] = bindings("logs")

    def __init__(self, look: Look, node: str = "") -> None:
        super().__init__(look)
        self.only = node
        self.title_row = TitleRow(look)
        self.log_view = LogView(look)
        self.filter_row = FilterRow(look, hint="words to look for, ! inverts")
        self.following = Following(self)

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.log_view, self.filter_row)

    def opened(self) -> None:
        super().opened()
        self.log_view.focus()

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        self._follow()
        for node in self.following.nodes:
            state = self.board.nodes.get(node)
            if state is not None:
                self.following.tell_gap(node, state.known, state.reason)
        self._draw_title()

    def _follow(self) -> None:
        wanted = [self.only] if self.only else sorted(self.seat.marked)
        if not wanted:
            wanted = [s.view.name for s in order(self.board.nodes.values()) if s.known]
        nodes = {}
        for name in wanted[: NODES_MAX - len(self.following.nodes)]:
            state = self.board.nodes.get(name)
            if state is not None:
                nodes[name] = state.view.clock_offset_s
        self.following.start(nodes)

    def _draw_title(self) -> None:
        view = self.log_view
        nodes = sorted(self.following.nodes)
        names = nodes[0] if len(nodes) == 1 else f"{len(nodes)} of {len(self.board.nodes)} nodes"
        offsets = [s.view.clock_offset_s for n in nodes if (s := self.board.nodes.get(n)) and s.view.clock_offset_s]
        worst = max(offsets, key=abs, default=None)
        note = f"clocks off by {figures.offset(worst)}, corrected" if worst is not None and len(nodes) > 1 else ""
        if len(nodes) == 1 and worst is not None:
            note = f"its clock is off by {figures.offset(worst)}, corrected"
        follow = "follows" if view.following else f"stands still, {len(view.shown) - view.top - view.size.height} below"
        kept = f"{len(view.shown):,} lines" + (f" of {LINES_MAX:,} kept" if view.dropped else "")
        spans = f"Log of {names}   {kept}   {follow}   level {view.level}"
        self.title_row.set_values(((spans, "strong"),), note=note)

    def on_lines_came(self, message: LinesCame) -> None:
        if self.seat.paused_at_s is None or not self.log_view.entries:
            self.log_view.extend(message.entries)
        else:
            self.log_view.following = False
            self.log_view.extend(message.entries)
        self._draw_title()

    def node(self) -> str | None:
        view = self.log_view
        return view.shown[view.top].node if view.top < len(view.shown) else None

    def do_level(self) -> None:
        view = self.log_view
        view.set_filter(level=LEVELS[(LEVELS.index(view.level) + 1) % len(LEVELS)])
        self._draw_title()

    async def do_filter(self) -> None:
        await self.filter_row.ask(self.log_view.words)

    def on_filter_row_changed(self, message: FilterRow.Changed) -> None:
        self.log_view.set_filter(words=message.text)
        self._draw_title()

    def on_filter_row_left(self) -> None:
        view = self.log_view
        self.filter_row.show_state(view.words, len(view.shown), len(view.entries))
        view.focus()

    def do_back(self) -> None:
        if self.log_view.words:
            self.log_view.set_filter(words="")
            self.filter_row.show_state("", 0, 0)
        else:
            self.seat.way.do_history_back()

    def yank_text(self) -> str:
        view = self.log_view
        return "\n".join(entry.plain() for entry in view.shown[view.top :][: view.size.height])
