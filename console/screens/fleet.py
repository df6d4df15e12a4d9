"""Screen 1: the nodes, worst first, as many columns as the terminal has room for."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import ClassVar, Final

from textual import events
from textual.binding import BindingType
from textual.widget import Widget

from console import query
from console.board import NodeState
from console.rows import COLUMNS, node_row, site_row
from console.screens.filterrow import FilterRow
from console.screens.page import Page, bindings
from console.view import Condition
from widgets.look import Look
from widgets.table import GROUP_MARK, Row, Table

# How long the cursor must have been still before rows may change places.
SETTLE_S: Final = 5.0
EMPTY: Final = ("No nodes yet.", "outstation node add NAME HOST adds one; outstation demo shows a plant.")


class FleetPage(Page):
    """The table of nodes."""

    kind = "fleet"
    name_shown = "Fleet"
    BINDINGS: ClassVar[list[BindingType]] = bindings("fleet")

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.table = Table(COLUMNS, self._row, look, id="nodes")
        self.filter_row = FilterRow(look)
        self.query_set = query.Query()
        self.faults_only = False
        self.by = "state"
        self.reversed = False
        self.grouped = False
        self._moved_s = float("-inf")

    def body(self) -> Iterable[Widget]:
        return (self.table, self.filter_row)

    def opened(self) -> None:
        super().opened()
        self.table.focus()

    # ------------------------------------------------------------ drawing

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        if self.seat.opened is None:
            self.table.empty = ("The catalog is being opened.",)
        else:
            self.table.empty = EMPTY if not self.board.nodes else ("Nothing matches.", "esc clears the filter")
        if changed is None or self.board.now_s - self._moved_s >= SETTLE_S or self._is_news():
            self.lay_out()
        self.table.set_marked(self.seat.marked)
        self.table.touch(self.table.visible_keys() if changed is None else changed)

    def _is_news(self) -> bool:
        """Whether nodes came or went: they are shown at once."""
        shown = {key for key in self.table.keys if not key.startswith(GROUP_MARK)}
        return shown != {s.view.name for s in self._passing()}

    def _passing(self) -> list[NodeState]:
        states = self.board.nodes.values()
        return [
            s
            for s in states
            if self.query_set.matches(s) and (not self.faults_only or s.condition <= Condition.UNKNOWN)
        ]

    def lay_out(self) -> None:
        """Puts the rows in order; the cursor stays on its node."""
        states = query.order(self._passing(), self.by, self.reversed)
        if self.grouped:
            states.sort(key=lambda s: s.view.address.site)
            keys: list[str] = []
            for site, members in groupby(states, key=lambda s: s.view.address.site):
                keys += [GROUP_MARK + site, *(s.view.name for s in members)]
        else:
            keys = [s.view.name for s in states]
        self.table.set_keys(keys)
        if self._moved_s == float("-inf"):
            self.table.action_edge(-1)  # Nobody has chosen a node yet: the cursor waits on the worst one.
        self.filter_row.show_state(self._described(), len(states), len(self.board.nodes))

    def _described(self) -> str:
        parts = [self.query_set.text] if self.query_set.text else []
        if self.faults_only:
            parts.append("faults only")
        if self.seat.marked:
            parts.append(f"{len(self.seat.marked)} marked")
        return "  ".join(parts)

    def _row(self, key: str) -> Row:
        if key.startswith(GROUP_MARK):
            site = key.removeprefix(GROUP_MARK)
            return site_row(site, [s for s in self._passing() if s.view.address.site == site], self.look)
        state = self.board.nodes.get(key)
        if state is None:
            return Row(
                {"node": (key, "dim")}, sentence=("no longer in the fleet", "dim"), keep=("state", "node", "site")
            )
        return node_row(state, self.board.now_s, self.look)

    # ------------------------------------------------------------ keys

    def on_key(self, event: events.Key) -> None:
        self._moved_s = self.seat.clock.monotonic_s()

    def on_click(self, event: events.Click) -> None:
        self._moved_s = self.seat.clock.monotonic_s()

    async def action_command(self, name: str) -> None:
        self._moved_s = self.seat.clock.monotonic_s()
        await super().action_command(name)

    def node(self) -> str | None:
        return self.table.key

    def yank_text(self) -> str:
        key = self.table.key
        if key is None or key not in self.board.nodes:
            return ""
        row = self._row(key)
        cells = [
            f"{c.title.lower()}={row.cells[c.name][0].strip()}" for c in COLUMNS if row.cells.get(c.name, ("",))[0]
        ]
        return "  ".join(cells) + (f"  {row.sentence[0]}" if row.sentence else "")

    def do_open(self) -> None:
        if self.table.key is not None:
            self.seat.go("node", self.table.key)

    def do_back(self) -> None:
        if self.query_set.text or self.faults_only:
            self.query_set, self.faults_only, self.seat.site = query.Query(), False, ""
            self.draw(None)
        elif self.seat.marked:
            self.do_unmark()

    async def do_filter(self) -> None:
        await self.filter_row.ask(self.query_set.text)

    def on_filter_row_changed(self, message: FilterRow.Changed) -> None:
        try:
            self.query_set = query.parse(message.text)
        except query.QueryError as error:
            self.say(str(error), "warn")
            return
        self.say("")
        sites = [term.value for term in self.query_set.terms if term.key == "site" and not term.inverted]
        self.seat.site = sites[0] if sites else ""
        self.draw(None)

    def on_filter_row_left(self, message: FilterRow.Left) -> None:
        self.table.focus()
        self.lay_out()

    def do_faults(self) -> None:
        self.faults_only = not self.faults_only
        self.lay_out()

    def do_mark(self) -> None:
        if self.table.key is not None:
            self._mark(self.seat.marked ^ {self.table.key})
            self.table.action_step(1)

    def do_mark_all(self) -> None:
        self._mark(self.seat.marked | {s.view.name for s in self._passing()})

    def do_unmark(self) -> None:
        self._mark(frozenset())

    def _mark(self, marked: frozenset[str]) -> None:
        self.seat.marked = marked
        self.table.set_marked(marked)
        self.filter_row.show_state(self._described(), len(self._passing()), len(self.board.nodes))

    def do_sort(self) -> None:
        orders = query.ORDERS
        self.by = orders[(orders.index(self.by) + 1) % len(orders)]
        self.reversed = False
        self._sorted()

    def do_sort_reverse(self) -> None:
        self.reversed = not self.reversed
        self._sorted()

    def _sorted(self) -> None:
        self.table.set_sort(self.by, self.reversed)
        self.lay_out()
        self.say(f"sorted by {self.by}{', the other way round' if self.reversed else ''}")

    def do_group(self) -> None:
        self.grouped = not self.grouped
        self.lay_out()
