"""Full charts: thinned to what a column can show, gaps kept, drawn in a thread."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from console import charts
from console.charts import METRICS, draw, points_of, thinned
from nodeagent.protocol import Trend, TrendPoint


def point(second: int, value: float | None) -> TrendPoint:
    return TrendPoint(second * 1_000_000, value, None, None, None, None)


def test_there_are_at_most_two_points_a_column() -> None:
    points = [(float(i), float(i % 17)) for i in range(10_000)]
    assert sum(len(stretch) for stretch in thinned(points, 70)) <= 2 * 71


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 80))
def test_thinning_keeps_the_highest_and_the_lowest(values: list[float], columns: int) -> None:
    kept = [y for stretch in thinned([(float(i), v) for i, v in enumerate(values)], columns) for _, y in stretch]
    assert (min(kept), max(kept)) == (min(values), max(values))


def test_a_gap_parts_the_line() -> None:
    points: list[charts.Point] = [(0.0, 1.0), (1.0, 1.0), (2.0, None), (3.0, None), (4.0, 2.0)]
    assert [len(stretch) for stretch in thinned(points, 5)] == [2, 1]


def test_a_hole_in_time_is_a_gap() -> None:
    trend = Trend(bundle="bearing", step_s=10.0, points=[point(0, 1.0), point(10, 1.0), point(90, 1.0)])
    assert (20.0, None) in points_of(trend, METRICS[0])


def test_a_chart_has_the_size_it_was_given_and_no_colour_codes() -> None:
    points: list[charts.Point] = [(float(i), 400.0 + i % 7) for i in range(600)]
    for only_ascii in (False, True):
        lines = draw(points, "bearing inferences, 1/s", 78, 16, ascii=only_ascii)
        assert len(lines) == 16
        assert all(len(line) <= 78 for line in lines)
        assert "\x1b" not in "".join(lines)
        assert "bearing inferences, 1/s" in lines[0]
    assert "".join(lines).isascii()


def test_without_points_or_room_there_is_no_chart() -> None:
    assert draw([], "x", 78, 16) == []
    assert draw([(0.0, None)], "x", 78, 16) == []
    assert draw([(0.0, 1.0), (1.0, 2.0)], "x", 10, 3) == []


def test_two_threads_take_turns_with_the_one_figure() -> None:
    points: list[charts.Point] = [(float(i), float(i)) for i in range(50)]
    found: dict[str, list[str]] = {}

    def one(title: str) -> None:
        for _ in range(5):
            found[title] = draw(points, title, 60, 10)

    threads = [threading.Thread(target=one, args=(f"title {i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(title in lines[0] for title, lines in found.items())
