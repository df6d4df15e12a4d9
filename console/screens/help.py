"""`?`: the keys of the screen it was asked on, and what the words and signs mean."""

from __future__ import annotations

from console.screens.view import View
from console.seat import commands
from widgets.cells import wrap
from widgets.look import Look, Spans
from widgets.status import STATES, TRIAL, word

KEY_CELLS = 8
WORD_CELLS = 12
MEANINGS = (
    "needs a person now",
    "is not as it should be",
    "is not known: no answer, or too old to be trusted",
    "is out of service, by a person",
    "is well",
)


class HelpView(View):
    """Made from the table of commands."""

    def __init__(self, look: Look, screen: commands.Screen, name: str) -> None:
        super().__init__(look, f"Help: {name or screen}")
        self.asked_on = screen

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        lines: list[Spans] = []
        for command in self.seat.keymap.on(self.asked_on):
            if command.shown:
                note = " (OPERATE)" if command.operate else ""
                texts = wrap(command.help + note, max(20, self.size.width - KEY_CELLS - WORD_CELLS - 3))
                lines.append(((f" {command.shown:<{KEY_CELLS}}", "key"), (f"{command.word:<{WORD_CELLS}}", "strong"),
                              (f" {texts[0]}", "base")))  # fmt: skip
                lines += [((" " * (KEY_CELLS + WORD_CELLS + 2) + text, "base"),) for text in texts[1:]]
        lines += [(), ((" up down pgup pgdn home end, or j k g G, move the cursor", "base"),), ()]
        lines.append(((" states", "title"),))
        for state, meaning in zip(STATES, MEANINGS, strict=True):
            lines.append(((" ", "base"), word(state, self.look), (f"   {meaning}", "base")))
        trial = "runs a revision that goes back by itself unless somebody confirms it"
        lines.append(((" ", "base"), word(TRIAL, self.look), (f"   {trial}", "base")))
        lines += [(), ((" a dim value is older than three periods; a value that reads ? is not known", "base"),)]
        self.set_lines(lines)

    def do_help(self) -> None:
        self.dismiss(None)
