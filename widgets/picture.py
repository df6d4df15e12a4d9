"""Pictures of a screen as SVG in which every glyph stands in its own cell, whatever font draws it. Pure.

A renderer that has no braille in its monospaced font takes it from another one, of another width, and what follows in
the same piece of text is shifted. So each such glyph becomes a piece of its own, with its own place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape, unescape

from rich.cells import cell_len

_TEXT = re.compile(r'<text ([^>]*?)x="([\d.]+)"([^>]*?) textLength="([\d.]+)"([^>]*)>([^<]*)</text>')
# A font's own advance is a little off the cell's width: few letters stay in their cells, a whole line does not.
_PIECE = re.compile(r"[!-~]{1,8}|[^ \xa0!-~]")


def aligned(svg: str) -> str:
    """The same picture, each piece of its text where its cells are."""
    return _TEXT.sub(_apart, svg)


def _apart(found: re.Match[str]) -> str:
    before, x, between, length, after, content = found.groups()
    text = unescape(content)
    cells = cell_len(text)
    if not cells or not text.strip("\xa0 "):
        return ""
    width = float(length) / cells
    return "".join(
        f'<text {before}x="{float(x) + at * width:g}"{between} textLength="{cell_len(piece) * width:g}"{after}>'
        f"{escape(piece)}</text>"
        for at, piece in _pieces(text)
    )


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """(cell, piece): a few letters, or one other glyph; blanks are nothing but place."""
    at, done = 0, 0
    for found in _PIECE.finditer(text):
        at += cell_len(text[done : found.start()])
        yield at, found[0]
        at, done = at + cell_len(found[0]), found.end()
