"""What each drawing does with its values, without a terminal."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from widgets.__main__ import Gallery
from widgets.cells import cut, pad, strip, width_of, wrap
from widgets.look import LOOKS, grey, mono, sixteen
from widgets.status import ALARM, STATES, word
from widgets.table import Column, fold
from widgets.trend import chart, meter, spark

COLUMNS = (Column("a", "A", 10), Column("b", "B", 10, fold=2), Column("c", "C", 10, fold=1, flex=1))
TEXT = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Mn", "Me", "Zl", "Zp")), max_size=60
)


def test_every_state_is_five_cells_of_glyph_and_word() -> None:
    assert [word(state, grey())[0] for state in STATES] == ["■ALRM", "▲WARN", "?UNKN", "MMNT ", "·OK  "]
    assert [word(state, grey(ascii=True))[0] for state in STATES] == ["XALRM", "!WARN", "?UNKN", "MMNT ", ".OK  "]


@pytest.mark.parametrize("name", LOOKS)
def test_an_alarm_is_bold_and_reversed_in_every_look(name: str) -> None:
    look = LOOKS[name]()
    assert look.alarm.bold
    assert look.alarm.reverse
    assert not look.ok.bold
    assert not look.ok.reverse


@pytest.mark.parametrize("look", [sixteen(), mono()])
def test_on_a_reversed_row_an_alarm_stands_out_by_not_being_reversed(look: object) -> None:
    assert isinstance(look, type(mono()))
    assert look.on(look.selected, "alarm").reverse is False
    assert look.on(look.selected, "ok").reverse


def test_columns_leave_in_their_order_and_the_first_never() -> None:
    assert [c.name for c, _ in fold(COLUMNS, 40)] == ["a", "b", "c"]
    assert [c.name for c, _ in fold(COLUMNS, 25)] == ["a", "c"]
    assert [c.name for c, _ in fold(COLUMNS, 15)] == ["a"]
    assert sum(width + 1 for _, width in fold(COLUMNS, 50)) - 1 == 50


def test_text_is_cut_between_words() -> None:
    assert cut("plc silent for 40 s", 12) == "plc silent …"
    assert cut("  plc silent for 40 s", 14) == "  plc silent …"


@given(TEXT, st.integers(1, 40))
def test_padded_text_has_exactly_its_width(text: str, cells: int) -> None:
    assert width_of(pad(text, cells)) == cells
    assert width_of(pad(text, cells, right=True)) == cells
    assert width_of(cut(text, cells)) <= cells
    assert strip(((text, "base"),), cells, grey()).cell_length == cells


@given(TEXT, st.integers(4, 40))
def test_wrapped_text_fits_and_loses_no_word(text: str, cells: int) -> None:
    lines = wrap(text, cells)
    assert all(width_of(line) <= cells for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_gap_in_a_trend_stays_a_gap() -> None:
    values = [1.0] * 20 + [None] * 20 + [1.0] * 20
    for look in (grey(), grey(ascii=True)):
        line = spark(values, 30 if look.braille else 60, look)
        middle = line[len(line) // 3 + 1 : 2 * len(line) // 3 - 1]
        assert middle.strip() == ""
        assert line[0] != " "
        assert line[-1] != " "


def test_a_chart_keeps_the_highest_point_of_each_column() -> None:
    values = [0.0] * 500 + [100.0] + [0.0] * 499
    top = chart(values, 40, 4, grey())[0]
    assert top.strip() != ""


def test_a_level_that_is_not_known_is_not_drawn_as_empty() -> None:
    assert "?" in meter(None, 10, grey())
    assert meter(0.0, 4, grey(ascii=True)) == "...."
    assert meter(1.0, 4, grey(ascii=True)) == "####"


def test_markup_in_values_is_drawn_as_it_is_written() -> None:
    assert strip((("[red]x[/nope] [@click=app.quit]y[/]", "base"),), 40, grey()).text.startswith(
        "[red]x[/nope] [@click"
    )


@pytest.mark.parametrize("name", LOOKS)
def test_the_gallery_draws_everything_in_every_look(name: str) -> None:
    async def shown() -> str:
        app = Gallery(LOOKS[name]())
        async with app.run_test(size=(80, 36)) as pilot:
            await pilot.pause()
            return "\n".join(line.text for line in app.screen._compositor.render_strips())

    text = asyncio.run(shown())
    for part in ("■ALRM", "OPERATE 15m", "unknown", "a line of level error", "until the next key", "no figures yet"):
        assert part in text
    assert ALARM.word in text
