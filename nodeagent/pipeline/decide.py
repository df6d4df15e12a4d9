"""`[decide]`: from what a model says to what the plant is told. Alarm words are those of ISA-18.2."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Protocol, runtime_checkable

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


@runtime_checkable
class ByScore(Protocol):
    """A decision that needs nothing of a prediction but its score."""

    def scored(self, score: float, at_us: int) -> Decision:
        """As `decide`, where the score is known already."""


class LimitOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Over is at `high` and above, or at `low` and below; clear is `deadband` inside that.

    `score` names an output of the model, `name:column` one column of it. `stand_min`: an alarm that was raised stands
    at least so long, so that what acts on it moves no oftener than that.
    """

    score: str
    high: float | None = None
    low: float | None = None
    deadband: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    stand_min: Seconds = Seconds(0.0)

    def __post_init__(self) -> None:
        if (self.high is None) == (self.low is None):
            raise ValueError("an alarm has either 'high' or 'low'")

    @property
    def limit(self) -> str:
        """The limit in words: `at or over 3`."""
        return f"at or over {self.high:g}" if self.high is not None else f"at or under {self.low:g}"

    def is_over(self, score: float) -> bool:
        """Whether this score is one that alarms."""
        return score >= self.high if self.high is not None else self.low is not None and score <= self.low

    def is_clear(self, score: float) -> bool:
        """Whether this score is one that lets an alarm go."""
        if self.high is not None:
            return score < self.high - self.deadband
        return self.low is not None and score > self.low + self.deadband


class AlarmOptions(LimitOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alarm by a limit on the score, after so many predictions in a row (`_count`) or so long (`_delay`)."""

    on_count: Count | None = None
    off_count: Count | None = None
    on_delay: Seconds | None = None
    off_delay: Seconds | None = None

    def __post_init__(self) -> None:
        LimitOptions.__post_init__(self)
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
        self._raised_us = 0

    def decide(self, outputs: Row, at_us: int) -> Decision:
        return self.scored(score_of(outputs, self.options.score), at_us)

    def scored(self, score: float, at_us: int) -> Decision:
        if self.options.is_clear(score) if self.standing else self.options.is_over(score):
            self._count += 1
            self._since_us = at_us if self._since_us is None else self._since_us
            if self._is_due(at_us):
                self.standing = not self.standing
                self._count, self._since_us = 0, None
                self._raised_us = at_us
        else:
            self._count, self._since_us = 0, None
        return Decision(score, "", "alarm" if self.standing else "normal", self.standing)

    def bad(self, word: str) -> Decision:
        return Decision(None, "", word, self.standing)

    def state(self) -> dict[str, Any]:
        return {
            "standing": self.standing,
            "count": self._count,
            "since_us": self._since_us,
            "raised_us": self._raised_us,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        standing, count, since_us = bool(state["standing"]), int(state["count"]), state["since_us"]
        self._raised_us = int(state["raised_us"])
        self.standing, self._count, self._since_us = standing, count, None if since_us is None else int(since_us)

    def _is_due(self, at_us: int) -> bool:
        o = self.options
        if self.standing and at_us - self._raised_us < o.stand_min * 1e6:
            return False
        delay_s, count = (o.off_delay, o.off_count) if self.standing else (o.on_delay, o.on_count)
        if delay_s is not None:
            return self._since_us is not None and at_us - self._since_us >= delay_s * 1e6
        return self._count >= (count or 1)


class VoteOptions(LimitOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alarm when at least `k` of the last `n` predictions are over; it clears when at most `clear` of them are not.

    `clear` left out: 0, so that each of the last `n` has to lie inside the deadband.
    """

    k: Count
    n: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    clear: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        LimitOptions.__post_init__(self)
        if self.k > self.n:
            raise ValueError("'k' is larger than 'n': that many are never over")
        if self.clear >= self.k:
            raise ValueError("'clear' is not smaller than 'k': the alarm would come and go at once")


class Vote:
    """k out of n, as IEC 61511 calls it, over time instead of over sensors. A prediction that is missing votes not."""

    def __init__(self, options: VoteOptions) -> None:
        self.options = options
        self.standing = False
        self._raised_us = 0
        self._scores: collections.deque[float] = collections.deque(maxlen=options.n)

    def decide(self, outputs: Row, at_us: int) -> Decision:
        return self.scored(score_of(outputs, self.options.score), at_us)

    def scored(self, score: float, at_us: int) -> Decision:
        o = self.options
        self._scores.append(score)
        if not self.standing and sum(map(o.is_over, self._scores)) >= o.k:
            self.standing, self._raised_us = True, at_us
        elif self.standing and at_us - self._raised_us >= o.stand_min * 1e6:
            self.standing = sum(not o.is_clear(score) for score in self._scores) > o.clear
        return Decision(score, "", "alarm" if self.standing else "normal", self.standing)

    def bad(self, word: str) -> Decision:
        return Decision(None, "", word, self.standing)

    def state(self) -> dict[str, Any]:
        return {"standing": self.standing, "raised_us": self._raised_us, "scores": list(self._scores)}

    def restore(self, state: Mapping[str, Any]) -> None:
        standing, raised_us = bool(state["standing"]), int(state["raised_us"])
        scores = [float(score) for score in state["scores"]]
        self._scores.clear()
        self._scores.extend(scores)
        self.standing, self._raised_us = standing, raised_us


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


def scores_of(outputs: Row, score: str, rows: int) -> list[float] | None:
    """The score of each row of a batch; None: of some there is none, and `score_of` says why."""
    name, _, column = score.partition(":")
    values = outputs[name].reshape(rows, -1) if name in outputs else np.zeros((rows, 0))
    if column:
        values = values[:, int(column) : int(column) + 1] if column.isdigit() else values[:, :0]
    if values.shape[1] != 1 or not np.issubdtype(values.dtype, np.number):
        return None
    numbers = values[:, 0].astype(np.float64)
    return numbers.tolist() if np.isfinite(numbers).all() else None


def _output(outputs: Row, name: str) -> npt.NDArray[Any]:
    if name not in outputs:
        raise ModelFailed(f"the model has no output {name!r}; it has: {', '.join(outputs)}")
    return outputs[name]


DECISIONS: dict[str, tuple[type[Options], Any]] = {
    "alarm": (AlarmOptions, Alarm),
    "vote": (VoteOptions, Vote),
    "classes": (ClassesOptions, Classes),
}
