"""Trends on the node: which steps there are, and what is folded."""

from __future__ import annotations

from nodeagent.health.trend import MINUTE_S, PERIOD_STEP_S, QUARTER_S, STEP_S, Trends, folded
from nodeagent.protocol import BundleTelemetry, HostHealth, LastPrediction, Telemetry, TrendPoint, WorkerState


def telemetry(second: int, *, rate: float = 4.0, p95: float | None = 2.0, score: float | None = 0.5) -> Telemetry:
    bundle = BundleTelemetry(
        bundle="press", model="press", version="1.0", revision=1, digest="sha256:0", state=WorkerState.SERVING,
        inferences_per_s=rate, latency_ms_p95=p95, last=LastPrediction(wall_us=0, score=score),
    )  # fmt: skip
    return Telemetry(
        cursor=second, node_id="n", boot_id="b", started_us=0, boottime_us=second * 1_000_000,
        wall_us=(1_000_000 + second) * 1_000_000, period_s=1.0, host=HostHealth(cpu_percent=10.0), bundles=[bundle],
    )  # fmt: skip


def run(seconds: int) -> tuple[Trends, list[tuple[str, int, TrendPoint]]]:
    kept: list[tuple[str, int, TrendPoint]] = []
    trends = Trends(lambda bundle, step_s, point: kept.append((bundle, step_s, point)))
    for second in range(seconds):
        trends.add(telemetry(second, p95=9.0 if second == 5 else 2.0, score=float("nan") if second < 10 else 0.5))
    return trends, kept


def test_single_periods_and_steps_are_in_memory_and_minutes_and_quarters_are_kept() -> None:
    trends, kept = run(1_900)
    assert len(trends.points("press", PERIOD_STEP_S)) == 300
    assert len(trends.points("press", STEP_S)) == 189
    steps = [step_s for bundle, step_s, _ in kept if bundle == "press"]
    assert (steps.count(MINUTE_S), steps.count(QUARTER_S)) == (31, 2)
    assert trends.points("", STEP_S)[0].cpu_percent == 10.0
    assert trends.points("", STEP_S)[0].inferences_per_s is None


def test_of_latency_the_worst_is_kept_and_a_score_that_is_no_number_is_not_known() -> None:
    first, second = run(30)[0].points("press", STEP_S)[:2]
    assert (first.latency_ms_p95, first.inferences_per_s, first.score) == (9.0, 4.0, None)
    assert (second.latency_ms_p95, second.score) == (2.0, 0.5)


def test_folding_keeps_holes_in_time_and_the_worst_latency() -> None:
    points = [
        TrendPoint(s * 1_000_000, 1.0, 7.0 if s == 3 else 1.0, None, None, None) for s in (*range(50), *range(90, 100))
    ]
    step_s, found = folded(points, 1.0, 12)
    assert step_s == 5.0
    assert [p.wall_us // 1_000_000 for p in found] == [*range(0, 50, 5), 90, 95]
    assert (found[0].latency_ms_p95, found[1].latency_ms_p95, found[0].cpu_percent) == (7.0, 1.0, None)
    assert folded(points, 1.0, 60) == (1.0, points)
