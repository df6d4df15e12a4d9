"""What one worker counts over HTTP and pipeline together: predictions, errors, rejects, quality, latencies."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from nodeagent.pipeline.outcome import ERROR, SKIPPED, Outcome
from nodeagent.protocol import LastPrediction
from nodeagent.serving.statistics import Latencies
from nodeagent.worker.contexts import Contexts

PERIODS_KEPT: Final = 10


class Rates(NamedTuple):
    """The last period; percentiles and quality are over the last PERIODS_KEPT periods."""

    inferences_per_s: float = 0.0
    rejects_per_s: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    quality_good_share: float | None = None


class _Standing(NamedTuple):
    latencies: Latencies
    predictions: int
    rejects: int
    good: int
    judged: int


class WorkerStats:
    """A prediction was answered; an error is a failure of the model or ours; a reject had an input that was not fit."""

    def __init__(self) -> None:
        self.predictions_total = 0
        self.http_errors = 0
        self.http_rejects = 0
        self.last: LastPrediction | None = None
        self.latencies = Latencies()
        self.contexts = Contexts()
        self._errors = 0
        self._rejects = 0
        self._good = 0
        self._judged = 0
        self._periods: deque[_Standing] = deque([self._standing()], maxlen=PERIODS_KEPT + 1)

    @property
    def errors_total(self) -> int:
        return self._errors + self.http_errors

    @property
    def rejects_total(self) -> int:
        return self._rejects + self.http_rejects

    def predicted(self, latency_us: int, count: int = 1) -> None:
        """`count` predictions that were answered together after `latency_us`."""
        self.predictions_total += count
        self.latencies.add(latency_us, count)

    def outcome(self, outcome: Outcome) -> None:
        """Counts what a pipeline decided."""
        if outcome.decision == ERROR:
            self._errors += 1
        elif outcome.decision == SKIPPED:
            self._rejects += 1
        elif outcome.valid:
            self.predicted(outcome.latency_us)
        self.contexts.outcome(outcome)
        self._judged += 1
        self._good += outcome.quality == 0
        self.last = LastPrediction(
            wall_us=outcome.wall_us,
            score=outcome.score,
            label=outcome.label,
            decision=outcome.decision,
            quality=outcome.quality,
            reason=outcome.reason,
            context=outcome.context,
        )

    def tick(self, period_s: float) -> Rates:
        """Ends a period of `period_s`."""
        self.contexts.tick(period_s)
        now = self._standing()
        last, first = self._periods[-1], self._periods[0]
        self._periods.append(now)
        recent = now.latencies.since(first.latencies)
        judged = now.judged - first.judged
        return Rates(
            inferences_per_s=(now.predictions - last.predictions) / period_s,
            rejects_per_s=(now.rejects - last.rejects) / period_s,
            p50_ms=recent.quantile_ms(0.50),
            p95_ms=recent.quantile_ms(0.95),
            p99_ms=recent.quantile_ms(0.99),
            quality_good_share=(now.good - first.good) / judged if judged else None,
        )

    def _standing(self) -> _Standing:
        return _Standing(self.latencies.copy(), self.predictions_total, self.rejects_total, self._good, self._judged)
