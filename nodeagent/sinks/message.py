"""An outcome as a message: the JSON that leaves the node, and which outcomes leave it."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from nodeagent.frame import QUALITY_WORDS
from nodeagent.pipeline.outcome import Outcome
from nodeagent.sinks.sink import SinkContext

When = Literal["all", "changes", "alarm"]
LATE: Final = b',"late":true}'


class Wanted:
    """Which outcomes are sent: all, those whose decision is another than the last, or those and every alarm."""

    def __init__(self, when: When) -> None:
        self._when = when
        self._last: str | None = None

    def wants(self, outcome: Outcome) -> bool:
        """Whether this one is."""
        changed = outcome.decision != self._last
        self._last = outcome.decision
        return self._when == "all" or changed or (self._when == "alarm" and outcome.alarm)


def fields_of(outcome: Outcome, context: SinkContext) -> dict[str, Any]:
    """What is told of an outcome: times in microseconds, quality in the words of OPC UA, and who made it."""
    return {
        "wall_us": outcome.wall_us,
        "source_us": outcome.source_us,
        "score": outcome.score,
        "decision": outcome.decision,
        "alarm": outcome.alarm,
        "quality": QUALITY_WORDS[outcome.quality],
        "reason": outcome.reason,
        "label": outcome.label,
        "context": outcome.context,
        "node": context.node_id,
        "bundle": context.bundle,
        "revision": context.revision,
        "digest": context.digest,
    }


def payload_of(outcome: Outcome, context: SinkContext) -> bytes:
    """The same as one JSON object."""
    return msgspec.json.encode(fields_of(outcome, context))


def late(payload: bytes) -> bytes:
    """A JSON object that says it is history."""
    return payload[:-1] + LATE
