"""Full charts as they are drawn: size, limits, legend, what each column says; in braille and in ASCII."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from console.charts.chart import Point, Series, Window
from console.charts.plot import draw, sheet
from console.charts.readings import Plot
from nodeagent.protocol import TrendLimit
from widgets.chartview import Picture
from widgets.look import Spans

WAVE: tuple[Point, ...] = tuple((10.0 * i, None if 200 <= i < 240 else 400.0 + i % 7) for i in range(360))
LIMIT = TrendLimit(figure="bundle.inferences_per_s", value=500.0, side="high", code="PRESS.FAST")


def plot_with(**changes: Any) -> Plot:
    plot = Plot("inferences", "1/s", (Series("bearing", WAVE),), (LIMIT,), Window(0.0, 3_600.0), 10.0)
    return replace(plot, **changes)


def drawn(plot: Plot, width: int = 78, height: int = 18, *, ascii: bool = False) -> Picture:  # noqa: A002
    picture = draw(plot, width, height, ascii=ascii)
    assert picture is not None
    return picture


def text(spans: Spans) -> str:
    return "".join(part for part, _ in spans)


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize(("width", "height"), [(24, 8), (78, 18), (138, 34)])
def test_a_chart_has_the_size_it_was_given_and_no_control_codes(width: int, height: int, ascii: bool) -> None:  # noqa: A002
    picture = drawn(plot_with(), width, height, ascii=ascii)
    lines = picture.plain()
    assert len(lines) == height - 1
    assert all(len(line) <= width for line in lines[picture.top - 1 :])
    assert "\x1b" not in "".join(lines)
    assert not ascii or "".join(lines).isascii()
    assert len(picture.readings) + picture.left <= width
    inside = {line[picture.left - 1] for line in lines[picture.top : picture.top + picture.rows]}
    assert inside <= set("│┤┼├|+")


def test_the_axes_have_titles_and_the_legend_names_series_and_limits() -> None:
    lines = drawn(plot_with()).plain()
    assert lines[0].startswith(" inferences, 1/s")
    assert "⠒⠒ bearing" in lines[0]
    assert "high 500 PRESS.FAST" in lines[0]
    assert "time of this console's clock" in lines[-1]


@pytest.mark.parametrize("ascii", [False, True])
def test_a_limit_is_a_line_with_its_value_and_stands_out(ascii: bool) -> None:  # noqa: A002
    picture = drawn(plot_with(), ascii=ascii)
    marked = [
        line for line in picture.lines[picture.top : picture.top + picture.rows] if "warn" in {r for _, r in line}
    ]
    assert len(marked) == 1
    assert " high 500 " in text(marked[0])
    assert text(marked[0]).count("-" if ascii else "─") > 50


def test_a_limit_that_is_far_off_is_named_and_does_not_press_the_figures_flat() -> None:
    far = plot_with(limits=(TrendLimit(figure="x", value=90_000.0, side="high", code="PRESS.FAST"),))
    lines = drawn(far).plain()
    assert "not in sight: high 90.0k PRESS.FAST" in lines[0]
    assert "500┤" in "\n".join(lines)


def test_the_columns_of_a_gap_are_empty_and_say_that_nothing_is_known() -> None:
    picture = drawn(plot_with(limits=()))
    lines = [text(line) for line in picture.lines[picture.top : picture.top + picture.rows]]
    gap = [i for i, reading in enumerate(picture.readings) if "? not known" in text(reading)]
    assert len(picture.readings) * 0.07 < len(gap) < len(picture.readings) * 0.15
    assert all(line[picture.left + i] in " ⠀" for line in lines for i in gap[1:-1])
    assert "bearing 40" in text(picture.readings[gap[0] - 2])


def test_a_column_says_its_lowest_and_highest_value_and_what_is_beyond_a_limit() -> None:
    picture = drawn(plot_with(limits=(replace_limit(404.0),)))
    assert "bearing 401 to 405 1/s beyond high 404" in text(picture.readings[10])
    assert ("401 to 405 1/s", "warn") in picture.readings[10]
    assert "beyond" not in text(drawn(plot_with()).readings[10])
    low = TrendLimit(figure="x", value=402.0, side="low", code="PRESS.SLOW")
    assert "beyond low 402" in text(drawn(plot_with(limits=(low,))).readings[10])


def replace_limit(value: float) -> TrendLimit:
    return TrendLimit(figure="x", value=value, side="high", code="PRESS.FAST")


def test_a_point_stands_for_its_step_and_no_longer() -> None:
    sparse = plot_with(series=(Series("bearing", ((0.0, 5.0), (600.0, 7.0))),), step_s=300.0, limits=())
    said = [text(reading) for reading in drawn(sparse).readings]
    known = [i for i, words in enumerate(said) if "not known" not in words]
    assert 2 * 300 / 3_600 * len(said) - 2 <= len(known) <= 2 * 300 / 3_600 * len(said) + 2


def test_without_a_cursor_the_newest_value_is_said() -> None:
    assert text(drawn(plot_with()).newest).endswith("bearing 402 1/s")


def test_several_series_are_told_apart_without_colour() -> None:
    others = tuple(
        Series(f"press-{i}", tuple((at, None if v is None else v * (0.7 - 0.25 * i)) for at, v in WAVE))
        for i in range(3)
    )
    for only_ascii, marks in ((False, "ox+"), (True, "*ox+")):
        picture = drawn(plot_with(series=(Series("bearing", WAVE), *others)), ascii=only_ascii)
        inside = "".join(text(line) for line in picture.lines[picture.top : picture.top + picture.rows])
        assert all(mark in inside for mark in marks)
        assert all(f"press-{i}" in text(picture.readings[10]) for i in range(3))


def test_without_points_or_room_there_is_no_chart() -> None:
    assert draw(plot_with(series=()), 78, 16) is None
    assert draw(plot_with(series=(Series("bearing", ((0.0, None),)),)), 78, 16) is None
    assert draw(plot_with(), 10, 3) is None


def test_two_threads_take_turns_with_the_one_figure() -> None:
    found: dict[str, Picture] = {}

    def one(title: str) -> None:
        for _ in range(5):
            found[title] = drawn(plot_with(title=title), 60, 12)

    threads = [threading.Thread(target=one, args=(f"title {i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len({tuple(picture.plain()[1:]) for picture in found.values()}) == 1


def test_a_chart_is_written_out_with_every_point_and_an_empty_cell_for_what_is_not_known() -> None:
    made = sheet(plot_with(), "press-07 inferences")
    assert made.columns == ("time", "series", "inferences, 1/s")
    assert len(made.rows) == len(WAVE)
    assert made.rows[210][2] == ""
    assert made.about["limits"] == "high 500 PRESS.FAST"
