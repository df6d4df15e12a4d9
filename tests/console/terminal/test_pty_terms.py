"""Each kind of terminal gets what it has: colours, glyphs, or neither; and a terminal that is none is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]

SGR = re.compile(rb"\x1b\[([0-9;]*)m")


def _codes(raw: bytes) -> set[str]:
    return {code for match in SGR.finditer(raw) for code in match.group(1).decode().split(";")}


def _shown(start: Start, environ: dict[str, str | None], *options: str) -> Any:
    with start(*options, environ=environ) as rig:
        rig.until_text("? help")
        rig.until_quiet()
        rig.press("\r")
        rig.until_text("Overview")
        rig.until_quiet()
        return rig


@pytest.mark.parametrize("term", ["linux", "xterm", "screen-256color", "xterm-256color"])
def test_the_words_and_signs_are_there_on_every_terminal(sample_app: Start, term: str) -> None:
    with sample_app(environ={"TERM": term}) as rig:
        rig.until_text("? help")
        rig.until_quiet()
        text = rig.text()
    for word in (
        "■ALRM press-07",
        "▲WARN pump-04",
        "?UNKN cast-05",
        "unknown since 10:41",
        "MMNT  mill-12",
        "trial 3:12",
    ):
        assert word in text


@pytest.mark.parametrize("term", ["linux", "xterm"])
def test_sixteen_colours_are_never_bright_ones(sample_app: Start, term: str) -> None:
    codes = _codes(bytes(_shown(sample_app, {"TERM": term}).raw))
    assert "31" in codes
    assert not {c for c in codes if c.isdigit() and (90 <= int(c) <= 97 or 100 <= int(c) <= 107 or c in ("38", "48"))}


def test_no_color_sends_no_colour_and_an_alarm_is_still_bold_and_reversed(sample_app: Start) -> None:
    rig = _shown(sample_app, {"NO_COLOR": "1"})
    codes = _codes(bytes(rig.raw))
    assert codes <= {"", "0", "1", "4", "7"}
    assert b"\x1b[0;1;7m" in rig.raw


def test_an_ascii_locale_gets_ascii_only(sample_app: Start) -> None:
    ascii_locale = {
        "LANG": "C",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    rig = _shown(sample_app, dict(ascii_locale))
    assert bytes(rig.raw).isascii()
    assert b"\\u" not in rig.raw
    assert "XALRM press-07" in rig.text()


def test_a_linux_console_is_not_given_braille(sample_app: Start) -> None:
    raw = bytes(_shown(sample_app, {"TERM": "linux"}).raw).decode()
    assert not any("\u2800" <= char <= "\u28ff" for char in raw)


def test_a_dumb_terminal_is_refused_with_what_to_use_instead(sample_app: Start) -> None:
    with sample_app(environ={"TERM": "dumb"}) as rig:
        assert rig.wait() == 2
    assert b"outstation status" in rig.raw
    assert b"\x1b[" not in rig.raw


def test_over_ssh_the_mouse_is_left_alone_and_colours_are_short(sample_app: Start) -> None:
    rig = _shown(sample_app, {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22", "COLORTERM": "truecolor"})
    assert b"\x1b[?1003h" not in rig.raw
    assert b"38;2;" not in rig.raw
