"""Nothing that a node sends can drive the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.client.clean import clean, clean_all, is_plain
from nodeagent.protocol import LogLine

HOSTILE = {
    "raw \x1b[31mred\x1b[0m end": "raw red end",
    "clear \x1b[2J\x1b[H gone": "clear  gone",
    "osc \x1b]0;pwned title\x07 done": "osc  done",
    "osc52 \x1b]52;c;cHduZWQ=\x07 done": "osc52  done",
    "dcs \x1bPq#0;2;0;0;0\x1b\\ done": "dcs  done",
    "c1 \x9b31m and \x9d0;t\x9c": "c1 \ufffd31m and \ufffd0;t\ufffd",
    "cr abc\rXYZ bs ab\b\bzz": "cr abc␍XYZ bs ab␈␈zz",
    "bidi \u202ereversed\u202c zw\u200b": "bidi \ufffdreversed\ufffd zw\ufffd",
    "tab\tx nul\x00 bel\x07 del\x7f": "tab    x nul␀ bel␇ del␡",
    "two\nlines": "two␊lines",
    "lone \ud800 surrogate": "lone \ufffd surrogate",
    "sep \u2028 nel \x85": "sep \ufffd nel \ufffd",
    "no-break\xa0space": "no-break space",
    "heart \u2764\ufe0f": "heart \u2764",
}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_string_becomes_one_harmless_line(text: str) -> None:
    assert clean(text) == HOSTILE[text]


def test_markup_stays_as_it_was_written() -> None:
    assert clean("[red]x[/nope] [@click=app.quit]") == "[red]x[/nope] [@click=app.quit]"


def test_words_of_any_language_stay() -> None:
    assert clean("Größe 日本語 Ström ж") == "Größe 日本語 Ström ж"


def test_a_tower_of_combining_marks_is_cut_to_two() -> None:
    assert clean("a" + "\u0301" * 50 + "b") == "a\u0301\u0301b"


def test_a_long_line_is_cut_before_anything_else_looks_at_it() -> None:
    assert clean("\x1b[" + "0" * 1_000_000, limit=10) == "00000000…"


@given(st.text(alphabet=st.characters(), max_size=300))
def test_i18_whatever_comes_in_is_printable_when_it_goes_out(text: str) -> None:
    out = clean(text)
    assert out.isprintable()
    assert clean(out) == out


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_harmless_once_cleaned(raw: bytes) -> None:
    assert clean(raw.decode("utf-8", "surrogateescape")).isprintable()


def test_a_struct_is_cleaned_to_any_depth_and_shared_when_it_was_clean() -> None:
    line = LogLine(cursor=1, boottime_us=2, wall_us=3, level="info", source="a\x1b[2Jb", text="ok")
    assert clean_all([{"k\x07": (line,)}]) == [
        {"k␇": (LogLine(cursor=1, boottime_us=2, wall_us=3, level="info", source="ab", text="ok"),)}
    ]
    clean_line = LogLine(cursor=1, boottime_us=2, wall_us=3, level="info", source="a", text="ok")
    assert clean_all(clean_line) is clean_line


def test_plain_json_is_told_from_json_that_may_hide_something() -> None:
    assert is_plain(b'{"text":"all fine"}')
    assert not is_plain(b'{"text":"\\u001b[2J"}')
    assert not is_plain('{"text":"\u202e"}'.encode())
    assert not is_plain(b'{"text":"\x7f"}')
