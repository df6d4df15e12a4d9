"""A question that a link has to ask: a secret, whether a host key is right, yes or no. Declining is always possible."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from console.screens.view import View
from widgets.cells import wrap
from widgets.entry import EntryField
from widgets.look import Look, Spans


class QuestionView(View):
    """Dismissed with the text of a secret, with True, or with None: declined."""

    def __init__(self, look: Look, node: str, text: str, mode: str, strong: str) -> None:
        yes = {"secret": "send", "typed": "accept", "enter": "yes"}[mode]
        super().__init__(look, f"{node} asks", keys=(("enter", yes), ("esc", "no")))
        self.question, self.mode, self.strong = text, mode, strong
        hint = "type yes to accept this key" if mode == "typed" else "it is not shown and not kept"
        self.entry = EntryField(hint=hint, secret=mode == "secret")

    def body(self) -> Iterable[Widget]:
        yield from super().body()
        if self.mode != "enter":
            yield self.entry

    def opened(self) -> None:
        super().opened()
        if self.mode == "secret":
            self.seat.set_private(True)
        if self.mode != "enter":
            self.entry.focus()

    def on_unmount(self) -> None:
        if self.mode == "secret":
            self.seat.set_private(False)

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        lines: list[Spans] = [(), *(((f" {line}", "base"),) for line in wrap(self.question, self.size.width - 2))]
        if self.strong:
            lines += [(), ((f" {self.strong}", "strong"),)]
        self.set_lines(lines)

    def on_input_submitted(self, event: EntryField.Submitted) -> None:
        event.stop()
        if self.mode == "secret":
            self.dismiss(event.value)
        elif event.value.strip().casefold() == "yes":
            self.dismiss(True)
        else:
            self.dismiss(None)

    def key_enter(self) -> None:
        if self.mode == "enter":
            self.dismiss(True)
