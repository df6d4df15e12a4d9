"""Before anything changes: what, on which nodes, what it does to the running line, how to undo it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from textual.widget import Widget

from console.screens.view import View
from widgets.cells import wrap
from widgets.entry import EntryField
from widgets.look import Look, Spans

LABEL_CELLS = 12


@dataclass(frozen=True, slots=True)
class Change:
    """What a person is asked to agree to. `typed` must be typed word for word; `asks` is for a free text instead."""

    title: str
    what: tuple[str, ...]
    effect: tuple[str, ...]
    undo: str
    nodes: str = ""
    typed: str = ""
    asks: str = ""
    yes: str = "go on"


class ConfirmView(View):
    """Dismissed with True (or the free text), or with None."""

    def __init__(self, look: Look, change: Change) -> None:
        super().__init__(look, change.title, keys=(("enter", change.yes), ("esc", "leave it as it is")))
        self.change = change
        self.field = EntryField(hint=self._hint())

    def _hint(self) -> str:
        if self.change.typed:
            return f"type {self.change.typed} and press enter"
        return self.change.asks

    @property
    def mode(self) -> Literal["typed", "text", "enter"]:
        """What the person has to do."""
        return "typed" if self.change.typed else "text" if self.change.asks else "enter"

    def body(self) -> Iterable[Widget]:
        yield from super().body()
        if self.mode != "enter":
            yield self.field

    def opened(self) -> None:
        super().opened()
        if self.mode != "enter":
            self.field.focus()

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        self.set_lines(self._lines(max(20, self.size.width)))

    def _lines(self, width: int) -> list[Spans]:
        change = self.change
        lines: list[Spans] = [()]
        parts = (("changes", change.what), ("on", (change.nodes,) if change.nodes else ()), ("the line", change.effect),
                 ("undo", (change.undo,)))  # fmt: skip
        for label, texts in parts:
            first = True
            for text in texts:
                for line in wrap(text, width - LABEL_CELLS - 1):
                    strong = "strong" if label in ("changes", "on") else "base"
                    lines.append(
                        ((f" {label if first else ''}".ljust(LABEL_CELLS), "dim"), (line, strong))  # type: ignore[arg-type]
                    )
                    first = False
            if texts:
                lines.append(())
        if self.mode == "typed":
            lines.append(((" type ", "base"), (change.typed, "key"), (f" and press enter to {change.yes}", "base")))
        elif self.mode == "text":
            lines.append(((f" {change.asks}", "base"), (", then enter", "base")))
        else:
            lines.append(((" press ", "base"), ("enter", "key"), (f" to {change.yes}", "base")))
        return lines

    def on_input_submitted(self, event: EntryField.Submitted) -> None:
        event.stop()
        if self.mode == "text":
            self.dismiss(event.value.strip())
        elif event.value.strip() == self.change.typed:
            self.dismiss(True)
        else:
            self.field.value = ""
            self.say(f"that is not {self.change.typed}: nothing was changed", "warn")

    def key_enter(self) -> None:
        if self.mode == "enter":
            self.dismiss(True)
