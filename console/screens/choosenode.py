"""One node of the fleet, chosen by typing a part of its name."""

from __future__ import annotations

from collections.abc import Iterable

from textual import events
from textual.widget import Widget

from console.fleet.query import order
from console.fleet.rows import COLUMNS, node_row
from console.screens.listpage import holds
from console.screens.view import View
from widgets.entry import EntryField
from widgets.look import Look
from widgets.table import Row, Table


class ChooseNodeView(View):
    """Dismissed with the node's name, or with None. Only nodes that answer are offered."""

    def __init__(self, look: Look, title: str) -> None:
        super().__init__(look, title, keys=(("enter", "choose"), ("up down", "choose"), ("esc", "back")))
        self.entry = EntryField(hint="a part of its name, site or line")
        self.table = Table(COLUMNS, self._row, look)
        self.table.can_focus = False
        self.table.empty = ("No node that answers has these words.",)

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.entry, self.table)

    def opened(self) -> None:
        super().opened()
        self.entry.focus()
        self._find("")
        self.table.action_edge(-1)

    def _find(self, words: str) -> None:
        found = []
        for state in order(self.board.nodes.values(), "node"):
            address = state.view.address
            if state.known and holds(words, f"{address.name} {address.site} {address.line} {address.machine}"):
                found.append(address.name)
        self.table.set_keys(found)

    def _row(self, key: str) -> Row:
        return node_row(self.board.nodes[key], self.board.now_s, self.look)

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        self.table.touch(self.table.visible_keys() if changed is None else changed)

    def on_input_changed(self, event: EntryField.Changed) -> None:
        event.stop()
        self._find(event.value)

    def on_input_submitted(self, event: EntryField.Submitted) -> None:
        event.stop()
        if self.table.key is not None:
            self.dismiss(self.table.key)

    def on_key(self, event: events.Key) -> None:
        steps = {"down": 1, "up": -1, "pagedown": 10, "pageup": -10}
        if event.key in steps:
            event.stop()
            self.table.action_step(steps[event.key])
