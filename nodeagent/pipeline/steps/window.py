"""`window`: so many frames become one, by aggregates of OPC UA Part 13."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.frame import BAD, GOOD, UNCERTAIN, Frame, Qualities
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import StepContext, selected
from nodeagent.pipeline.steps import aggregates

VALUES_MAX: Final = 2_000_000


class WindowOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`size` frames, every `every` frames (left out: `size`, a tumbling window; smaller: a sliding one).

    Leaves `tag.Aggregate` for each of `tags` (all where none are named). Good where at least `min_percent_good` of
    the values are Good, Uncertain where that many are usable, Bad otherwise; `treat_uncertain_as_bad` as in Part 13.
    """

    size: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    every: Annotated[int, msgspec.Meta(ge=1)] | None = None
    aggregates: tuple[str, ...] = ("Average",)
    tags: tuple[str, ...] | None = None
    min_percent_good: Annotated[float, msgspec.Meta(gt=0, le=100)] = 80.0
    treat_uncertain_as_bad: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.aggregates if name not in aggregates.NAMES]
        if unknown or not self.aggregates:
            raise ValueError(f"'aggregates' are among {', '.join(aggregates.NAMES)}")
        if self.every is not None and self.every > self.size:
            raise ValueError("'every' is larger than 'size': frames between two windows would be lost")


class Window:
    """A ring of the last `size` frames."""

    def __init__(self, options: WindowOptions, context: StepContext) -> None:
        self._options = options
        self._every = options.every or options.size
        self._columns: npt.NDArray[np.intp] = np.zeros(0, np.intp)
        self._names: tuple[str, ...] = ()
        self._values = np.zeros((0, 0))
        self._quality = np.zeros((0, 0), np.uint8)
        self._times_us = np.zeros(0, np.int64)
        self._index = np.arange(options.size)
        self._plain = options.size > 1 and all(name in aggregates.WHOLE for name in options.aggregates)
        self._reasons: dict[int, str] = {}
        self._filled = 0
        self._due = 0
        self._at = 0

    @property
    def warm(self) -> bool:
        """A tumbling window begins anew after each result, so that it is warm once there was one."""
        return self._filled >= self._options.size

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        o = self._options
        self._columns = np.flatnonzero(selected(names, o.tags))
        kept = [names[at] for at in self._columns]
        if o.size * len(kept) > VALUES_MAX:
            raise ValueError(f"{o.size} frames of {len(kept)} tags are more than {VALUES_MAX} values")
        self._values = np.full((o.size, len(kept)), np.nan)
        self._quality = np.full((o.size, len(kept)), BAD, np.uint8)
        self._times_us = np.zeros(o.size, np.int64)
        self._filled, self._due, self._at, self._reasons = 0, o.size, 0, {}
        self._names = tuple(f"{tag}.{aggregate}" for aggregate in o.aggregates for tag in kept)
        return self._names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        quality = frame.quality[self._columns]
        self._values[self._at] = frame.values[self._columns]
        self._quality[self._at] = quality
        self._times_us[self._at] = frame.received_us
        self._at = (self._at + 1) % self._options.size
        self._filled = min(self._filled + 1, self._options.size)
        if frame.reasons:
            for column, at in enumerate(self._columns.tolist()):
                if at in frame.reasons:
                    self._reasons[column] = frame.reasons[at]
        self._due -= 1
        if self._due:
            return None, 0
        self._due = self._every
        result = self._result(frame)
        return result, int(np.count_nonzero(result.quality))

    def state(self) -> dict[str, Any]:
        return {
            "values": self._values,
            "quality": self._quality,
            "times_us": self._times_us,
            "reasons": [[column, reason] for column, reason in self._reasons.items()],
            "counts": [self._filled, self._due, self._at],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        values, quality, times_us = state["values"], state["quality"], state["times_us"]
        if values.shape != self._values.shape or quality.shape != values.shape or times_us.shape != values.shape[:1]:
            raise ValueError("of another window")
        filled, due, at = (int(count) for count in state["counts"])
        self._reasons = {int(column): str(reason) for column, reason in state["reasons"]}
        self._values, self._quality, self._times_us = values, quality, times_us
        self._filled, self._due, self._at = filled, due, at

    def _result(self, frame: Frame) -> Frame:
        o = self._options
        whole = not self._quality.any() and bool(np.isfinite(self._values).all())
        if whole and self._plain:
            return self._of_good(frame)
        order = np.roll(self._index, -self._at)
        quality = self._quality[order]
        counts = quality == GOOD if o.treat_uncertain_as_bad else quality < BAD
        values = self._values[order] if whole else np.where(counts, self._values[order], np.nan)
        times_s = (self._times_us[order] - self._times_us[order][0]) / 1e6
        parts = [aggregates.aggregate(name, values, times_s, quality, whole=whole) for name in o.aggregates]
        grade, reasons = (np.zeros(len(self._columns), np.uint8), {}) if whole else self._grade(quality, counts)
        count = len(o.aggregates)
        width = len(self._columns)
        result = Frame(
            self._names,
            np.concatenate(parts),
            np.tile(grade, count),
            {part * width + column: reason for part in range(count) for column, reason in reasons.items()},
            frame.source_us,
            frame.received_us,
            None,
            frame.source,
        )
        result.mark(~np.isfinite(result.values), BAD, "no result")
        self._reasons = {} if self._every == o.size else {c: r for c, r in self._reasons.items() if c in reasons}
        return result

    def _of_good(self, frame: Frame) -> Frame:
        """The result of a window of good values, by aggregates that ask for nothing else: what nearly all are."""
        self._reasons = {}
        values = np.concatenate((self._values[self._at :], self._values[: self._at]))
        found = np.concatenate([aggregates.WHOLE[name](values) for name in self._options.aggregates])
        quality = np.zeros(len(found), np.uint8)
        result = Frame(self._names, found, quality, {}, frame.source_us, frame.received_us, None, frame.source)
        if not np.isfinite(found).all():
            result.mark(~np.isfinite(found), BAD, "no result")
        return result

    def _grade(self, quality: Qualities, counts: npt.NDArray[np.bool_]) -> tuple[Qualities, dict[int, str]]:
        percent_good = (quality == GOOD).mean(axis=0) * 100
        percent_usable = counts.mean(axis=0) * 100
        enough = self._options.min_percent_good
        grade = np.where(percent_good >= enough, GOOD, np.where(percent_usable >= enough, UNCERTAIN, BAD)).astype(
            np.uint8
        )
        reasons = {}
        for column in np.flatnonzero(grade).tolist():
            share = percent_usable[column] if grade[column] == BAD else percent_good[column]
            word = "usable" if grade[column] == BAD else "good"
            reasons[column] = self._explained(column, f"{share:.0f} % {word}")
        return grade, reasons

    def _explained(self, column: int, share: str) -> str:
        reason = self._reasons.get(column, "")
        return reason if share.startswith("0 %") and reason else f"{share}, {reason}" if reason else share


STEPS: dict[str, tuple[type[Options], Any]] = {"window": (WindowOptions, Window)}
