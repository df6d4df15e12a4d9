"""`clean.*`: values that can be mended are, and are Uncertain from then on, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from nodeagent.frame import BAD, UNCERTAIN, Floats, Frame, Mask
from nodeagent.pipeline.block import Block, rows_of
from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.step import QUALITY_OF, OnFail, Stateless, StepContext, per_tag, selected

_MAD_TO_SIGMA: Final = 1.4826  # of a normal distribution (Hampel 1974; Davies and Gather 1993)
NonNegative = Annotated[float, msgspec.Meta(ge=0)]


class ClipOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`limits` by tag, [low, high]."""

    limits: dict[str, tuple[float, float]]


class Clip(Stateless):
    """Brings a value to the nearer limit and marks it Uncertain."""

    def __init__(self, options: ClipOptions, context: StepContext) -> None:
        self._options = options
        self._low = self._high = np.zeros(0)

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        limits = self._options.limits
        self._low = per_tag(names, {tag: pair[0] for tag, pair in limits.items()}, -np.inf)
        self._high = per_tag(names, {tag: pair[1] for tag, pair in limits.items()}, np.inf)
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        clipped = np.clip(frame.values, self._low, self._high)
        changed = (clipped != frame.values) & np.isfinite(frame.values)
        frame.values = clipped
        return frame, frame.mark(changed, UNCERTAIN, "clipped")

    def apply_block(self, block: Block) -> tuple[Block | None, int]:
        clipped = np.clip(block.values, self._low, self._high)
        changed = (clipped != block.values) & np.isfinite(block.values)
        block.values = clipped
        return block, block.mark(changed, UNCERTAIN, "clipped")


class HampelOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value further than `n_sigma` robust deviations from the median of the last `window` frames is a spike.

    `min_step` by tag, in its own unit: nearer than that is never a spike (a quiet or repeated tag has no deviation).
    """

    window: Annotated[int, msgspec.Meta(ge=3, le=1001)] = 7
    n_sigma: Annotated[float, msgspec.Meta(gt=0)] = 6.0
    min_step: dict[str, NonNegative] = msgspec.field(default_factory=dict)
    tags: tuple[str, ...] | None = None
    on_fail: OnFail = "uncertain"


class Hampel:
    """Replaces spikes by the median. The window keeps raw values: a real step is a spike for half of it."""

    def __init__(self, options: HampelOptions, context: StepContext) -> None:
        self._options = options
        self._window = np.zeros((0, 0))
        self._floor = np.zeros(0)
        self._tags: Mask = np.zeros(0, np.bool_)
        self._seen = 0

    @property
    def warm(self) -> bool:
        return self._seen >= self._options.window

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        o = self._options
        self._tags = selected(names, o.tags)
        self._floor = per_tag(names, o.min_step, 0.0)
        self._window = np.full((o.window, len(names)), np.nan)
        self._seen = 0
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        marked = 0
        raw = frame.values.copy()
        if self.warm:
            marked = self._mend(frame)
        size = self._options.window
        before = self._window[(self._seen - 1) % size] if self._seen else raw
        self._window[self._seen % size] = np.where((frame.quality < BAD) & np.isfinite(raw), raw, before)
        self._seen = self._seen + 1 if self._seen < size else size + (self._seen + 1) % size
        return frame, marked

    def apply_block(self, block: Block) -> tuple[Block | None, int]:
        size = self._options.window
        # Where a spike becomes Bad, whether a value enters the window depends on the values before it.
        first = len(block) if self._options.on_fail == "bad" else min(max(0, size - self._seen), len(block))
        marked = sum([self.apply(block.frame(at))[1] for at in range(first)])
        if first < len(block):
            marked += self._mend_block(block.part(first, len(block)))
        return block, marked

    def state(self) -> dict[str, Any]:
        return {"window": self._window, "seen": self._seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        window, seen = state["window"], int(state["seen"])
        if window.shape != self._window.shape:
            raise ValueError("of other tags")
        self._window, self._seen = window, seen

    def _mend(self, frame: Frame) -> int:
        o = self._options
        median = np.sort(self._window, axis=0)[o.window // 2]
        deviation = np.sort(np.abs(self._window - median), axis=0)[o.window // 2]
        limit = np.maximum(o.n_sigma * _MAD_TO_SIGMA * deviation, self._floor)
        with np.errstate(invalid="ignore"):
            spikes = self._tags & (frame.quality < BAD) & (np.abs(frame.values - median) > limit)
        if not spikes.any():
            return 0
        frame.values[spikes] = median[spikes]
        return frame.mark(spikes, QUALITY_OF[o.on_fail], "spike")

    def _mend_block(self, block: Block) -> int:
        """As `_mend` with a full window before every row, and the window afterwards."""
        o, count, size, seen = self._options, len(block), self._options.window, self._seen
        known = np.concatenate((np.roll(self._window, -(seen % size), axis=0), np.zeros_like(block.values)))
        usable = (block.quality < BAD) & np.isfinite(block.values)
        _carry_forward(known, size, block.values, usable)
        # Each row's window in the order of the ring, so that equal values are told apart as one by one.
        row = np.arange(count)[:, None]
        windows = known[row + (np.arange(size) - seen - row) % size]
        median = np.sort(windows, axis=1)[:, size // 2]
        deviation = np.sort(np.abs(windows - median[:, None]), axis=1)[:, size // 2]
        limit = np.maximum(o.n_sigma * _MAD_TO_SIGMA * deviation, self._floor)
        with np.errstate(invalid="ignore"):
            spikes = self._tags & (block.quality < BAD) & (np.abs(block.values - median) > limit)
        last = np.arange(max(0, count - size), count)
        self._window[(seen + last) % size] = known[size + last]
        self._seen = size + (seen + count) % size
        if not spikes.any():
            return 0
        block.values[spikes] = median[spikes]
        return block.mark(spikes, QUALITY_OF[o.on_fail], "spike")


def _carry_forward(known: Floats, first: int, values: Floats, usable: Mask) -> None:
    """Fills `known` from row `first` on with `values`, and where one is not usable with what stands before it."""
    if usable.all():
        known[first:] = values
        return
    source = np.where(usable, np.arange(first, first + len(values))[:, None], first - 1)
    known[first:] = values
    known[first:] = np.take_along_axis(known, np.maximum.accumulate(source, axis=0), axis=0)


class HoldLastOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bad values become the last believed one, for at most `max_hold` frames."""

    max_hold: Annotated[int, msgspec.Meta(ge=1)]
    tags: tuple[str, ...] | None = None


class HoldLast:
    """Last observation carried forward, Uncertain `held`."""

    warm = True

    def __init__(self, options: HoldLastOptions, context: StepContext) -> None:
        self._options = options
        self._tags: Mask = np.zeros(0, np.bool_)
        self._last = np.zeros(0)
        self._held = np.zeros(0, np.int64)

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._tags = selected(names, self._options.tags)
        self._last = np.full(len(names), np.nan)
        self._held = np.zeros(len(names), np.int64)
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        bad = frame.quality == BAD
        if not bad.any():
            self._held[:] = 0
            np.copyto(self._last, frame.values, where=np.isfinite(frame.values))
            return frame, 0
        self._held = np.where(bad, self._held + 1, 0)
        held = self._tags & bad & (self._held <= self._options.max_hold) & np.isfinite(self._last)
        for at in np.flatnonzero(held).tolist():
            frame.reasons[at] = f"held: {frame.reasons.get(at, 'bad')}"
        frame.values[held] = self._last[held]
        frame.quality[held] = UNCERTAIN
        believed = ~bad & np.isfinite(frame.values)
        self._last[believed] = frame.values[believed]
        return frame, int(np.count_nonzero(held))

    def apply_block(self, block: Block) -> tuple[Block | None, int]:
        marked = begin = 0
        for at in [*rows_of((block.quality == BAD).any(axis=1)), len(block)]:
            if at > begin:
                self._held[:] = 0
                believed = np.isfinite(block.values[begin:at])
                newest = at - 1 - np.argmax(believed[::-1], axis=0)
                np.copyto(self._last, block.values[newest, np.arange(len(self._last))], where=believed.any(axis=0))
            if at < len(block):
                marked += self.apply(block.frame(at))[1]
            begin = at + 1
        return block, marked

    def state(self) -> dict[str, Any]:
        return {"last": self._last, "held": self._held}

    def restore(self, state: Mapping[str, Any]) -> None:
        last, held = state["last"], state["held"]
        if last.shape != self._last.shape or held.shape != self._held.shape:
            raise ValueError("of other tags")
        self._last, self._held = last, held


class DeadbandOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`band` by tag, in its own unit: a smaller change is no change, for at most `max_time`."""

    band: dict[str, NonNegative]
    max_time: Seconds = Seconds(60.0)


class Deadband:
    """Holds a Good value until it moves by its band or `max_time` is over. Quality passes as it is."""

    warm = True

    def __init__(self, options: DeadbandOptions, context: StepContext) -> None:
        self._options = options
        self._band = self._passed = self._passed_us = np.zeros(0)

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._band = per_tag(names, self._options.band, -1.0)
        self._passed = np.full(len(names), np.nan)
        self._passed_us = np.zeros(len(names))
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        young = frame.received_us - self._passed_us < self._options.max_time * 1e6
        with np.errstate(invalid="ignore"):
            still = young & (frame.quality < BAD) & (np.abs(frame.values - self._passed) <= self._band)
        moved = ~still & np.isfinite(frame.values)
        self._passed[moved] = frame.values[moved]
        self._passed_us[moved] = frame.received_us
        frame.values[still] = self._passed[still]
        return frame, 0

    def state(self) -> dict[str, Any]:
        return {"passed": self._passed, "passed_us": self._passed_us}

    def restore(self, state: Mapping[str, Any]) -> None:
        passed, passed_us = state["passed"], state["passed_us"]
        if passed.shape != self._passed.shape or passed_us.shape != self._passed_us.shape:
            raise ValueError("of other tags")
        self._passed, self._passed_us = passed, passed_us


STEPS: dict[str, tuple[type[Options], Any]] = {
    "clean.clip": (ClipOptions, Clip),
    "clean.hampel": (HampelOptions, Hampel),
    "clean.hold_last": (HoldLastOptions, HoldLast),
    "clean.deadband": (DeadbandOptions, Deadband),
}
