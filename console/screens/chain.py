"""The ledger of one node, newest first: every entry that this console verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import BindingType

from console.ledgers.chains import ENTRIES, did, entry_lines, entry_row, judge, node_id_of
from console.screens.chainkeys import ChainKeys
from console.screens.page import bindings
from console.screens.view import View
from console.seat.messages import WorkChanged
from console.seat.operations import OnStep
from widgets.look import Look, Span
from widgets.status import ALARM, word
from widgets.table import Row

if TYPE_CHECKING:
    from store.histories import Chain
    from store.ledger import Entry

ENTRIES_MAX: Final = 20_000


class ChainPage(ChainKeys):
    """One row an entry; `enter` shows all of it."""

    kind = "chain"
    name_shown = "Ledger"
    columns = ENTRIES
    hint = "who, what or which one, such as alice or hold; ! inverts"
    BINDINGS: ClassVar[list[BindingType]] = bindings("chain")

    def __init__(self, look: Look, node: str) -> None:
        super().__init__(look)
        self.about = node
        self.entries: dict[str, Entry] = {}
        self.chain: Chain | None = None
        self.read = False
        self.table.empty = ("The verified copy is being read.",)

    def opened(self) -> None:
        super().opened()
        self._fetch()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self._fetch()

    def node(self) -> str | None:
        return self.about

    def _node_id(self) -> str:
        state = self.board.nodes.get(self.about)
        return node_id_of(state) if state is not None else ""

    def _offset_s(self) -> float | None:
        state = self.board.nodes.get(self.about)
        return state.view.clock_offset_s if state is not None else None

    def _fetch(self) -> None:
        work = self.seat.works.latest("chain", self.about)
        if self.seat.opened is None or (work is not None and work.running):
            return
        operations, node_id = self.seat.operations, self._node_id()

        async def read(_: OnStep) -> tuple[Sequence[Entry], Chain | None]:
            return await operations.newest_entries(node_id, ENTRIES_MAX), (await operations.chains()).get(node_id)

        self.seat.begin("chain", "read the ledger", self.about, read, quiet=True)

    def on_work_changed(self, message: WorkChanged) -> None:
        super().on_work_changed(message)
        work = message.work
        if work.node != self.about or work.running:
            return
        if work.kind == "chain" and work.state == "done":
            entries, self.chain = work.result
            self.entries = {str(entry.seq): entry for entry in reversed(entries)}
            self.table.empty = ("Nothing of this ledger was ever verified here.", "v fetches and verifies it")
            self.read = True
            self.lay_out()
            self._draw_title()
        elif work.kind == "verify":
            self._fetch()

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        self._draw_title()

    def _draw_title(self) -> None:
        state = self.board.nodes.get(self.about)
        if state is None or not self.read:
            self.title_row.set_values(((f"Ledger of {self.about}", "strong"),))
            return
        judged = judge(state, self.chain, self.board.wall_s)
        text: Span = (f" {judged.text}", "strong" if judged.state is ALARM else "base")
        note = f"{len(self.entries):,} entries"
        self.title_row.set_values(
            ((f"Ledger of {self.about}  ", "strong"), word(judged.state, self.look), text), note=note
        )

    def is_broken(self, name: str) -> bool:
        return self.chain is not None and self.chain.broken is not None

    def all_keys(self) -> Sequence[str]:
        return list(self.entries)

    def key_text(self, key: str) -> str:
        entry = self.entries[key]
        return f"{entry.actor} {entry.action} {did(entry)} {entry.subject} {entry.detail}"

    def _row(self, key: str) -> Row:
        return entry_row(self.entries[key], self._offset_s())

    def do_open(self) -> None:
        entry = self.entries.get(self.table.key or "")
        if entry is not None:
            view = View(self.look, f"Entry {entry.seq} of {self.about}")
            view.set_lines(entry_lines(entry, self._offset_s(), self.size.width))
            self.seat.push_screen(view)
