"""Saying what a record really was: a digit for a label that is already used here, or a new word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.widget import Widget

from console import figures
from console.client.clocks import made_us
from console.screens.view import View
from nodeagent.protocol import Record
from widgets.entry import EntryField
from widgets.look import Look, Spans

LABEL_CHARS_MAX = 64


class LabelView(View):
    """Dismissed with the label, or with None."""

    def __init__(self, look: Look, node: str, record: Record, labels: Sequence[str]) -> None:
        super().__init__(look, f"Label a record of {node}", keys=(("enter", "label"), ("esc", "back")))
        self.record, self.labels = record, tuple(labels)
        self.entry = EntryField(hint="a digit, or another word")

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.text, self.entry)

    def opened(self) -> None:
        super().opened()
        self.entry.focus()

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        r = self.record
        said = (
            f" {figures.moment(made_us(r))}  score {figures.number(r.score)}  the model said {r.label or figures.NONE}"
        )
        lines: list[Spans] = [(), ((said, "strong"),), ()]
        lines += [((f" {i + 1} ", "key"), (label, "base")) for i, label in enumerate(self.labels)]
        lines += [
            (),
            ((" The label is appended on the node with your name; the record itself stays as it is.", "dim"),),
        ]
        self.set_lines(lines)

    def on_input_changed(self, event: EntryField.Changed) -> None:
        event.stop()
        if event.value.isdigit() and 0 < int(event.value) <= len(self.labels):
            self.dismiss(self.labels[int(event.value) - 1])

    def on_input_submitted(self, event: EntryField.Submitted) -> None:
        event.stop()
        label = event.value.strip()[:LABEL_CHARS_MAX]
        self.dismiss(label or None)
