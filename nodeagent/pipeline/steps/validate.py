"""`validate.*`: what cannot be true is marked, with the reason; nothing is thrown away here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from nodeagent.frame import BAD, Frame, Mask
from nodeagent.pipeline.block import Block
from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.step import QUALITY_OF, OnFail, Stateless, StepContext, lead, per_tag, selected

Tags = tuple[str, ...]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class RangeOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`limits` by tag, [low, high]; or `low` and `high` for `tags` (all where none are named) and for waveforms."""

    limits: dict[str, tuple[float, float]] = msgspec.field(default_factory=dict)
    tags: Tags | None = None
    low: float | None = None
    high: float | None = None
    on_fail: OnFail = "bad"

    def __post_init__(self) -> None:
        if bool(self.limits) == (self.low is not None or self.high is not None):
            raise ValueError("say either 'limits' by tag, or 'low' and 'high'")
        turned = [tag for tag, (low, high) in self.limits.items() if low > high]
        if turned or (self.low is not None and self.high is not None and self.low > self.high):
            raise ValueError(f"the limits of {turned[0]!r} are [low, high]" if turned else "'low' lies above 'high'")


class Range(Stateless):
    """A value outside its limits, or a waveform with a sample outside."""

    def __init__(self, options: RangeOptions, context: StepContext) -> None:
        self._options = options
        self._low = self._high = np.zeros(0)

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        o = self._options
        lows = {tag: limits[0] for tag, limits in o.limits.items()}
        highs = {tag: limits[1] for tag, limits in o.limits.items()}
        if not o.limits:
            tags = [name for name, wanted in zip(names, selected(names, o.tags), strict=True) if wanted]
            lows = dict.fromkeys(tags, -np.inf if o.low is None else o.low)
            highs = dict.fromkeys(tags, np.inf if o.high is None else o.high)
        self._low = per_tag(names, lows, -np.inf)
        self._high = per_tag(names, highs, np.inf)
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        inside = (frame.values >= self._low) & (frame.values <= self._high)
        low, high = self._low[0], self._high[0]
        if frame.blob is not None and (np.isfinite(low) or np.isfinite(high)):
            inside[0] = frame.blob.size > 0 and frame.blob.min() >= low and frame.blob.max() <= high
        return frame, frame.mark(~inside, QUALITY_OF[self._options.on_fail], "out of range")

    def apply_block(self, block: Block) -> tuple[Block | None, int]:
        inside = (block.values >= self._low) & (block.values <= self._high)
        return block, block.mark(~inside, QUALITY_OF[self._options.on_fail], "out of range")


class MissingOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that is no number; a waveform of which more than `max_share` is none."""

    tags: Tags | None = None
    max_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    on_fail: OnFail = "bad"


class Missing(Stateless):
    """Not a number. A waveform with few enough gaps goes on with them filled by straight lines."""

    def __init__(self, options: MissingOptions, context: StepContext) -> None:
        self._options = options
        self._tags: Mask = np.zeros(0, np.bool_)

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._tags = selected(names, self._options.tags)
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        quality = QUALITY_OF[self._options.on_fail]
        marked = frame.mark(self._tags & ~np.isfinite(frame.values), quality, "missing")
        if frame.blob is None or not self._tags[0]:
            return frame, marked
        finite = np.isfinite(frame.blob)
        share = 1.0 - float(np.mean(finite))
        if share == 0.0:
            return frame, marked
        if share <= self._options.max_share and frame.blob.ndim == 1:
            at = np.arange(frame.blob.size)
            frame.blob = np.interp(at, at[finite], frame.blob[finite]).astype(frame.blob.dtype)
            return frame, marked
        return frame, marked + frame.mark(lead(frame), quality, f"missing samples: {share:.1%}")

    def apply_block(self, block: Block) -> tuple[Block | None, int]:
        missing = self._tags & ~np.isfinite(block.values)
        return block, block.mark(missing, QUALITY_OF[self._options.on_fail], "missing")


class RateOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`limits` by tag: the most that it can change in a second."""

    limits: dict[str, Positive]
    on_fail: OnFail = "bad"


class RateOfChange:
    """A value that is further from the last believed one than time allows. A real step is believed when it could be."""

    warm = True

    def __init__(self, options: RateOptions, context: StepContext) -> None:
        self._options = options
        self._limits = self._values = self._times_us = np.zeros(0)

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._limits = per_tag(names, self._options.limits, np.inf)
        self._values = np.full(len(names), np.nan)
        self._times_us = np.zeros(len(names))
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        seconds = (frame.received_us - self._times_us) / 1e6
        with np.errstate(invalid="ignore"):
            too_fast = np.abs(frame.values - self._values) > self._limits * np.maximum(seconds, 1e-6)
        marked = frame.mark(too_fast, QUALITY_OF[self._options.on_fail], "changes too fast")
        believed = (frame.quality < BAD) & ~too_fast
        self._values[believed] = frame.values[believed]
        self._times_us[believed] = frame.received_us
        return frame, marked

    def state(self) -> dict[str, Any]:
        return {"values": self._values, "times_us": self._times_us}

    def restore(self, state: Mapping[str, Any]) -> None:
        values, times_us = state["values"], state["times_us"]
        if values.shape != self._values.shape or times_us.shape != self._times_us.shape:
            raise ValueError("of other tags")
        self._values, self._times_us = values, times_us


class FlatlineOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """More than `max_repeat` equal values one after another (within `tolerance`), over frames or inside a waveform."""

    max_repeat: Annotated[int, msgspec.Meta(ge=1)]
    tags: Tags | None = None
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    on_fail: OnFail = "bad"


class Flatline:
    """A sensor that has died and goes on saying the same."""

    warm = True

    def __init__(self, options: FlatlineOptions, context: StepContext) -> None:
        self._options = options
        self._tags: Mask = np.zeros(0, np.bool_)
        self._values = np.zeros(0)
        self._repeats = np.zeros(0, np.int64)

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._tags = selected(names, self._options.tags)
        self._values = np.full(len(names), np.nan)
        self._repeats = np.zeros(len(names), np.int64)
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        o = self._options
        with np.errstate(invalid="ignore"):
            same = np.abs(frame.values - self._values) <= o.tolerance
        known = np.isfinite(frame.values)
        self._repeats = np.where(same, self._repeats + 1, np.where(known, 1, self._repeats))
        self._values = np.where(known & ~same, frame.values, self._values)
        flat = self._repeats > o.max_repeat
        if frame.blob is not None:
            flat[0] = _longest_run(frame.blob, o.tolerance) > o.max_repeat
        return frame, frame.mark(self._tags & flat, QUALITY_OF[o.on_fail], "flatline")

    def state(self) -> dict[str, Any]:
        return {"values": self._values, "repeats": self._repeats}

    def restore(self, state: Mapping[str, Any]) -> None:
        values, repeats = state["values"], state["repeats"]
        if values.shape != self._values.shape or repeats.shape != self._repeats.shape:
            raise ValueError("of other tags")
        self._values, self._repeats = values, repeats


class StaleOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Older than `max_age` since the node received it: nothing fresh came. Not: the value did not change."""

    max_age: Seconds
    on_fail: OnFail = "bad"


class Stale(Stateless):
    """Judged by the node's own CLOCK_BOOTTIME, so that no stepping clock makes data old or young."""

    def __init__(self, options: StaleOptions, context: StepContext) -> None:
        self._options = options
        self._clock = context.clock

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        age_s = (self._clock.boottime_us() - frame.received_us) / 1e6
        if age_s <= self._options.max_age:
            return frame, 0
        return frame, frame.mark_all(QUALITY_OF[self._options.on_fail], "stale")


class ImageOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`min_size` [height, width] in pixels; `mean_range` and `min_sharpness` in grey levels of the image as it came."""

    min_size: tuple[int, int] = (1, 1)
    mean_range: tuple[float, float] = (-np.inf, np.inf)
    min_sharpness: float = 0.0
    on_fail: OnFail = "bad"


class Image(Stateless):
    """Lamp off, overexposed, out of focus, cut off: the picture is Bad, which says nothing about the part."""

    def __init__(self, options: ImageOptions, context: StepContext) -> None:
        self._options = options

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        fault = self._fault(frame.blob)
        return frame, frame.mark(lead(frame), QUALITY_OF[self._options.on_fail], fault) if fault else 0

    def _fault(self, image: np.ndarray[Any, Any] | None) -> str:
        o = self._options
        if image is None or image.ndim < 2:
            return "not an image"
        if image.shape[0] < o.min_size[0] or image.shape[1] < o.min_size[1]:
            return f"image of {image.shape[0]}x{image.shape[1]} is too small"
        grey = image.astype(np.float64)
        if grey.ndim == 3:
            grey = grey.mean(axis=2)
        mean = float(grey.mean())
        if mean < o.mean_range[0]:
            return "image too dark"
        if mean > o.mean_range[1]:
            return "image too bright"
        if float(np.abs(np.diff(grey, axis=0)).mean()) < o.min_sharpness:
            return "image not sharp"
        return ""


def _longest_run(wave: np.ndarray[Any, Any], tolerance: float) -> int:
    """The length of the longest run of samples that do not differ from the one before."""
    changes = np.flatnonzero(np.abs(np.diff(wave.reshape(-1))) > tolerance)
    edges = np.concatenate(([-1], changes, [wave.size - 1]))
    return int(np.diff(edges).max())


STEPS: dict[str, tuple[type[Options], Any]] = {
    "validate.range": (RangeOptions, Range),
    "validate.missing": (MissingOptions, Missing),
    "validate.rate_of_change": (RateOptions, RateOfChange),
    "validate.flatline": (FlatlineOptions, Flatline),
    "validate.stale": (StaleOptions, Stale),
    "validate.image": (ImageOptions, Image),
}
