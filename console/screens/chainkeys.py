"""What can be done about a node's ledger: verify it now, ask what ran at a time, end a broken one's alarm."""

from __future__ import annotations

from functools import partial
from typing import Any

from console.ledgers.chains import node_id_of, past_lines
from console.moments import EXAMPLES, MomentError, parse_moment
from console.screens.askline import AskLineView
from console.screens.confirm import Change, ConfirmView
from console.screens.listpage import ListPage
from console.screens.view import View
from console.seat.work import Work


class ChainKeys(ListPage):
    """The three verbs, about the node that the page names."""

    def do_verify(self) -> None:
        name = self.node()
        state = self.board.nodes.get(name or "")
        if name is None or state is None:
            self.say("no node is under the cursor")
        elif not state.known:
            self.say(f"{name} does not answer ({state.reason}): only what was verified before is shown", "warn")
        else:
            operations = self.seat.operations
            self.seat.begin("verify", f"verify the ledger of {name}", name, lambda _: operations.verify(name),
                            quiet=True, then=partial(self._verified, name))  # fmt: skip

    def _verified(self, name: str, work: Work) -> None:
        found = work.result
        if found.broken is not None:
            self.seat.say(f"{name}: ledger {found.broken.kind.upper()}: {found.broken.text}", "alarm")
        else:
            self.seat.say(f"{name}: {found.head.seq:,} entries are one chain, {found.new} of them new")

    # ------------------------------------------------------------ what ran at a time

    def do_at(self) -> None:
        name = self.node()
        if name is None:
            self.say("no node is under the cursor")
            return
        lines = (f"What ran on {name}, and who did what around it. Local time: {EXAMPLES}.",)
        view = AskLineView(self.look, f"{name} at a time", lines, yes="look", hint="12 Mar 14:05", check=self._no_time)
        self.seat.push_screen(view, partial(self._look_at, name))

    def _no_time(self, text: str) -> str:
        try:
            parse_moment(text, self.seat.clock.epoch_s())
        except MomentError as error:
            return str(error)
        return ""

    def _look_at(self, name: str, text: object) -> None:
        state = self.board.nodes.get(name)
        if not isinstance(text, str) or state is None:
            return
        at_us = parse_moment(text, self.seat.clock.epoch_s())
        operations, node_id = self.seat.operations, node_id_of(state)
        self.seat.begin("past", f"the ledger of {name}", name, lambda _: operations.past(node_id, at_us), quiet=True,
                        then=partial(self._show_past, name, at_us, state.view.clock_offset_s))  # fmt: skip

    def _show_past(self, name: str, at_us: int, offset_s: float | None, work: Work) -> None:
        view = View(self.look, f"{name}: who did what")
        view.set_lines(past_lines(name, at_us, work.result, offset_s, self.size.width))
        self.seat.push_screen(view)

    # ------------------------------------------------------------ a broken one

    def do_accept_break(self) -> None:
        name = self.node()
        state = self.board.nodes.get(name or "")
        if name is None or state is None or (not state.view.ledger_break and not self.is_broken(name)):
            self.say(f"the ledger of {name or 'no node'} is not broken, as far as this console knows")
            return
        change = Change(
            title=f"Accept the ledger of {name}",
            what=("its alarm ends; its history begins anew here with what the node shows next",),
            nodes=f"{name}, 1 node",
            effect=("Nothing on the node changes. The old chain and the break are kept.",),
            undo="nothing brings the alarm back; the reason stays under your name",
            asks="give the reason",
            yes="go on",
        )
        self.seat.push_screen(ConfirmView(self.look, change), partial(self._reason, name, node_id_of(state)))

    def is_broken(self, name: str) -> bool:
        """Whether the copy of a node's ledger has a break that stands."""
        return False

    def _reason(self, name: str, node_id: str, reason: object) -> None:
        if not isinstance(reason, str):
            return
        if not reason:
            self.say("a reason is needed: nothing was changed", "warn")
            return
        change = Change(
            title=f"Accept the ledger of {name}",
            what=(f"accepted because: {reason}",),
            nodes=f"{name}, 1 node",
            effect=("The alarm of this history ends.",),
            undo="nothing",
            typed=name,
            yes="accept it",
        )
        self.seat.push_screen(ConfirmView(self.look, change), partial(self._accept, name, node_id, reason))

    def _accept(self, name: str, node_id: str, reason: str, yes: Any) -> None:
        if yes is not True:
            return
        operations = self.seat.operations
        self.seat.begin("verify", f"accept the ledger of {name}", name,
                        lambda _: operations.accept_break(node_id, reason), quiet=True,
                        then=lambda _: self.seat.say(f"{name}: accepted as {operations.operator}"))  # fmt: skip
