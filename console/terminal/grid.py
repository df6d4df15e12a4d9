"""A screen in memory, drawn on by what a terminal was sent, and read as lines.

It knows letters, pens, moves of the cursor and clearing, which is all that this console sends; everything else is left
out. A recording from somebody else can thus do no more than show text.
"""

from __future__ import annotations

import re
from typing import Final

from rich.cells import get_character_cell_size

NUMBER_MAX: Final = 9_999
_TOKEN: Final = re.compile(
    r"\x1b\[(?P<args>[0-9;]{0,64})(?P<end>[HmCJK])"
    r"|\x1b\[[0-?]{0,64}[ -/]{0,4}[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|(?P<text>[^\x1b]+)"
)


class Grid:
    """A screen in memory. `feed` takes what a terminal was sent; `lines` is what stands on it."""

    def __init__(self, width: int, height: int) -> None:
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """A screen of another size, blank: the program draws all of it again."""
        self.width, self.height = width, height
        self._cells = [[(" ", "")] * width for _ in range(height)]
        self._x = self._y = 0
        self._pen = ""

    def feed(self, data: str) -> None:
        """Draws what a terminal was sent. Whatever is not known is left out."""
        for token in _TOKEN.finditer(data):
            if token["text"] is not None:
                self._write(token["text"])
            elif token["end"] is not None:
                self._control(token["end"], token["args"])

    def _control(self, end: str, args: str) -> None:
        numbers = [min(NUMBER_MAX, int(part)) if part else 0 for part in args.split(";")] if args else []
        if end == "m":
            self._pen = "" if not numbers or numbers == [0] else args.removeprefix("0;")
        elif end == "H":
            row, column = (*numbers, 1, 1)[:2] if len(numbers) < 2 else numbers[:2]
            self._y, self._x = max(1, row) - 1, max(1, column) - 1
        elif end == "C":
            self._x += max(1, numbers[0] if numbers else 1)
        elif 0 <= self._y < self.height:
            first = self._x if not numbers or numbers[0] == 0 else 0
            self._cells[self._y][first:] = [(" ", "")] * (self.width - min(first, self.width))
            if end == "J":
                for y in range(0 if first == 0 else self._y + 1, self.height):
                    self._cells[y] = [(" ", "")] * self.width

    def _write(self, text: str) -> None:
        for char in text:
            if char == "\n":
                self._y += 1
            elif char == "\r":
                self._x = 0
            elif char.isprintable():
                cells = get_character_cell_size(char)
                if cells and 0 <= self._y < self.height and self._x + cells <= self.width:
                    self._cells[self._y][self._x : self._x + cells] = [
                        (char, self._pen),
                        *[("", self._pen)] * (cells - 1),
                    ]
                self._x += cells

    def lines(self, width: int, height: int) -> list[str]:
        """What stands in the upper left `width` by `height` cells, each line with its pens."""
        out = []
        for row in self._cells[:height]:
            parts, pen = [], ""
            for char, code in row[:width]:
                if code != pen:
                    parts.append(f"\x1b[0;{code}m" if code else "\x1b[0m")
                    pen = code
                parts.append(char)
            out.append("".join(parts) + ("\x1b[0m" if pen else ""))
        return out

    def text(self) -> str:
        return "\n".join("".join(char for char, _ in row).rstrip() for row in self._cells)
