"""Latency quantiles are right to the width of a bin, and what is counted once is shown once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.serving.statistics import Latencies, Statistics, _bin_end_us, _bin_of


@given(value_us=st.integers(0, 1 << 40))
def test_a_value_lies_in_its_bin(value_us: int) -> None:
    index = _bin_of(value_us)
    if index < 159:
        assert value_us < _bin_end_us(index)
        assert index == 0 or value_us >= _bin_end_us(index - 1)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_a_quantile_is_at_most_a_quarter_too_high(share: float) -> None:
    values = np.random.default_rng(0).lognormal(7, 1, 5_000).astype(int)
    latencies = Latencies()
    for value in values.tolist():
        latencies.add(value)
    truth = float(np.quantile(values, share)) / 1e3
    assert truth * 0.99 <= (latencies.quantile_ms(share) or 0) <= truth * 1.27
    assert sum(count for _, count in latencies.histogram_ms()) == 5_000


def test_a_period_is_what_came_after_a_copy() -> None:
    latencies = Latencies()
    latencies.add(10)
    before = latencies.copy()
    latencies.add(1_000_000, 3)
    period = latencies.since(before)
    assert period.count == 3
    assert (period.quantile_ms(0.01) or 0) > 900
    assert Latencies().quantile_ms(0.5) is None


def test_tritons_figures_add_up() -> None:
    statistics = Statistics()
    statistics.ran([100, 200], 5, 300, 400, 1_000)
    statistics.failed(2, 50, refused=True)
    shown = statistics.triton("m", "1")
    stats = shown["inference_stats"]
    assert (shown["inference_count"], shown["execution_count"]) == (5, 1)
    assert stats["success"] == {"count": 2, "ns": 1_700}
    assert stats["queue"] == {"count": 2, "ns": 300}
    assert stats["compute_infer"] == {"count": 2, "ns": 800}
    assert stats["fail"] == {"count": 2, "ns": 50}
    assert statistics.refused_count == 2
    assert [row["batch_size"] for row in shown["batch_stats"]] == [5]
