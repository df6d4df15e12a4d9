"""The five states of a node as glyph, word and weight; and a trial, in the place of OK while one runs."""

from __future__ import annotations

from typing import NamedTuple

from widgets.look import Look, Role, Span

STATE_CELLS = 5


class State(NamedTuple):
    """How one state is written."""

    glyph: str
    glyph_ascii: str
    word: str
    role: Role


# In the order of urgency.
ALARM = State("■", "X", "ALRM", "alarm")
WARN = State("▲", "!", "WARN", "warn")
UNKNOWN = State("?", "?", "UNKN", "unknown")
MAINTENANCE = State("M", "M", "MNT", "maintenance")
OK = State("·", ".", "OK", "ok")
# Well, but not for good: `TRIAL`.
TRIAL = State("T", "T", "RIAL", "strong")
STATES = (ALARM, WARN, UNKNOWN, MAINTENANCE, OK)


def glyph(state: State, look: Look) -> str:
    """The one-cell sign of a state."""
    return state.glyph_ascii if look.ascii else state.glyph


def word(state: State, look: Look) -> Span:
    """The state in five cells: `■ALRM`."""
    return (f"{glyph(state, look)}{state.word}".ljust(STATE_CELLS), state.role)


def count(state: State, number: int, look: Look, *, short: bool = False) -> tuple[Span, ...]:
    """How many nodes are in a state: `■1 ALRM`, short `■1`. Nothing abnormal, nothing loud."""
    text = f"{glyph(state, look)}{number}" + ("" if short else f" {state.word}")
    return ((text, state.role if number else "dim"),)
