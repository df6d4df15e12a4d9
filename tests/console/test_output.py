"""The thin screen and the last-hop filter, without a terminal."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from console.terminal.output import ThinScreen, filter_bytes

RED, PLAIN = Style(color="red", bold=True), Style()
WIDTH, HEIGHT = 20, 4


def update(lines: list[list[tuple[str, Style]]], x: int = 0, y: int = 0) -> LayoutUpdate:
    strips = [[Strip([Segment(text, style) for text, style in line])] for line in lines]
    return LayoutUpdate(strips, Region(x, y, WIDTH, len(lines)))


def screen(*, ascii: bool = False) -> ThinScreen:  # noqa: A002
    thin = ThinScreen(ColorSystem.STANDARD, ascii=ascii)
    thin.resize(WIDTH, HEIGHT)
    return thin


def test_only_the_changed_cells_are_sent() -> None:
    thin = screen()
    thin.apply(update([[("inf/s 412", PLAIN)]]))
    thin.emit()
    thin.apply(update([[("inf/s 413", PLAIN)]]))
    assert thin.emit() == "\x1b[1;9H3"


def test_the_same_frame_again_is_nothing() -> None:
    thin = screen()
    thin.apply(update([[("same", RED)]]))
    thin.emit()
    thin.apply(update([[("same", RED)]]))
    assert not thin.pending
    assert thin.emit() == ""


def test_frames_that_were_never_sent_leave_no_trace() -> None:
    thin = screen()
    thin.emit()
    for value in range(50):
        thin.apply(update([[(f"value {value:02}", PLAIN)]]))
    assert thin.emit() == "\x1b[1;1Hvalue 49"


def test_after_forgetting_everything_is_sent_again() -> None:
    thin = screen()
    thin.apply(update([[("x", RED)]]))
    first = thin.emit()
    thin.forget()
    assert thin.emit() == first


def test_a_wide_character_is_never_split() -> None:
    thin = screen()
    thin.apply(update([[("日本", PLAIN)]]))
    thin.emit()
    thin.apply(update([[("日木", PLAIN)]]))
    assert thin.emit() == "\x1b[1;3H木"


def test_control_characters_in_a_cell_become_visible() -> None:
    thin = screen()
    thin.apply(update([[("a\x1b[2Jb\x07\x9b\u202e\n", PLAIN)]]))
    assert thin.emit().count("\ufffd") == 5


def test_an_ascii_terminal_gets_ascii() -> None:
    thin = screen(ascii=True)
    thin.apply(update([[("■ 3 °C — … 日", PLAIN)]]))
    sent = thin.emit()
    assert sent.isascii()
    assert "X 3 'C - ~ ??" in sent


def test_links_are_not_sent() -> None:
    thin = screen()
    thin.apply(update([[("here", Style(link="https://evil"))]]))
    assert "\x1b]8" not in thin.emit()


CELL = st.sampled_from("ab01 ·■日")
LINE = st.lists(st.tuples(st.text(CELL, max_size=6), st.sampled_from([RED, PLAIN])), max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(LINE, max_size=HEIGHT), max_size=6))
def test_a_terminal_fed_with_differences_shows_the_newest_frame(frames: list[list[list[tuple[str, Style]]]]) -> None:
    """Against pyte: the picture made of differences is the picture drawn at once."""
    thin, whole = screen(), screen()
    shown, drawn = (pyte.Screen(WIDTH, HEIGHT) for _ in range(2))
    stream, other = pyte.Stream(shown), pyte.Stream(drawn)
    stream.feed(thin.emit())
    for lines in frames:
        padded = [[*line, (" " * WIDTH, PLAIN)] for line in lines]
        for target in (thin, whole):
            target.apply(update(padded, 0, 0))
        stream.feed(thin.emit())
    other.feed(whole.emit())
    assert shown.display == drawn.display
    assert shown.buffer == drawn.buffer


@given(st.text(max_size=200))
def test_i18_whatever_is_written_only_our_own_sequences_leave(text: str) -> None:
    out = filter_bytes("\x1b[0;1m" + text + "\x1b[3;4H")
    rest = out.removeprefix("\x1b[0;1m").removesuffix("\x1b[3;4H")
    assert all(c.isprintable() or c == "\n" for c in rest.replace("\x1b[", ""))


@pytest.mark.parametrize(
    "data",
    ["\x1b[2J", "\x1b]0;t\x07", "\x1b]52;c;eA==\x07", "\x9b31m", "\x1bP1q\x1b\\", "\x1b[?5h", "\x1bc", "\r", "\b"],
)
def test_sequences_that_are_not_ours_lose_their_escape(data: str) -> None:
    out = filter_bytes(data)
    assert not set("\x1b\x9b\x07\r\b") & set(out)


@pytest.mark.parametrize("data", ["\x1b[?1049h", "\x1b[?25l", "\x1b[0;38;5;251m", "\x1b[12;40H", "\x1b[5C", "\x1b[<u"])
def test_our_own_sequences_pass(data: str) -> None:
    assert filter_bytes(data) == data
