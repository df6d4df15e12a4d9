"""What a terminal can do and what to do about what it cannot: one finding a thing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from console.seat.theme import default_name
from console.terminal.probe import BRAILLE, GLYPHS, Answers
from console.terminal.terminal import TerminalRefused, detect

Grade = Literal["good", "less", "bad"]
FAR_MS: Final = 80.0
VERY_FAR_MS: Final = 300.0
COLUMNS_MIN: Final = 80
LINES_MIN: Final = 24


@dataclass(frozen=True, slots=True)
class Finding:
    """`less`: works, with something missing; `bad`: hardly to be used so. `advice` is empty where there is none."""

    name: str
    grade: Grade
    value: str
    advice: str = ""


def look(
    environ: Mapping[str, str], encoding: str, size: tuple[int, int] | None, answers: Answers | None
) -> list[Finding]:
    """Everything about a terminal. `size` is (columns, lines), None without one; `answers` what it said itself."""
    found = [_kind(environ), _size(size)]
    try:
        terminal = detect(environ, encoding)
    except TerminalRefused:
        return [*found, _where(environ)]
    colours = {"mono": "none", "sixteen": "the terminal's own sixteen", "many": "256 or more"}[terminal.colours]
    advice = ""
    if "NO_COLOR" in environ:
        advice = "NO_COLOR is set: unset it for colours; states are told by sign, word and weight either way"
    elif terminal.colours == "sixteen" and environ.get("TERM") != "linux":
        advice = "if the terminal has more, set TERM=xterm-256color (in tmux: set -g default-terminal tmux-256color)"
    found.append(Finding("colours", "less" if advice else "good", f"{colours}, theme {default_name(terminal)}", advice))
    found.append(_glyphs(terminal.ascii, encoding, environ, answers))
    found.append(_braille(terminal.braille, terminal.ascii, answers))
    found += [_inside(environ), _where(environ), _round_trip(terminal.link.name, answers), _whole(answers)]
    return found


def _kind(environ: Mapping[str, str]) -> Finding:
    term = environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        return Finding(
            "TERM", "bad", term or "not set", "only `outstation --plain` works here; set TERM=xterm-256color"
        )
    return Finding("TERM", "good", term)


def _size(size: tuple[int, int] | None) -> Finding:
    if size is None:
        return Finding("size", "bad", "no terminal", "run it in a terminal; over SSH with `ssh -t`")
    columns, lines = size
    shown = f"{columns} x {lines}"
    if columns < COLUMNS_MIN or lines < LINES_MIN:
        return Finding(
            "size", "less", shown, f"columns are left out below {COLUMNS_MIN} x {LINES_MIN}: a smaller font helps"
        )
    return Finding("size", "good", shown)


def _glyphs(only_ascii: bool, encoding: str, environ: Mapping[str, str], answers: Answers | None) -> Finding:
    if only_ascii:
        if environ.get("OUTSTATION_ASCII", "0") not in ("", "0"):
            return Finding("glyphs", "less", "ASCII", "OUTSTATION_ASCII is set: unset it for the signs")
        return Finding(
            "glyphs", "less", f"ASCII, for the locale writes {encoding}", "set LANG=C.UTF-8, if the font has them"
        )
    cells = answers.glyph_cells if answers is not None else None
    if cells is not None and cells != len(GLYPHS):
        why = f"{GLYPHS} takes {cells} columns instead of {len(GLYPHS)}"
        return Finding(
            "glyphs", "bad", why, "set OUTSTATION_ASCII=1, or tell the terminal: UTF-8, ambiguous width narrow"
        )
    return Finding(
        "glyphs", "good", f"{GLYPHS}, one column each" if cells is not None else f"{GLYPHS}, as the locale says"
    )


def _braille(braille: bool, only_ascii: bool, answers: Answers | None) -> Finding:
    if not braille:
        advice = "" if only_ascii else "this console has no font with braille: charts are drawn coarser"
        return Finding("charts", "less", "ASCII" if only_ascii else "without braille", advice)
    cells = answers.braille_cells if answers is not None else None
    if cells is not None and cells != len(BRAILLE):
        return Finding("charts", "bad", f"{BRAILLE} takes {cells} columns", "set OUTSTATION_ASCII=1")
    return Finding("charts", "good", f"braille {BRAILLE}: take another font if these are boxes")


def _inside(environ: Mapping[str, str]) -> Finding:
    if "TMUX" in environ and "STY" in environ:
        return Finding(
            "inside", "less", "tmux and screen", "screen drops what `y` copies to the clipboard: the file has it"
        )
    if "TMUX" in environ:
        return Finding("inside", "good", "tmux", "for `y` to reach your clipboard too: tmux set -g set-clipboard on")
    if "STY" in environ:
        return Finding("inside", "less", "screen", "screen drops what `y` copies to the clipboard: the file has it")
    return Finding("inside", "good", "no multiplexer", "in tmux the console outlives a lost line")


def _where(environ: Mapping[str, str]) -> Finding:
    if any(name in environ for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")):
        return Finding("over", "good", "SSH: looks every 2 s, without a mouse", "`ssh -C` halves the bytes again")
    return Finding("over", "good", "this machine")


def _round_trip(link: str, answers: Answers | None) -> Finding:
    rtt_ms = answers.rtt_ms if answers is not None else None
    if rtt_ms is None:
        return Finding("round trip", "less", "not known: the terminal does not say where its cursor is")
    shown = f"{rtt_ms:.1f} ms, link {link}"
    if rtt_ms >= VERY_FAR_MS and link != "thin":
        return Finding("round trip", "less", shown, "start with --link thin: one look every 5 s")
    if rtt_ms >= FAR_MS and link == "lan":
        return Finding("round trip", "less", shown, "start with --link ssh: one look every 2 s, no mouse")
    return Finding("round trip", "good", shown)


def _whole(answers: Answers | None) -> Finding:
    if answers is not None and answers.whole_frames:
        return Finding("frames", "good", "drawn as a whole (synchronized output)")
    return Finding("frames", "good", "drawn as they come: the terminal has no synchronized output")
