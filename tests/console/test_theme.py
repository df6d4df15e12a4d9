"""Which terminal this is, and which look it gets."""

from __future__ import annotations

import pytest

from console.seat.theme import default_name, look_for, textual_theme
from console.terminal.terminal import TerminalRefused, detect, environment
from widgets.look import LOOKS


@pytest.mark.parametrize(
    ("environ", "look"),
    [
        ({"TERM": "xterm-256color"}, "grey"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "grey"),
        ({"TERM": "screen-256color"}, "grey"),
        ({"TERM": "linux"}, "sixteen"),
        ({"TERM": "linux", "COLORTERM": "truecolor"}, "sixteen"),
        ({"TERM": "screen"}, "sixteen"),
        ({"TERM": "vt220"}, "sixteen"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "mono"),
        ({"TERM": "linux", "NO_COLOR": "1"}, "mono"),
    ],
)
def test_the_look_follows_the_terminal(environ: dict[str, str], look: str) -> None:
    terminal = detect(environ, "utf-8")
    assert default_name(terminal) == look
    assert look_for(look, terminal).name == look


@pytest.mark.parametrize("term", ["", "dumb", "unknown"])
def test_no_terminal_is_refused_with_what_to_use_instead(term: str) -> None:
    with pytest.raises(TerminalRefused, match="outstation status"):
        detect({"TERM": term}, "utf-8")


def test_a_terminal_without_colours_cannot_be_given_any() -> None:
    assert look_for("grey", detect({"TERM": "xterm-256color", "NO_COLOR": "1"}, "utf-8")).name == "mono"
    for name in ("grey", "daylight", "contrast", "colourblind"):
        assert look_for(name, detect({"TERM": "linux"}, "utf-8")).name == "sixteen"
    assert look_for("mono", detect({"TERM": "xterm-256color"}, "utf-8")).name == "mono"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "ANSI_X3.4-1968"])
def test_an_encoding_without_the_glyphs_gets_ascii(encoding: str) -> None:
    terminal = detect({"TERM": "xterm-256color"}, encoding)
    assert terminal.ascii
    assert not terminal.braille


def test_ascii_can_be_asked_for() -> None:
    assert detect({"TERM": "xterm-256color", "OUTSTATION_ASCII": "1"}, "utf-8").ascii
    assert detect({"TERM": "xterm-256color"}, "utf-8", ascii=True).ascii
    assert not detect({"TERM": "xterm-256color", "OUTSTATION_ASCII": "0"}, "utf-8").ascii


def test_over_ssh_the_slower_profile_is_chosen_and_can_be_set() -> None:
    far = {"TERM": "xterm-256color", "SSH_TTY": "/dev/pts/1"}
    assert detect(far, "utf-8").link.name == "ssh"
    assert not detect(far, "utf-8").link.mouse
    assert detect(far, "utf-8", link="lan").link.name == "lan"
    assert detect({"TERM": "xterm-256color"}, "utf-8", link="thin").link.period_s == 5.0


def test_nothing_moves_by_itself() -> None:
    wanted = environment(detect({"TERM": "xterm-256color"}, "utf-8"))
    assert wanted["TEXTUAL_ANIMATIONS"] == "none"


@pytest.mark.parametrize("name", LOOKS)
def test_every_look_is_a_theme(name: str) -> None:
    look = LOOKS[name]()
    assert textual_theme(look).ansi == (look.base.color is None)
