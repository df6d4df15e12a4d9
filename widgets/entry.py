"""One line to type in: flat, without a blinking cursor."""

from __future__ import annotations

from textual.widgets import Input


class EntryField(Input):
    """A field as one row of the screen."""

    DEFAULT_CSS = """
    EntryField, EntryField:focus, EntryField:ansi, EntryField:ansi:focus {
        height: 1; border: none; padding: 0 1; width: 1fr;
        background: $panel; color: $foreground; background-tint: 0%;
    }
    """

    def __init__(self, text: str = "", *, hint: str = "", secret: bool = False, id: str | None = None) -> None:  # noqa: A002
        super().__init__(
            text, placeholder=hint, id=id, compact=True, select_on_focus=False, password=secret, highlighter=None
        )
        self.cursor_blink = False
