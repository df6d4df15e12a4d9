"""One line asked for: a path, a time, a node. Says what it is for, and what is wrong with it before it is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from textual.widget import Widget

from console.screens.view import View
from widgets.cells import wrap
from widgets.entry import EntryField
from widgets.lines import Listing
from widgets.look import Look, Spans


class AskLineView(View):
    """Dismissed with the text, or with None. `check` gives what is wrong with a text, "" for nothing.

    `offers` are whole answers to choose from with up and down.
    """

    def __init__(
        self,
        look: Look,
        title: str,
        lines: Sequence[str],
        *,
        yes: str,
        hint: str = "",
        text: str = "",
        check: Callable[[str], str] = lambda text: "",
        offers: Sequence[str] = (),
    ) -> None:
        keys = (("enter", yes), *([("up down", "choose")] if offers else []), ("esc", "back"))
        super().__init__(look, title, keys=keys)
        self.asked, self.check, self.hint, self.first = tuple(lines), check, hint, text
        self.entry = EntryField(text, hint=hint)
        self.listing = Listing(look)
        self.listing.can_focus = False
        self.set_offers(offers)

    def set_offers(self, offers: Sequence[str]) -> None:
        """Answers that are known; they may come later."""
        self.listing.set_keys([f"{offer}" for offer in offers])
        self.listing.display = bool(offers)

    def body(self) -> Iterable[Widget]:
        self.text.styles.height = "auto"
        return (self.title_row, self.text, self.entry, self.listing)

    def opened(self) -> None:
        super().opened()
        self.entry.focus()
        self.entry.cursor_position = len(self.entry.value)

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        width = max(20, self.size.width - 2)
        lines: list[Spans] = [((f" {line}", "base"),) for text in self.asked for line in wrap(text, width)]
        self.text.styles.height = len(lines) + 2
        self.set_lines([(), *lines, ()])

    def key_down(self) -> None:
        self._choose(1)

    def key_up(self) -> None:
        self._choose(-1)

    def _choose(self, step: int) -> None:
        if not self.listing.keys:
            return
        if self.entry.value == self.listing.key or self.entry.value not in ("", self.first):
            self.listing.action_step(step)
        self.entry.value = self.listing.key or ""
        self.entry.cursor_position = len(self.entry.value)

    def on_input_submitted(self, event: EntryField.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        wrong = self.check(text) if text else "nothing is typed: esc goes back"
        if wrong:
            self.say(wrong, "warn")
        else:
            self.dismiss(text)
