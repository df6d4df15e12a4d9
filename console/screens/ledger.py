"""Screen 7: the ledger of every node: whether its chain can be believed, and who did what last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import BindingType

from console.ledgers.chains import CHAINS, chain_row, judge, newest_lines, node_id_of, order
from console.screens.chainkeys import ChainKeys
from console.screens.page import bindings
from console.seat.messages import WorkChanged
from console.seat.work import Work
from widgets.cells import wrap
from widgets.look import Look, Spans
from widgets.status import ALARM, OK, STATES, UNKNOWN, count
from widgets.table import Row

if TYPE_CHECKING:
    from store.histories import Chain
    from store.ledger import Entry

LOOK_S: Final = 5.0
NEWEST: Final = 40


class LedgerPage(ChainKeys):
    """One row a node; under them the newest entries of the one under the cursor."""

    kind = "ledger"
    name_shown = "Ledger"
    columns = CHAINS
    detail_share = 0.4
    detail_lines_min = 6
    BINDINGS: ClassVar[list[BindingType]] = bindings("ledger")

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.table.empty = ("The verified copies are being read.",)
        self.chains: Mapping[str, Chain] | None = None
        self.entries: dict[str, Sequence[Entry]] = {}

    def opened(self) -> None:
        super().opened()
        self._fetch()
        self.set_interval(LOOK_S, self._fetch)

    # ------------------------------------------------------------ what is read

    def _fetch(self) -> None:
        work = self.seat.works.latest("chains", "")
        if self.is_current and self.seat.opened is not None and not (work and work.running):
            self.seat.begin("chains", "read the ledgers", "", lambda _: self.seat.operations.chains(), quiet=True)

    def on_work_changed(self, message: WorkChanged) -> None:
        super().on_work_changed(message)
        work = message.work
        if work.kind == "chains" and work.state == "done":
            self._came(work.result)
        elif work.kind == "verify" and not work.running:
            self.entries.pop(work.node, None)
            self._fetch()

    def _came(self, chains: Mapping[str, Chain]) -> None:
        before, self.chains = self.chains, chains
        self.table.empty = ("No nodes yet.", "1, then n adds one; ctrl-d there shows a plant.")
        changed = [n for n, i in self._ids().items() if before is None or before.get(i) != chains.get(i)]
        for name in changed:
            self.entries.pop(name, None)
        self.lay_out()
        self.table.touch(changed)
        self._draw_title()

    def _ids(self) -> dict[str, str]:
        return {name: node_id_of(state) for name, state in self.board.nodes.items()}

    def _read_entries(self) -> None:
        """The newest entries of the node under the cursor, once."""
        name = self.table.key
        state = self.board.nodes.get(name or "")
        if name is None or state is None or name in self.entries or self.seat.opened is None:
            return
        self.entries[name] = ()
        operations, node_id = self.seat.operations, node_id_of(state)
        self.seat.begin("entries", "read the ledger", name, lambda _: operations.newest_entries(node_id, NEWEST),
                        quiet=True, then=partial(self._entries_came, name))  # fmt: skip

    def _entries_came(self, name: str, work: Work) -> None:
        self.entries[name] = work.result
        self.draw_detail()

    # ------------------------------------------------------------ what is shown

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        if self.chains is None:
            return
        if changed is None:
            self.lay_out()
            self._draw_title()
        self.table.touch(self.table.visible_keys())

    def _draw_title(self) -> None:
        chains = self.chains or {}
        found = dict.fromkeys((ALARM, UNKNOWN, OK), 0)
        for state in self.board.nodes.values():
            found[judge(state, chains.get(node_id_of(state)), self.board.wall_s).state] += 1
        spans: list[tuple[str, str]] = []
        for sign in STATES:
            if sign in found:
                spans += [*count(sign, found[sign], self.look), (" ", "base")]
        self.title_row.set_values((("Chains  ", "strong"), *spans), note="@ answers what ran at a time")  # type: ignore[arg-type]

    def all_keys(self) -> Sequence[str]:
        return [] if self.chains is None else order(self.board.nodes, self.chains, self.board.wall_s)

    def is_fault(self, key: str) -> bool:
        state = self.board.nodes[key]
        return judge(state, (self.chains or {}).get(node_id_of(state)), self.board.wall_s).state is not OK

    def _row(self, key: str) -> Row:
        state = self.board.nodes.get(key)
        if state is None:
            return Row({"node": (key, "dim")}, sentence=("no longer in the fleet", "dim"), keep=("state", "node"))
        return chain_row(state, (self.chains or {}).get(node_id_of(state)), self.board.wall_s, self.look)

    def detail_spans(self) -> Sequence[Spans]:
        name = self.table.key
        state = self.board.nodes.get(name or "")
        if name is None or state is None:
            return ()
        self._read_entries()
        judged = judge(state, (self.chains or {}).get(node_id_of(state)), self.board.wall_s)
        lines: list[Spans] = [((f" {name}", "title"), ("  newest first   enter: all of it", "dim"))]
        if judged.state is ALARM:
            texts = [judged.text, "what was verified before is kept. Compare with another console's copy; then A ends "
                     "the alarm under your name"]  # fmt: skip
            lines += [((f" {line}", "alarm" if i == 0 else "strong"),) for i, text in enumerate(texts)
                      for line in wrap(text, max(20, self.size.width - 2))]  # fmt: skip
        room = self.detail.size.height - len(lines)
        entries = self.entries.get(name, ())
        if not entries:
            lines.append(((" nothing of it was ever verified here; v fetches and verifies it", "unknown"),))
        return lines + newest_lines(entries, state.view.clock_offset_s, room)

    # ------------------------------------------------------------ keys

    def is_broken(self, name: str) -> bool:
        state = self.board.nodes.get(name)
        chain = (self.chains or {}).get(node_id_of(state)) if state is not None else None
        return chain is not None and chain.broken is not None

    def node(self) -> str | None:
        return self.table.key

    def do_open(self) -> None:
        if self.table.key is not None:
            self.seat.go("chain", self.table.key)
