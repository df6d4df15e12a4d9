"""The last hop to the terminal: only changed cells are sent, the newest frame wins, nothing but our own bytes leaves.

Textual repaints whole regions. `ThinScreen` keeps what the terminal shows and what it should show, cell by cell, and
writes the difference: idle is 0 bytes. While the terminal is slow, frames are merged instead of queued, so that a
stalled link neither blocks the program nor replays the past. `filter_bytes` lets nothing through but the sequences
listed here. Hooks into `App._display`, whose shape is pinned by `textual>=8.2.8,<8.3` and by a cell-for-cell test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.color import Color
from textual.filter import LineFilter
from textual.strip import Strip

Cell = tuple[str, str]

BRIDGE_CELLS = 4
STYLES_MAX = 4_096
REPLACEMENT = "\ufffd"

# What stands for a glyph that the terminal does not have. Anything else that it lacks is `?`.
ASCII_GLYPHS = str.maketrans(
    "\u2014\u2013\u2026·■▲▼│─°µ█░±≥≤→←\u00d7\u03c3äöüßÄÖÜéèå",
    "--~.X!v|-'u#.+><><xsaousAOUeea",
)

# The whole vocabulary: pens, cursor moves, the modes that Textual sets and resets, two queries, the keyboard protocol.
_OURS = re.compile(
    r"\x1b\[(?:[0-9;]*m|[0-9;]*[HC]"
    r"|\?(?:7|25|1000|1003|1004|1006|1015|1016|1049|2004|2026|2048)[hl]"
    r"|\?(?:2026|2048)\$p|>[0-9]+u|<u)"
)


def filter_bytes(data: str) -> str:
    """`data` with every control character that is not part of one of our own sequences made visible."""
    if "\x1b" not in data:
        return _plain(data)
    out, at = [], 0
    for match in _OURS.finditer(data):
        out += [_plain(data[at : match.start()]), match.group()]
        at = match.end()
    return "".join([*out, _plain(data[at:])])


def _plain(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else REPLACEMENT for c in text)


class ControlFilter(LineFilter):
    """Makes control characters visible in everything that is drawn, also where frames are not sent cell by cell."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(segment.control or segment.text.isprintable() for segment in segments):
            return segments
        return [s if s.control else Segment(_plain(s.text).replace("\n", REPLACEMENT), s.style) for s in segments]


class ThinScreen:
    """What the terminal shows, what it should show, and the shortest way from one to the other."""

    def __init__(self, colours: ColorSystem | None, *, ascii: bool = False) -> None:  # noqa: A002
        self.colours = colours
        self.ascii = ascii
        self.width = self.height = 0
        self.frames_total = self.merged_total = self.bytes_total = 0
        self._wanted: list[list[Cell]] = []
        self._sent: list[list[Cell | None]] = []
        self._dirty: set[int] = set()
        self._pen: str | None = None
        self._codes: dict[Style, str] = {}

    def __repr__(self) -> str:
        return f"ThinScreen({self.width}x{self.height}, {self.bytes_total} bytes, {self.merged_total} merged)"

    @property
    def pending(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._dirty)

    def resize(self, width: int, height: int) -> None:
        """A terminal of another size: nothing that was sent counts any more."""
        if (width, height) != (self.width, self.height):
            self.width, self.height = width, height
            self._wanted = [[(" ", "")] * width for _ in range(height)]
            self.forget()

    def forget(self) -> None:
        """The terminal shows something unknown (resized, resumed, cleared): everything is sent again."""
        self._sent = [[None] * self.width for _ in range(self.height)]
        self._dirty = set(range(self.height))
        self._pen = None

    def apply(self, update: ChopsUpdate | LayoutUpdate) -> None:
        """Merges an update of the compositor into the wanted frame."""
        for x, y, strips in _pieces(update):
            if not 0 <= y < self.height:
                continue
            cells = self._cells(strips)[: max(0, self.width - x)]
            row = self._wanted[y]
            if row[x : x + len(cells)] != cells:
                row[x : x + len(cells)] = cells
                self._dirty.add(y)

    def emit(self) -> str:
        """The bytes that bring the terminal to the wanted frame; the pen stays as they leave it."""
        out: list[str] = []
        at: tuple[int, int] | None = None
        for y in sorted(self._dirty):
            new, old = self._wanted[y], self._sent[y]
            for first, last in _runs(new, old):
                out.append(_move(at, first, y))
                for char, code in new[first : last + 1]:
                    if code != self._pen:
                        out.append(f"\x1b[0;{code}m" if code else "\x1b[0m")
                        self._pen = code
                    out.append(char)
                at = None if last + 1 >= self.width else (last + 1, y)
            self._sent[y] = list(new)
        self._dirty.clear()
        data = "".join(out)
        if data:
            self.frames_total += 1
            self.bytes_total += len(data.encode())
        return data

    def _cells(self, strips: Iterable[Strip]) -> list[Cell]:
        cells: list[Cell] = []
        for strip in strips:
            for text, style, control in strip:
                if control:
                    continue
                code = self._code(style)
                if not text.isascii() or self.ascii or not text.isprintable():
                    self._wide(text, code, cells)
                else:
                    cells.extend([(char, code) for char in text])
        return cells

    def _wide(self, text: str, code: str, cells: list[Cell]) -> None:
        text = _plain(text).replace("\n", REPLACEMENT)
        for char in text:
            cells_of = get_character_cell_size(char)
            if self.ascii and not char.isascii():
                mapped = char.translate(ASCII_GLYPHS)
                cells.extend([(mapped if mapped.isascii() else "?", code)] * cells_of)
            elif cells_of == 0 and cells and not self.ascii:
                before, its_code = cells[-1] if cells[-1][0] or len(cells) < 2 else cells[-2]
                cells[-1 if cells[-1][0] or len(cells) < 2 else -2] = (before + char, its_code)
            elif cells_of:
                cells.append((char, code))
                cells.extend([("", code)] * (cells_of - 1))

    def _code(self, style: Style | None) -> str:
        """The SGR parameters of a style; hyperlinks are left out."""
        if style is None:
            return ""
        code = self._codes.get(style)
        if code is None:
            if len(self._codes) >= STYLES_MAX:
                self._codes.clear()
            rendered = style.update_link(None).render("x", color_system=self.colours)
            code = rendered[2 : rendered.index("m")] if rendered.startswith("\x1b[") else ""
            self._codes[style] = code
        return code


def _pieces(update: ChopsUpdate | LayoutUpdate) -> Iterator[tuple[int, int, Sequence[Strip]]]:
    """(x, y, strips) of everything in an update."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            yield update.region.x, y, list(line)
        return
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x <= x2 and end > x1:
                yield x, y, (strip if end <= x2 else strip.crop(0, min(end, x2) - x),)


def _runs(new: Sequence[Cell], old: Sequence[Cell | None]) -> Iterator[tuple[int, int]]:
    """(first, last) of each run of changed cells; small gaps are bridged, wide characters never split."""
    i, count = 0, len(new)
    while i < count:
        if new[i] == old[i]:
            i += 1
            continue
        first = last = i
        j = i + 1
        while j < count and j - last <= BRIDGE_CELLS + 1:
            if new[j] != old[j]:
                last = j
            j += 1
        while first > 0 and new[first][0] == "":
            first -= 1
        while last + 1 < count and new[last + 1][0] == "":
            last += 1
        yield first, last
        i = last + 1


def _move(at: tuple[int, int] | None, x: int, y: int) -> str:
    """The shortest move of the cursor to a cell."""
    if at == (x, y):
        return ""
    if at is not None and at[1] == y and x > at[0]:
        return f"\x1b[{x - at[0]}C" if x - at[0] > 1 else "\x1b[C"
    return f"\x1b[{y + 1};{x + 1}H"
