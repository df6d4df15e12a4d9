"""The terminal's own cursor stands on what is selected: screen readers and braille lines follow it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Start = Callable[..., Any]


def _line(rig: Any) -> str:
    """The line that the cursor is on, while it is shown."""
    return "" if rig.screen.cursor.hidden else str(rig.screen.display[rig.screen.cursor.y])


def test_the_cursor_follows_the_selection_the_wall_and_what_is_typed(sample_app: Start) -> None:
    with sample_app() as rig:
        rig.until(lambda: "press-07" in _line(rig), "the cursor on the worst node")
        rig.press("j")
        rig.until(lambda: "pump-04" in _line(rig), "the cursor on the next node")
        rig.press("/")
        rig.until(lambda: "pump-04" not in _line(rig), "the field to type in")
        rig.press("site")
        rig.until(lambda: "site" in _line(rig) and rig.screen.cursor.x >= 4, "the cursor behind what was typed")
        rig.press("\x1b")
        rig.until(lambda: "WARN" in _line(rig) or "ALRM" in _line(rig), "the cursor on a node again")
        rig.press("w")
        rig.until(lambda: rig.screen.cursor.x > 10 and not rig.screen.cursor.hidden, "the cursor on a cell of the wall")
        assert rig.screen.display[rig.screen.cursor.y][rig.screen.cursor.x] in "■▲"


def test_where_nothing_is_selected_the_cursor_is_hidden_and_after_ctrl_l_it_is_where_it_was(sample_app: Start) -> None:
    with sample_app() as rig:
        rig.until(lambda: "press-07" in _line(rig), "the cursor on the worst node")
        at = (rig.screen.cursor.x, rig.screen.cursor.y)
        rig.press("?")
        rig.until(lambda: rig.screen.cursor.hidden, "the cursor to be hidden over the help")
        rig.press("\x1b")
        rig.until(lambda: "press-07" in _line(rig), "the cursor back")
        rig.screen.reset()
        rig.press("\x0c")
        rig.until(lambda: (rig.screen.cursor.x, rig.screen.cursor.y) == at, "the cursor where it was")
