"""What a chart is made of: points thinned to what a column can show, gaps kept, limits, round times on the x axis."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.charts import chart as charts
from console.charts.chart import FIGURES, RATE, ZOOMS, Window, limits_of, points_of, series_of, thinned, ticks, within
from nodeagent.protocol import Trend, TrendLimit, TrendPoint

T0 = 1_773_324_000.0  # 12 Mar 2026 14:00 UTC


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """Times of day are those of one place."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def point(second: int, value: float | None) -> TrendPoint:
    return TrendPoint(second * 1_000_000, value, None, None, None, None)


def test_there_are_at_most_two_points_a_column() -> None:
    points = [(float(i), float(i % 17)) for i in range(10_000)]
    assert sum(len(stretch) for stretch in thinned(points, Window(0.0, 10_000.0), 70)) <= 2 * 71


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 80))
def test_thinning_keeps_the_highest_and_the_lowest(values: list[float], columns: int) -> None:
    points = [(float(i), v) for i, v in enumerate(values)]
    kept = [y for stretch in thinned(points, Window(0.0, float(len(values))), columns) for _, y in stretch]
    assert (min(kept), max(kept)) == (min(values), max(values))


def test_a_gap_parts_the_line() -> None:
    points: list[charts.Point] = [(0.0, 1.0), (1.0, 1.0), (2.0, None), (3.0, None), (4.0, 2.0)]
    assert [len(stretch) for stretch in thinned(points, Window(0.0, 5.0), 5)] == [2, 1]


def test_a_hole_in_time_is_a_gap() -> None:
    trend = Trend(bundle="bearing", step_s=10.0, points=[point(0, 1.0), point(10, 1.0), point(90, 1.0)])
    assert (20.0, None) in points_of(trend, RATE)


def test_points_are_in_order_of_time_on_this_consoles_clock_even_after_the_nodes_clock_was_set_back() -> None:
    trend = Trend(bundle="bearing", step_s=10.0, points=[point(30, 3.0), point(10, 1.0), point(20, 2.0)])
    assert points_of(trend, RATE, offset_s=5.0) == [(5.0, 1.0), (15.0, 2.0), (25.0, 3.0)]


def test_only_what_lies_in_the_window_is_shown() -> None:
    points = [(float(i), 1.0) for i in range(10)]
    assert [at for at, _ in within(points, Window(3.0, 5.0))] == [3.0, 4.0, 5.0]


@pytest.mark.parametrize(("name", "span_s"), ZOOMS)
@pytest.mark.parametrize("columns", [24, 72, 132])
@pytest.mark.parametrize("ahead_s", [0.0, 1.0, 2_999.0])
def test_no_two_ticks_of_the_x_axis_read_the_same(name: str, span_s: float, columns: int, ahead_s: float) -> None:
    last_s = T0 + ahead_s
    found = ticks(Window(last_s - span_s, last_s), columns)
    words = [text for _, text in found]
    assert len(set(words)) == len(words) >= (1 if columns < 72 else 3)
    assert all(last_s - span_s < at <= last_s for at, _ in found)
    assert all(len(text) == 8 for text in words) == (span_s < 600)


def test_ticks_are_round_times() -> None:
    assert [text for _, text in ticks(Window(T0 - 3_600, T0 + 10), 72)][:2] == ["13:10", "13:20"]
    assert ticks(Window(T0 - 60, T0 + 5), 72)[0][1] == "13:59:15"
    assert "8 Mar" in [text for _, text in ticks(Window(T0 - 604_800, T0), 72)]


def test_a_limit_is_in_the_unit_of_the_chart_and_said_once() -> None:
    share = TrendLimit(figure="bundle.rejects_share", value=0.05, side="high", code="PREDICTIONS.REJECTED")
    twice = TrendLimit(figure="bundle.rejects_share", value=0.05, side="high", code="TWICE")
    other = TrendLimit(figure="bundle.score", value=3.0, side="high", code="DECIDE")
    trend = Trend(bundle="press", step_s=10.0, points=[], limits=[other, share, twice])
    rejects = next(figure for figure in FIGURES if figure.title == "rejects").metrics[0]
    assert [(limit.value, limit.code) for limit in limits_of(trend, rejects)] == [(5.0, "PREDICTIONS.REJECTED")]


def test_rejects_of_a_machine_that_stands_still_are_not_known() -> None:
    value = next(figure for figure in FIGURES if figure.title == "rejects").metrics[0].value
    assert value(TrendPoint(0, 0.0, None, None, None, 0.0)) is None
    assert value(TrendPoint(0, 3.0, None, None, None, 1.0)) == 25.0


def test_the_name_of_a_series_says_what_tells_it_from_the_others() -> None:
    trend, window = Trend(bundle="b", step_s=1.0, points=[]), Window(0.0, 1.0)
    rate, host = FIGURES[0], FIGURES[-1]

    def names(figure: charts.Figure, *subjects: charts.Subject) -> list[str]:
        return [s.name for s in series_of(dict.fromkeys(subjects, trend), {}, figure, window)]

    assert names(rate, ("press-01", "bearing")) == ["bearing"]
    assert names(rate, ("press-01", "bearing"), ("press-01", "pump")) == ["bearing", "pump"]
    assert names(rate, ("press-01", "bearing"), ("press-02", "bearing")) == ["press-01", "press-02"]
    assert names(host, ("press-01", "bearing")) == ["cpu", "memory"]
    assert names(rate, ("press-01", "")) == ["inferences"]
