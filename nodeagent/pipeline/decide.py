"""`[decide]`: from what a model says to what the plant is told. Alarm words are those of ISA-18.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.pipeline.errors import ModelFailed
from nodeagent.pipeline.options import Options, Seconds

Row = Mapping[str, npt.NDArray[Any]]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Decision(NamedTuple):
    """What was decided. `alarm`: the condition that outputs act on stands now."""

    score: float | None
    label: str
    decision: str
    alarm: bool


class Decide(Protocol):
    """One way to decide; `outputs` is one row of each output of the model, by name."""

    def decide(self, outputs: Row, at_us: int) -> Decision:
        """Decides on a valid prediction of CLOCK_BOOTTIME `at_us`. Raises ModelFailed if the score is not there."""

    def bad(self, word: str) -> Decision:
        """What stands when there is no valid prediction, for the reason `word` (skipped, idle, error)."""

    def state(self) -> dict[str, Any]:
        """What a successor needs to go on."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state`; raises ValueError or KeyError if it does not fit."""


class AlarmOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alarm at `high` and over, or `low` and under; clears `deadband` inside. Delays: predictions or time.

    `score` names an output of the model, `name:column` one column of it.
    """

    score: str
    high: float | None = None
    low: float | None = None
    deadband: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    on_count: Count | None = None
    off_count: Count | None = None
    on_delay: Seconds | None = None
    off_delay: Seconds | None = None

    def __post_init__(self) -> None:
        if (self.high is None) == (self.low is None):
            raise ValueError("an alarm has either 'high' or 'low'")
        for name in ("on", "off"):
            if getattr(self, f"{name}_count") is not None and getattr(self, f"{name}_delay") is not None:
                raise ValueError(f"either '{name}_count' (predictions) or '{name}_delay' (time), not both")


class Alarm:
    """A limit with on-delay, off-delay and deadband (ISA-18.2). A prediction that is missing changes nothing."""

    def __init__(self, options: AlarmOptions) -> None:
        self.options = options
        self.standing = False
        self._count = 0
        self._since_us: int | None = None

    def decide(self, outputs: Row, at_us: int) -> Decision:
        score = score_of(outputs, self.options.score)
        if self._is_over(score) if not self.standing else self._is_clear(score):
            self._count += 1
            self._since_us = at_us if self._since_us is None else self._since_us
            if self._is_due(at_us):
                self.standing = not self.standing
                self._count, self._since_us = 0, None
        else:
            self._count, self._since_us = 0, None
        return Decision(score, "", "alarm" if self.standing else "normal", self.standing)

    def bad(self, word: str) -> Decision:
        return Decision(None, "", word, self.standing)

    def state(self) -> dict[str, Any]:
        return {"standing": self.standing, "count": self._count, "since_us": self._since_us}

    def restore(self, state: Mapping[str, Any]) -> None:
        standing, count, since_us = bool(state["standing"]), int(state["count"]), state["since_us"]
        self.standing, self._count, self._since_us = standing, count, None if since_us is None else int(since_us)

    def _is_over(self, score: float) -> bool:
        o = self.options
        return score >= o.high if o.high is not None else o.low is not None and score <= o.low

    def _is_clear(self, score: float) -> bool:
        o = self.options
        if o.high is not None:
            return score < o.high - o.deadband
        return o.low is not None and score > o.low + o.deadband

    def _is_due(self, at_us: int) -> bool:
        o = self.options
        delay_s, count = (o.off_delay, o.off_count) if self.standing else (o.on_delay, o.on_count)
        if delay_s is not None:
            return self._since_us is not None and at_us - self._since_us >= delay_s * 1e6
        return self._count >= (count or 1)


class ClassesOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reject at `reject_at` and over, else review at `review_at` and over, else accept.

    `label` names an output that holds a class; a number in it is looked up in `labels`. `on_bad_quality = "review"`:
    what could not be judged goes to a person, and not past one.
    """

    score: str
    reject_at: float
    review_at: float | None = None
    label: str = ""
    labels: tuple[str, ...] = ()
    on_bad_quality: Literal["skip", "review"] = "skip"

    def __post_init__(self) -> None:
        if self.review_at is not None and self.review_at > self.reject_at:
            raise ValueError("'review_at' lies above 'reject_at'")


class Classes:
    """Accept, review or reject by one score."""

    def __init__(self, options: ClassesOptions) -> None:
        self.options = options

    def decide(self, outputs: Row, at_us: int) -> Decision:
        o = self.options
        score = score_of(outputs, o.score)
        label = self._label(outputs) if o.label else ""
        if score >= o.reject_at:
            return Decision(score, label, "reject", True)
        if o.review_at is not None and score >= o.review_at:
            return Decision(score, label, "review", False)
        return Decision(score, label, "accept", False)

    def bad(self, word: str) -> Decision:
        return Decision(None, "", "review" if self.options.on_bad_quality == "review" else word, False)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state:
            raise ValueError("classes keep no state")

    def _label(self, outputs: Row) -> str:
        value = _output(outputs, self.options.label).reshape(-1)[0]
        if isinstance(value, np.integer) and 0 <= value < len(self.options.labels):
            return self.options.labels[int(value)]
        return str(value)


def score_of(outputs: Row, score: str) -> float:
    """The number that `score` (`name` or `name:column`) names in a row. Raises ModelFailed if it is not one number."""
    name, _, column = score.partition(":")
    values = _output(outputs, name).reshape(-1)
    if column:
        if not column.isdigit() or int(column) >= values.size:
            raise ModelFailed(f"output {name!r} has {values.size} values, and no column {column}")
        values = values[int(column)][None]
    if values.size != 1:
        raise ModelFailed(f"output {name!r} has {values.size} values; say which: {name}:{max(values.size - 1, 0)}")
    value = float(values[0])
    if not np.isfinite(value):
        raise ModelFailed(f"the score {name!r} is {value}")
    return value


def _output(outputs: Row, name: str) -> npt.NDArray[Any]:
    if name not in outputs:
        raise ModelFailed(f"the model has no output {name!r}; it has: {', '.join(outputs)}")
    return outputs[name]


DECISIONS: dict[str, tuple[type[Options], Any]] = {
    "alarm": (AlarmOptions, Alarm),
    "classes": (ClassesOptions, Classes),
}
