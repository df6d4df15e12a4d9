"""Asks the terminal itself: how far it is away, whether it takes a frame as a whole, how wide it draws our glyphs.

Only two questions, both answered by what is in use and left out by what is not: the cursor's place (CPR, ECMA-48) and
whether a mode is known (DECRQM). Others make some terminals type their answer as keys.
"""

from __future__ import annotations

import os
import re
import select
import termios
import time
import tty
from dataclasses import dataclass
from typing import Final

GLYPHS: Final = "■▲·─░"
BRAILLE: Final = "⣿⡇"
ANSWER_S: Final = 2.0
ROUNDS: Final = 3
ANSWER_BYTES_MAX: Final = 4_096
_PLACE: Final = re.compile(rb"\x1b\[(\d{1,5});(\d{1,5})R")
_MODE: Final = re.compile(rb"\x1b\[\?2026;(\d)\$y")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a terminal said; None: nothing. Cells are how many columns GLYPHS and BRAILLE took."""

    rtt_ms: float | None = None
    whole_frames: bool | None = None
    glyph_cells: int | None = None
    braille_cells: int | None = None


def ask(terminal: int) -> Answers:
    """Asks through an open terminal, which is left as it was found. Takes a few round trips, at most 2 s each.

    What is typed meanwhile is thrown away. Raises OSError, termios.error.
    """
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        times = []
        for _ in range(ROUNDS):
            started_s = time.monotonic()
            if _place(terminal, b"") is None:
                return Answers()
            times.append(time.monotonic() - started_s)
        glyphs, braille = (_width(terminal, text) for text in (GLYPHS, BRAILLE))
        whole = _whole_frames(terminal)
        return Answers(1_000 * sorted(times)[len(times) // 2], whole, glyphs, braille)
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


def _width(terminal: int, text: str) -> int | None:
    """How many columns the terminal moves on for a text; the line is wiped again."""
    place = _place(terminal, b"\r" + text.encode())
    os.write(terminal, b"\r\x1b[K")
    return None if place is None else place - 1


def _place(terminal: int, first: bytes) -> int | None:
    """The cursor's column after `first`; None where there is no answer."""
    os.write(terminal, first + b"\x1b[6n")
    found = _read(terminal, _PLACE)
    return None if found is None else int(found[2])


def _whole_frames(terminal: int) -> bool | None:
    """Whether synchronized output is known. A second question ends the wait where the first is not answered."""
    os.write(terminal, b"\x1b[?2026$p\x1b[6n")
    seen = bytearray()
    if _read(terminal, _PLACE, seen) is None:
        return None
    os.write(terminal, b"\r\x1b[K")  # Some terminals print what they do not know.
    mode = _MODE.search(seen)
    return mode is not None and mode[1] in (b"1", b"2")


def _read(terminal: int, wanted: re.Pattern[bytes], seen: bytearray | None = None) -> re.Match[bytes] | None:
    """The answer, among whatever else comes."""
    data = bytearray() if seen is None else seen
    end_s = time.monotonic() + ANSWER_S
    while (left_s := end_s - time.monotonic()) > 0 and len(data) < ANSWER_BYTES_MAX:
        if not select.select([terminal], [], [], left_s)[0]:
            return None
        more = os.read(terminal, 1_024)
        if not more:
            return None
        data += more
        if (found := wanted.search(data)) is not None:
            return found
    return None
