"""In a picture every glyph stands in its cell."""

from __future__ import annotations

import re
from html import unescape

import pytest

from widgets.picture import aligned

LINE = '<text class="r1" x="{x}" y="20" textLength="{length}" clip-path="url(#l)">{text}</text>'


def places(svg: str) -> list[tuple[float, str]]:
    """(column, text) of every piece; a cell is 10 wide."""
    found = re.findall(
        r'<text class="r1" x="([\d.]+)" y="20" textLength="[\d.]+" clip-path="url\(#l\)">([^<]*)</text>', svg
    )
    return [(float(x) / 10, unescape(text)) for x, text in found]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("&#160;&#160;ab&#160;&#160;cd", [(4, "ab"), (8, "cd")]),
        ("⠤⠤&#160;x", [(2, "⠤"), (3, "⠤"), (5, "x")]),
        ("日本|", [(2, "日"), (4, "本"), (6, "|")]),
        ("a&lt;b&amp;c", [(2, "a<b&c")]),
        ("------------", [(2, "--------"), (10, "----")]),
        ("&#160;&#160;", []),
    ],
)
def test_a_piece_stands_where_its_cells_are(text: str, pieces: list[tuple[int, str]]) -> None:
    cells = sum(2 if c in "日本" else 1 for c in unescape(text))
    assert places(aligned(LINE.format(x=20, length=10 * cells, text=text))) == pieces


def test_what_is_no_line_of_the_screen_stays() -> None:
    svg = '<svg><text class="title" text-anchor="middle" x="5" y="27">outstation</text><rect x="1"/></svg>'
    assert aligned(svg) == svg
