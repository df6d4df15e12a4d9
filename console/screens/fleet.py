"""Screen 1: the nodes, worst first, as many columns as the terminal has room for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events
from textual.binding import BindingType
from textual.widget import Widget

from console.fleet import query
from console.fleet.board import NodeState
from console.fleet.rows import COLUMNS, node_row, site_row, state_of
from console.fleet.view import Condition
from console.screens.filterrow import FilterRow
from console.screens.page import Page, bindings
from console.seat.sheet import Sheet
from widgets.cells import cut
from widgets.look import Look, Spans
from widgets.status import word
from widgets.table import GROUP_MARK, Row, Table

if TYPE_CHECKING:
    from widgets.wall import Wall

# How long the cursor must have been still before rows may change places.
SETTLE_S: Final = 5.0
EMPTY: Final = (
    "No nodes yet.",
    "n adds one: outstation node add does the same, node import takes many.",
    "ctrl-d shows a plant of real agents on this machine: outstation demo.",
    "MONITOR: adding a node logs in and reads; nothing on it is changed.",
)
GROUPINGS: Final = ("", "site", "line", "model")


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
        self.grouping = ""
        self.members: dict[str, list[str]] = {}
        # Made when it is first asked for: the first paint does not wait for it.
        self._wall: Wall | None = None
        self._moved_s = float("-inf")

    def body(self) -> Iterable[Widget]:
        return (self.table, self.filter_row)

    @property
    def wall(self) -> Wall | None:
        """The wall while it is shown instead of the table."""
        return self._wall if self._wall is not None and self._wall.display else None

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
        self.table.touch(self.table.visible_keys() if changed is None else [*changed, *self._groups_of(changed)])
        if self.wall is not None:
            self._draw_wall(self.wall)

    def _groups_of(self, names: frozenset[str]) -> set[str]:
        """The subtotal lines that these nodes are counted in."""
        if not self.grouping:
            return set()
        return {GROUP_MARK + self._group_of(s) for name in names if (s := self.board.nodes.get(name)) is not None}

    def _group_of(self, state: NodeState) -> str:
        address = state.view.address
        if self.grouping == "line":
            return "/".join(part for part in (address.site, address.line) if part)
        if self.grouping == "model":
            return ", ".join(b.bundle for b in state.bundles) or ("nothing installed" if state.known else "not known")
        return address.site

    def _draw_wall(self, wall: Wall) -> None:
        """The same nodes as in the table, by site and line, and in words the one under the cursor."""
        groups: dict[str, list[str]] = {}
        for state in sorted(self._passing(), key=lambda s: (s.view.address.site, s.view.address.line, s.view.name)):
            address = state.view.address
            name = "/".join(part for part in (address.site, address.line) if part) or "no site"
            groups.setdefault(name, []).append(state.view.name)
        states = {name: state_of(self.board.nodes[name]) for keys in groups.values() for name in keys}
        wall.set_marked(self.seat.marked)
        wall.set_groups(list(groups.items()), states)
        self._tell(wall)

    def _tell(self, wall: Wall) -> None:
        state = self.board.nodes.get(wall.key or "")
        if state is None:
            wall.set_told([])
            return
        runs = ", ".join(f"{b.bundle} {b.version}" for b in state.bundles)
        place = "/".join(part for part in (state.view.address.site, state.view.address.line) if part)
        head: Spans = ((" ", "base"), word(state_of(state), self.look), (f" {state.view.name}", "strong"),
                       (f"  {place}  {runs}", "base"))  # fmt: skip
        wall.set_told([head, ((f" {cut(state.reason, max(10, self.size.width - 2))}", "base"),)])

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
        if self.grouping:
            members: dict[str, list[str]] = {}
            for state in states:
                members.setdefault(self._group_of(state), []).append(state.view.name)
            self.members = members  # In the order of the nodes: the worst group first.
            keys = [key for group, names in self.members.items() for key in (GROUP_MARK + group, *names)]
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
            group = key.removeprefix(GROUP_MARK)
            members = [s for name in self.members.get(group, ()) if (s := self.board.nodes.get(name)) is not None]
            return site_row(group, members, self.look)
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
        return self.table.key if self.wall is None else self.wall.key

    def on_wall_moved(self) -> None:
        self.seat.touch()
        if self.wall is not None:
            self._tell(self.wall)

    def yank_text(self) -> str:
        key = self.node()
        if key is None or key not in self.board.nodes:
            return ""
        row = self._row(key)
        cells = [
            f"{c.title.lower()}={row.cells[c.name][0].strip()}" for c in COLUMNS if row.cells.get(c.name, ("",))[0]
        ]
        return "  ".join(cells) + (f"  {row.sentence[0]}" if row.sentence else "")

    def do_open(self) -> None:
        if (name := self.node()) is not None:
            self.seat.go("node", name)

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
        (self.wall or self.table).focus()
        self.draw(None)

    def do_faults(self) -> None:
        self.faults_only = not self.faults_only
        self.draw(None)

    def do_mark(self) -> None:
        if (name := self.node()) is not None:
            self._mark(self.seat.marked ^ {name})
            (self.wall or self.table).action_step(1)

    def do_mark_all(self) -> None:
        self._mark(self.seat.marked | {s.view.name for s in self._passing()})

    def do_unmark(self) -> None:
        self._mark(frozenset())

    def _mark(self, marked: frozenset[str]) -> None:
        self.seat.marked = marked
        self.table.set_marked(marked)
        if self.wall is not None:
            self.wall.set_marked(marked)
        self.filter_row.show_state(self._described(), len(self._passing()), len(self.board.nodes))

    def do_sort(self) -> None:
        shown = [column.name for column, _ in self.table.shown(self.size.width or 80) if column.name in query.ORDERS]
        self.by = shown[(shown.index(self.by) + 1) % len(shown)] if self.by in shown else shown[0]
        self.reversed = False
        self._sorted()

    def do_sort_reverse(self) -> None:
        self.reversed = not self.reversed
        self._sorted()

    def _sorted(self) -> None:
        self.table.set_sort(self.by, self.reversed)
        self.lay_out()
        title = next(column.title.lower() for column in COLUMNS if column.name == self.by)
        self.say(f"sorted by {title}{', the other way round' if self.reversed else ''}")

    def do_group(self) -> None:
        self.grouping = GROUPINGS[(GROUPINGS.index(self.grouping) + 1) % len(GROUPINGS)]
        self.lay_out()
        self.table.refresh()
        self.say(f"grouped by {self.grouping}" if self.grouping else "not grouped")

    async def do_wall(self) -> None:
        """The wall instead of the table, or the other way round; the cursor stays on its node."""
        name, shown = self.node(), self.wall
        if shown is not None:
            shown.display, self.table.display = False, True
            if name is not None:
                self.table.select(name)
            self.table.focus()
            return
        if self._wall is None:
            from widgets.wall import Wall

            self._wall = Wall(self.look)
            await self.mount(self._wall, before=self.filter_row)
        self._wall.display, self.table.display = True, False
        self.call_after_refresh(self._on_wall, self._wall, name)

    def _on_wall(self, wall: Wall, name: str | None) -> None:
        self._draw_wall(wall)
        wall.select(name)
        wall.focus()
        self._tell(wall)

    def sheet(self) -> Sheet:
        columns, rows = self.table.plain()
        return Sheet("fleet", columns, rows, note=self._described())
