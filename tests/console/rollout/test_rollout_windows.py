"""Rate and latency are compared over the time in which the machine ran, before the switch and after it."""

from __future__ import annotations

import pytest

from console.rollout.gates import Sample, judge
from console.rollout.nodes import ROLLUPS_MIN, windowed
from console.rollout.policy import Limits
from nodeagent.protocol import Trend, TrendPoint


def trend(*rates: float | None, p95: float = 2.0, first_us: int = 1_000_000) -> Trend:
    points = [TrendPoint(first_us + n * 1_000_000, rate, p95, None, None, 0.0) for n, rate in enumerate(rates)]
    return Trend(bundle="pump", step_s=1.0, points=points)


NOW = Sample(digest="d", predictions=500, rate=0.0, latency_ms_p95=90.0)


def test_a_machine_that_stands_still_now_is_judged_by_when_it_ran() -> None:
    found = windowed(NOW, trend(5.0, 5.2, 4.8, 0.0, None, 0.0), 0)
    assert (found.rate, found.latency_ms_p95, found.running_s) == (5.0, 2.0, 3.0)
    before = Sample(digest="old", rate=5.0, latency_ms_p95=2.0)
    limits = Limits(errors_share_max=None, rejects_share_rise_max=None, quality_share_drop_max=None)
    says = {figure.name: figure.says for figure in judge("n", limits, before, found)}
    assert (says["inferences/s"], says["p95 ms"]) == ("pass", "pass")
    says = {figure.name: figure.says for figure in judge("n", limits, before, NOW)}
    assert (says["inferences/s"], says["p95 ms"]) == ("fail", "fail"), "what this moment alone would have said"


def test_what_ran_before_this_revision_is_not_its_own() -> None:
    found = windowed(NOW, trend(50.0, 50.0, 50.0, 50.0, 4.0, 4.0, 4.0), 4_000_000)
    assert (found.rate, found.running_s) == (4.0, 3.0)


@pytest.mark.parametrize("rates", [(), (0.0,) * 50, (5.0,) * (ROLLUPS_MIN - 1)])
def test_too_little_time_changes_nothing(rates: tuple[float, ...]) -> None:
    assert windowed(NOW, trend(*rates), 0) == NOW
