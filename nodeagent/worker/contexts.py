"""What a pipeline did under each context (product, shift and the like), so that like can be compared with like."""

from __future__ import annotations

from typing import Final

from nodeagent.pipeline.outcome import ERROR, SKIPPED, Outcome
from nodeagent.protocol import ContextTelemetry
from nodeagent.serving.statistics import Latencies

CONTEXTS_MAX: Final = 8
HELD_MAX: Final = 64  # within one period
ALARM: Final = "alarm"


class _Count:
    """Of one context. `seconds`: whole periods that were its own; `paced`: the predictions made in them."""

    __slots__ = ("alarms", "errors", "good", "latencies", "outcomes", "paced", "period", "rejects", "seconds")

    def __init__(self) -> None:
        self.outcomes = self.good = self.errors = self.rejects = self.alarms = 0
        self.period = self.paced = 0
        self.seconds = 0.0
        self.latencies = Latencies()


class Contexts:
    """Counts since the worker started, of the CONTEXTS_MAX that came last; none where a pipeline names no context."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def outcome(self, outcome: Outcome) -> None:
        """Counts what a pipeline decided."""
        count = self._counts.get(outcome.context)
        if count is None:
            if not outcome.context:
                return
            if len(self._counts) >= HELD_MAX:
                del self._counts[next(iter(self._counts))]
            count = self._counts[outcome.context] = _Count()
        count.outcomes += 1
        count.good += outcome.quality == 0
        if outcome.decision == ERROR:
            count.errors += 1
        elif outcome.decision == SKIPPED:
            count.rejects += 1
        elif outcome.valid:
            count.latencies.add(outcome.latency_us)
            count.alarms += outcome.decision == ALARM
            count.period += 1

    def tick(self, period_s: float) -> None:
        """Ends a period. One in which the context changed is nobody's: how long each had of it is not known."""
        busy = [context for context, count in self._counts.items() if count.period]
        for context in busy:
            # Put last: those at the front came longest ago, and leave when there are too many.
            count = self._counts[context] = self._counts.pop(context)
            if len(busy) == 1:
                count.seconds += period_s
                count.paced += count.period
            count.period = 0
        for context in list(self._counts)[:-CONTEXTS_MAX]:
            del self._counts[context]

    def telemetry(self) -> list[ContextTelemetry]:
        """The one at work last stands last."""
        return [
            ContextTelemetry(
                context=context,
                predictions_total=count.latencies.count,
                errors_total=count.errors,
                rejects_total=count.rejects,
                alarms_total=count.alarms,
                outcomes_total=count.outcomes,
                good_total=count.good,
                inferences_per_s=count.paced / count.seconds if count.seconds else None,
                latency_ms_p95=count.latencies.quantile_ms(0.95),
            )
            for context, count in self._counts.items()
        ]
