"""Latencies as bins, quantiles and bars."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.charts import histogram
from console.charts.histogram import Latencies
from console.charts.latency import bins_of, fitted, quantile_ms
from nodeagent.protocol import TrendLimit
from nodeagent.serving.statistics import Latencies as NodeLatencies
from widgets.histogram import bars
from widgets.look import grey

LIMIT = TrendLimit(figure="bundle.latency_ms_p95", value=4.0, side="high", code="PRESS.SLOW")


def counted(*values_us: int) -> list[tuple[float, int]]:
    counter = NodeLatencies()
    for value in values_us:
        counter.add(value)
    return counter.histogram_ms()


@given(st.lists(st.integers(0, 2**34), min_size=1, max_size=50))
def test_the_bins_are_the_nodes_own_without_a_hole_and_so_are_the_quantiles(values_us: list[int]) -> None:
    counter = NodeLatencies()
    for value in values_us:
        counter.add(value)
    bins = bins_of(counter.histogram_ms())
    assert sum(b.count for b in bins) == len(values_us)
    assert all(before.high_ms == after.low_ms for before, after in itertools.pairwise(bins))
    assert bins[0].count
    assert bins[-1].count
    assert all(quantile_ms(bins, share) == counter.quantile_ms(share) for share in (0.01, 0.5, 0.95, 0.99, 1.0))


def test_a_node_that_tells_nonsense_draws_nothing_wrong() -> None:
    assert bins_of([]) == []
    assert bins_of([(-1.0, 5), (0.0, 3), (2.0, 0), (2.0, -4)]) == []
    assert [(b.high_ms, b.count) for b in bins_of([(2.5, 1), (2.5, 2)])] == [(2.5, 3)]
    assert len(bins_of([(float(i), 1) for i in range(1, 100_000)])) < 1_000


def test_more_bins_than_bars_are_taken_together() -> None:
    bins = bins_of(counted(100, 1_000, 10_000, 100_000))
    few = fitted(bins, 7)
    assert len(few) <= 7
    assert sum(b.count for b in few) == 4
    assert (few[0].low_ms, few[-1].high_ms) == (bins[0].low_ms, bins[-1].high_ms)


@pytest.mark.parametrize("look", [grey(), grey(ascii=True)])
def test_one_slow_answer_among_many_is_seen(look: object) -> None:
    lines = bars([100_000, 0, 1], 2, 5, look)  # type: ignore[arg-type]
    assert lines[-1].endswith("..")
    assert lines[-1][2:4] == "  "
    assert len(lines) == 5


@pytest.mark.parametrize(("width", "height"), [(24, 9), (80, 20), (140, 36)])
@pytest.mark.parametrize("look", [grey(), grey(ascii=True)])
def test_the_chart_fits_names_quantiles_and_limits_and_each_bar_can_be_read(
    width: int, height: int, look: object
) -> None:
    values = [1_000 + 7 * i % 900 for i in range(5_000)] + [90_000]
    picture = histogram.draw(Latencies("press 1.0 r1", counted(*values), (LIMIT,)), width, height, look)  # type: ignore[arg-type]
    assert picture is not None
    lines = picture.plain()
    assert len(lines) <= height
    assert picture.left + len(picture.readings) <= width
    said = ["".join(text for text, _ in reading) for reading in picture.readings]
    assert any("1 answers, 0.02 %" in words for words in said)
    assert "100 % took at most" in said[-1]
    if width >= 80:
        text = "\n".join(lines)
        assert "^p50" in text
        assert "^p99" in text
        assert "limit of p95 4.00 ms PRESS.SLOW: 1 took at least that" in text


def test_without_answers_or_room_there_is_none() -> None:
    assert histogram.draw(Latencies("press", []), 80, 20, grey()) is None
    assert histogram.draw(Latencies("press", counted(5)), 20, 20, grey()) is None


def test_no_answers_make_no_bars() -> None:
    assert fitted([], 7) == []
