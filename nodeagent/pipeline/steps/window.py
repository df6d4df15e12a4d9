"""`window`: so many frames become one, by aggregates of OPC UA Part 13."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.frame import BAD, GOOD, UNCERTAIN, Frame, Qualities
from nodeagent.pipeline.block import Block, concatenated, each_by_itself, rows_of
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
            self._remember(frame.reasons)
        self._due -= 1
        if self._due:
            return None, 0
        self._due = self._every
        result = self._result(frame)
        return result, int(np.count_nonzero(result.quality))

    def apply_block(self, block: Block) -> tuple[Block | None, int]:
        """Windows in which every value counts all at once, the others one by one."""
        if not self._plain:
            return each_by_itself(self, block)
        counting = self._counting(block.quality[:, self._columns], block.values[:, self._columns])
        order = np.roll(self._index, -self._at)
        before = self._counting(self._quality[order], self._values[order])
        without = np.concatenate(([0], np.cumsum(~np.concatenate((before, counting)))))
        hard = without[1 + self._options.size :] != without[1 : -self._options.size]
        leaving, marked, begin = [], 0, 0
        for end in [*(rows_of(hard[1:] != hard[:-1])), len(block) - 1]:
            part = block.part(begin, end + 1)
            left, count = each_by_itself(self, part) if hard[begin] else self._slide(part)
            marked += count
            if left is not None:
                leaving.append(left)
            begin = end + 1
        return concatenated(leaving), marked

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

    def _counting(self, quality: Qualities, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Of each row, whether all of its values count."""
        worst = GOOD if self._options.treat_uncertain_as_bad else UNCERTAIN
        return np.asarray(((quality <= worst) & np.isfinite(values)).all(axis=1), np.bool_)

    def _slide(self, block: Block) -> tuple[Block | None, int]:
        """The rows of a block whose windows hold nothing but values that count."""
        size, count = self._options.size, len(block)
        order = np.roll(self._index, -self._at)
        values = np.concatenate((self._values[order], block.values[:, self._columns]))
        quality = np.concatenate((self._quality[order], block.quality[:, self._columns]))
        leaves = np.arange(self._due - 1, count, self._every)
        found = aggregates.sliding(values[1:], size, leaves, self._options.aggregates)
        last = np.arange(max(0, count - size), count)
        places = (self._at + last) % size
        self._values[places], self._quality[places] = values[size + last], quality[size + last]
        self._times_us[places] = block.received_us[-len(last) :]
        self._at, self._filled = (self._at + count) % size, min(self._filled + count, size)
        self._due = self._due - count + self._every * len(leaves)
        rows = leaves.tolist()
        result = Block(
            self._names,
            found,
            np.zeros(found.shape, np.uint8),
            [{} for _ in rows],
            [block.source_us[row] for row in rows],
            [block.received_us[row] for row in rows],
            block.source,
            [block.origin[row] for row in rows],
        )
        self._grade_block(block, quality[1:], result, rows)
        if not rows:
            return None, 0
        result.mark(~np.isfinite(found), BAD, "no result")
        return result, int(np.count_nonzero(result.quality))

    def _grade_block(self, block: Block, quality: Qualities, result: Block, rows: list[int]) -> None:
        """Grades windows that hold a value that is not Good; `quality[row :]` begins with the window of `row`."""
        size, parts = self._options.size, len(self._options.aggregates)
        flagged = np.concatenate(([0], np.cumsum(quality.any(axis=1))))
        if not flagged[-1] and not any(block.reasons):
            self._reasons = {} if rows else self._reasons
            return
        place = {row: at for at, row in enumerate(rows)}
        for row in range(len(block)):
            if block.reasons[row]:
                self._remember(block.reasons[row])
            at = place.get(row)
            if at is None:
                continue
            if flagged[row + size] == flagged[row]:
                self._reasons = {}
                continue
            window = quality[row : row + size]
            grade, reasons = self._grade(window, np.ones(window.shape, np.bool_))
            result.quality[at] = np.tile(grade, parts)
            result.reasons[at] = self._for_each(reasons)
            self._forget(reasons)

    def _remember(self, reasons: Mapping[int, str]) -> None:
        for column, at in enumerate(self._columns.tolist()):
            if at in reasons:
                self._reasons[column] = reasons[at]

    def _forget(self, reasons: Mapping[int, str]) -> None:
        """Keeps what still explains a window, unless the next one begins anew."""
        tumbles = self._every == self._options.size
        self._reasons = {} if tumbles else {c: reason for c, reason in self._reasons.items() if c in reasons}

    def _for_each(self, reasons: Mapping[int, str]) -> dict[int, str]:
        """The reason of a column, for each of its aggregates."""
        width = len(self._columns)
        parts = range(len(self._options.aggregates))
        return {part * width + column: reason for part in parts for column, reason in reasons.items()}

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
        result = Frame(
            self._names,
            np.concatenate(parts),
            np.tile(grade, count),
            self._for_each(reasons),
            frame.source_us,
            frame.received_us,
            None,
            frame.source,
        )
        result.mark(~np.isfinite(result.values), BAD, "no result")
        self._forget(reasons)
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
