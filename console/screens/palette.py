"""The palette: every command of a screen by its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual import events
from textual.widget import Widget

from console.screens.view import View
from console.seat import commands
from console.seat.keymap import WITH_A_NAME
from widgets.entry import EntryField
from widgets.lines import Listing
from widgets.look import Look, Span


class CommandList(Listing):
    """The commands that match."""

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.command: dict[str, commands.Command] = {}

    def item(self, key: str, width: int) -> Sequence[Span]:
        command = self.command[key]
        note = "  OPERATE" if command.operate else ""
        return ((f" {command.word:<16}", "strong"), (f"{command.shown:<8}", "key"), (f"{command.help}{note}", "base"))


class PaletteView(View):
    """Dismissed with the name of a command, or with None."""

    def __init__(self, look: Look, screen: commands.Screen) -> None:
        super().__init__(look, "Commands", keys=(("enter", "do it"), ("up down", "choose"), ("esc", "back")))
        self.asked_on = screen
        self.entry = EntryField(hint="type a part of a name")
        self.listing = CommandList(look)
        self.listing.can_focus = False
        self.listing.empty = ("No command has these words.",)

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.entry, self.listing)

    def opened(self) -> None:
        super().opened()
        self.entry.focus()
        self._find("")

    def _find(self, words: str) -> None:
        found = self.seat.keymap.find(words, self.asked_on)
        self.listing.command = {c.name: c for c in found}
        self.listing.empty = self._nothing(words)
        self.listing.set_keys([c.name for c in found])
        self.listing.action_edge(-1)

    def _nothing(self, words: str) -> tuple[str, ...]:
        """What enter does where no command has these words."""
        line = self.seat.keymap.expand(words)
        first, _, name = line.partition(" ")
        if first in WITH_A_NAME and name:
            return (f"enter: {first} {name}",)
        return ("No command has these words.", f"{', '.join(f'{word} NAME' for word in WITH_A_NAME)} work too.")

    def on_input_changed(self, event: EntryField.Changed) -> None:
        event.stop()
        self._find(event.value)

    def on_input_submitted(self, event: EntryField.Submitted) -> None:
        event.stop()
        line = self.seat.keymap.expand(event.value)
        takes_name = line.partition(" ")[0] in WITH_A_NAME and " " in line
        self.dismiss(line if takes_name else self.listing.key)

    def on_key(self, event: events.Key) -> None:
        steps = {"down": 1, "up": -1, "pagedown": 10, "pageup": -10}
        if event.key in steps:
            event.stop()
            self.listing.action_step(steps[event.key])
