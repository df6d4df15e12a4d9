"""The row over the keys: type a filter, or see which one is set. Not there when there is nothing to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message

from widgets.drawing import Drawing
from widgets.look import Look, Span

if TYPE_CHECKING:
    from widgets.entry import EntryField


class FilterNote(Drawing):
    """What is shown of how many."""

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.text = ""

    def set_text(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self.refresh()

    def line(self, y: int, width: int) -> list[Span]:
        return [(f" {self.text}", "strong")]


class FilterRow(Horizontal):
    """Posts Changed at each key while it is typed in, and Left when the person is done."""

    DEFAULT_CSS = """
    FilterRow { height: 1; display: none; }
    FilterRow EntryField { width: 1fr; }
    """

    class Changed(Message):
        """The text is another."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The person has finished typing."""

    def __init__(self, look: Look, *, hint: str = "site:press state:warn model:bearing, ! inverts") -> None:
        super().__init__()
        self.note = FilterNote(look)
        self.hint = hint
        self.asking = False
        self._entry: EntryField | None = None

    def compose(self) -> ComposeResult:
        yield self.note

    async def ask(self, text: str) -> None:
        """Opens the row for typing."""
        if self._entry is None:
            from widgets.entry import EntryField

            self._entry = EntryField(hint=self.hint)
            await self.mount(self._entry)
        self.asking = True
        self._entry.value = text
        self._entry.display, self.note.display, self.display = True, False, True
        self._entry.cursor_position = len(text)
        self.screen.set_focus(self._entry)  # now: what was typed ahead is text, and no command

    def show_state(self, text: str, shown: int, total: int) -> None:
        """Says which filter is set; without one the row goes away."""
        self.note.set_text(f"{text}   {shown} of {total} shown   esc clears" if text else "")
        self.display = bool(text) or self.asking

    def on_input_changed(self, event: EntryField.Changed) -> None:
        event.stop()
        if self.asking:
            self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: EntryField.Submitted) -> None:
        event.stop()
        self._leave()

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape" and self.asking:
            event.stop()
            event.prevent_default()
            self.post_message(self.Changed(""))
            self._leave()

    def _leave(self) -> None:
        self.asking = False
        if self._entry is not None:
            self._entry.display = False
        self.note.display = True
        self.display = bool(self.note.text)
        self.post_message(self.Left())
