"""What is said of a terminal, from its environment and its own answers."""

from __future__ import annotations

from typing import Any

import pytest

from console.terminal.check import Finding, look
from console.terminal.probe import Answers

GOOD = Answers(rtt_ms=3.0, whole_frames=True, glyph_cells=5, braille_cells=2)


def found(
    environ: dict[str, str], encoding: str = "utf-8", size: Any = (80, 24), answers: Any = GOOD
) -> dict[str, Finding]:
    return {each.name: each for each in look(environ, encoding, size, answers)}


def test_a_good_terminal_is_told_without_a_complaint() -> None:
    assert {each.grade for each in found({"TERM": "xterm-256color"}).values()} == {"good"}


@pytest.mark.parametrize(
    ("environ", "name", "advice"),
    [
        ({"TERM": "dumb"}, "TERM", "--plain"),
        ({}, "TERM", "TERM=xterm-256color"),
        ({"TERM": "xterm"}, "colours", "xterm-256color"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "colours", "NO_COLOR"),
        ({"TERM": "linux"}, "charts", "braille"),
        ({"TERM": "xterm-256color", "OUTSTATION_ASCII": "1"}, "glyphs", "OUTSTATION_ASCII"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/t,1,0"}, "inside", "set-clipboard"),
        ({"TERM": "screen", "STY": "1.pts"}, "inside", "clipboard"),
        ({"TERM": "screen-256color", "STY": "1.pts", "TMUX": "/tmp/t,1,0"}, "inside", "screen drops"),
        ({"TERM": "xterm-256color", "SSH_TTY": "/dev/pts/1"}, "over", "ssh -C"),
    ],
)
def test_each_finding_says_what_to_do(environ: dict[str, str], name: str, advice: str) -> None:
    assert advice in found(environ)[name].advice


def test_an_encoding_without_the_signs_is_told_with_the_locale_to_set() -> None:
    assert "LANG=C.UTF-8" in found({"TERM": "xterm-256color"}, "latin-1")["glyphs"].advice


def test_signs_that_take_two_columns_are_bad_and_ascii_is_advised() -> None:
    wide = found({"TERM": "xterm-256color"}, answers=Answers(3.0, False, 9, 2))["glyphs"]
    assert wide.grade == "bad"
    assert "OUTSTATION_ASCII=1" in wide.advice


@pytest.mark.parametrize(
    ("rtt_ms", "environ", "advice"),
    [(100.0, {}, "--link ssh"), (400.0, {}, "--link thin"), (400.0, {"SSH_TTY": "x"}, "--link thin"),
     (100.0, {"SSH_TTY": "x"}, "")],
)  # fmt: skip
def test_a_far_terminal_is_advised_to_look_less_often(rtt_ms: float, environ: dict[str, str], advice: str) -> None:
    said = found({"TERM": "xterm-256color", **environ}, answers=Answers(rtt_ms, True, 5, 2))["round trip"].advice
    assert advice in said
    assert bool(advice) == bool(said)


def test_a_small_terminal_is_not_refused() -> None:
    assert found({"TERM": "xterm"}, size=(60, 20))["size"].grade == "less"
    assert found({"TERM": "xterm"}, size=None, answers=None)["size"].grade == "bad"
