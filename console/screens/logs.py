"""Screen 5: log lines of several nodes on one time axis, in the console's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.widget import Widget

from console import figures
from console.fleet.query import order
from console.screens.filterrow import FilterRow
from console.screens.following import Following
from console.screens.page import Page, bindings
from console.seat.messages import LinesCame
from console.seat.sheet import Sheet
from widgets.logview import LEVELS, LogView
from widgets.look import Look
from widgets.titlerow import TitleRow

# Each node followed is one more stream over its link.
NODES_MAX: Final = 16
FIND_LINES: Final = 20_000


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
        self.sought = ""

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
        if not nodes:
            self._draw_nothing()
            return
        offsets = [s.view.clock_offset_s for n in nodes if (s := self.board.nodes.get(n)) and s.view.clock_offset_s]
        worst = max(offsets, key=abs, default=None)
        note = f"clocks off by {figures.offset(worst)}, corrected" if worst is not None and len(nodes) > 1 else ""
        if len(nodes) == 1 and worst is not None:
            note = f"its clock is off by {figures.offset(worst)}, corrected"
        below = len(view.shown) - view.top - view.size.height
        follow = "follows" if view.following else f"stands still, {max(0, below):,} below"
        kept = f"{len(view.shown):,} lines" + (f", {view.dropped:,} older dropped" if view.dropped else "")
        silent = sum(1 for n in nodes if (s := self.board.nodes.get(n)) is None or not s.known)
        follow += f"   {silent} silent" if silent else ""
        spans = f"Log of {names}   {kept}   {follow}   level {view.level}"
        self.title_row.set_values(((spans, "strong"),), note=note)

    def _draw_nothing(self) -> None:
        """Why there is no line, and what would bring some."""
        self.title_row.set_values((("Log of no node", "strong"),))
        if not self.board.nodes:
            self.log_view.empty = "no nodes yet: 1, then n adds one; ctrl-d there shows a plant"
        elif self.seat.opened is None:
            self.log_view.empty = "the catalog is being opened"
        else:
            self.log_view.empty = "no node answers: 1 says why; lines come as soon as one does"
        self.log_view.refresh()

    def on_lines_came(self, message: LinesCame) -> None:
        if self.seat.paused_at_s is None or not self.log_view.entries:
            self.log_view.extend(message.entries)
        else:
            self.log_view.following = False
            self.log_view.extend(message.entries)
        self._draw_title()

    def node(self) -> str | None:
        view = self.log_view
        return view.current.node if view.current is not None else None

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

    # ------------------------------------------------------------ looking for

    def do_open(self) -> None:
        entry = self.log_view.current
        if entry is not None:
            from console.screens.logline import LogLineView

            self.seat.push_screen(LogLineView(self.look, entry))

    def do_at(self) -> None:
        from console.moments import EXAMPLES, MomentError, parse_moment
        from console.screens.askline import AskLineView

        def wrong(text: str) -> str:
            try:
                parse_moment(text, self.seat.clock.epoch_s())
            except MomentError as error:
                return str(error)
            return ""

        def go(text: object) -> None:
            if isinstance(text, str) and not self.log_view.go_to_time(
                parse_moment(text, self.seat.clock.epoch_s()) / 1e6
            ):
                self.say("all lines here are before that time")
            self._draw_title()

        lines = (f"The line at a time, in this console's clock: {EXAMPLES}.",)
        self.seat.push_screen(AskLineView(self.look, "Log at a time", lines, yes="go there", check=wrong), go)

    def do_find(self) -> None:
        from console.screens.askline import AskLineView

        lines = ("Goes to the next older line with these words, and shows the others around it.",)
        view = AskLineView(self.look, "Find in the log", lines, yes="find", text=self.sought)
        self.seat.push_screen(view, self._sought)

    async def _sought(self, text: object) -> None:
        if isinstance(text, str):
            self.sought = text.casefold()
            await self._find(-1)

    async def do_find_next(self) -> None:
        await self._find(1)

    async def do_find_last(self) -> None:
        await self._find(-1)

    async def _find(self, step: int) -> None:
        """Looks on from the cursor, a part at a time: other keys are answered between."""
        view, words = self.log_view, self.sought
        if not words:
            self.say("f says what to look for")
            return
        index = view.at + (step if not view.following or step > 0 else 0)
        while 0 <= index < len(view.shown):
            stop = max(-1, min(len(view.shown), index + step * FIND_LINES))
            for at in range(index, stop, step):
                if words in view.shown[at].plain().casefold():
                    view.go(at)
                    self._draw_title()
                    return
            index = stop
            await asyncio.sleep(0)
        self.say(f"no {'older' if step < 0 else 'newer'} line has {words}")

    def do_back(self) -> None:
        if self.log_view.words:
            self.log_view.set_filter(words="")
            self.filter_row.show_state("", 0, 0)
        else:
            self.seat.way.do_history_back()

    def yank_text(self) -> str:
        """The line under the cursor; while following, the lines on the screen."""
        view = self.log_view
        if not view.following and view.current is not None:
            return view.current.plain()
        return "\n".join(entry.plain() for entry in view.shown[view.top :][: view.size.height])

    def sheet(self) -> Sheet:
        view = self.log_view
        rows = [(_iso(e.wall_s), e.node, e.level, e.source, e.text) for e in list(view.shown)]
        described = f"level {view.level}" + (f", {view.words}" if view.words else "")
        return Sheet("logs", ("TIME", "NODE", "LEVEL", "SOURCE", "TEXT"), rows, note=described)


def _iso(wall_s: float) -> str:
    """A time of the console's clock, to the millisecond."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
