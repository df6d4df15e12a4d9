"""What a worker counts under each context: nothing twice, nothing of another, and never more contexts than it may."""

from __future__ import annotations

from nodeagent.pipeline.outcome import Outcome
from nodeagent.worker.contexts import CONTEXTS_MAX
from nodeagent.worker.stats import WorkerStats


def outcome(context: str, decision: str = "normal", quality: int = 0, latency_us: int = 1_000) -> Outcome:
    score = None if decision in ("skipped", "error") else 0.5
    return Outcome(7, 6, latency_us, score, "", decision, quality, "", None, None, decision == "alarm", context=context)


def test_each_context_has_its_own_counts_and_they_sum_to_the_whole() -> None:
    stats = WorkerStats()
    for decision in ("normal", "alarm", "skipped", "error"):
        stats.outcome(outcome("product=A", decision))
    stats.outcome(outcome("product=B", quality=1, latency_us=50_000))
    a, b = stats.contexts.telemetry()
    assert (a.context, a.predictions_total, a.alarms_total) == ("product=A", 2, 1)
    assert (a.rejects_total, a.errors_total, a.outcomes_total, a.good_total) == (1, 1, 4, 4)
    assert (b.predictions_total, b.outcomes_total, b.good_total) == (1, 1, 0)
    assert a.predictions_total + b.predictions_total == stats.predictions_total
    assert (a.latency_ms_p95 or 0) < 2 < (b.latency_ms_p95 or 0)


def test_a_rate_is_of_the_periods_that_were_one_contexts_alone() -> None:
    stats = WorkerStats()
    for contexts in (["A"] * 10, ["A"] * 5 + ["B"] * 5, [], ["B"] * 4):
        for context in contexts:
            stats.outcome(outcome(f"product={context}"))
        stats.tick(2.0)
    rates = {each.context: each.inferences_per_s for each in stats.contexts.telemetry()}
    assert rates == {"product=A": 5.0, "product=B": 2.0}


def test_the_contexts_that_came_last_are_kept_and_none_where_none_is_named() -> None:
    stats = WorkerStats()
    stats.outcome(outcome(""))
    assert stats.contexts.telemetry() == []
    for batch in (*range(CONTEXTS_MAX), 0, 99):
        stats.outcome(outcome(f"batch={batch}"))
        stats.tick(1.0)
    kept = [each.context for each in stats.contexts.telemetry()]
    assert kept == [*(f"batch={batch}" for batch in range(2, CONTEXTS_MAX)), "batch=0", "batch=99"]
