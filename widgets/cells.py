"""Text in cells: measured, padded, cut at a word and never inside a wide character; spans to one strip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from widgets.look import Look, Span

ELLIPSIS = "…"


def width_of(text: str) -> int:
    """How many cells `text` takes."""
    return len(text) if text.isascii() else cell_len(text)


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """`text` in exactly `cells` cells; what does not fit ends in an ellipsis."""
    if cells <= 0:
        return ""
    length = width_of(text)
    if length > cells:
        return set_cell_size(text, cells - 1) + ELLIPSIS if cells > 1 else ELLIPSIS
    space = " " * (cells - length)
    return space + text if right else text + space


def cut(text: str, cells: int) -> str:
    """`text` in at most `cells` cells, cut between words and then marked with an ellipsis.

    A first word that is too long on its own is cut inside.
    """
    if width_of(text) <= cells:
        return text
    first = text.lstrip(" ")
    lead = text[: len(text) - len(first)]
    kept = ""
    for word in first.split(" "):
        longer = f"{kept} {word}" if kept else lead + word
        if width_of(longer) + 2 > cells:
            break
        kept = longer
    return f"{kept} {ELLIPSIS}" if kept else pad(text, cells)


def wrap(text: str, cells: int) -> list[str]:
    """`text` in lines of at most `cells` cells, broken between words where there are any."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width_of(longer) <= cells:
            line = longer
            continue
        if line:
            lines.append(line)
        while width_of(word) > cells > 0:
            piece = set_cell_size(word, cells).rstrip(" ") or word[:1]
            lines.append(piece)
            word = word[len(piece) :]
        line = word
    return [*lines, line] if line or not lines else lines


def spans_width(spans: Iterable[Span]) -> int:
    """How many cells the spans take together."""
    return sum(width_of(text) for text, _ in spans)


def strip(spans: Sequence[Span], cells: int, look: Look, ground: Style | None = None) -> Strip:
    """The spans as one strip of exactly `cells` cells on `ground` (the ordinary background if None)."""
    back = look.base if ground is None else ground
    segments: list[Segment] = []
    left = cells
    for text, role in spans:
        if left <= 0:
            break
        length = width_of(text)
        if length > left:
            text, length = pad(cut(text, left), left), left
        if length:
            style = look.style(role) if ground is None else look.on(back, role)
            bare = text.lstrip(" ")
            if bare and bare is not text:
                # Apart, because pictures (SVG) lose the spaces that a piece of text begins with.
                segments.append(Segment(text[: len(text) - len(bare)], style))
            segments.append(Segment(bare or text, style))
        left -= length
    if left > 0:
        segments.append(Segment(" " * left, back))
    return Strip(segments, cells)
