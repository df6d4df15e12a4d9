"""The alarm that a pipeline's decision holds now, in words for the node's alert.

Only a decision of the word `alarm` is one: a rejected part is the pipeline at its work, and no call for a person.
"""

from __future__ import annotations

from collections.abc import Iterable

from nodeagent.pipeline.decide import LimitOptions
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.outcome import Outcome

ALARM = "alarm"


class StandingAlarm:
    """Follows the outcomes of one pipeline. It comes and goes with the decision, so with its delays and deadband."""

    def __init__(self, decide: Options | None) -> None:
        self.text = ""
        self._limit = decide.limit if isinstance(decide, LimitOptions) else ""

    def saw(self, outcomes: Iterable[Outcome]) -> None:
        """Takes what the pipeline decided; one that could not be judged (skipped, idle) changes nothing."""
        for outcome in outcomes:
            if outcome.decision == ALARM and outcome.score is not None:
                self.text = f"score {outcome.score:.4g}, alarm {self._limit}" if self._limit else "alarm"
            elif not outcome.alarm:
                self.text = ""
