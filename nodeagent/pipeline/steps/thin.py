"""`clean.dedupe` and `clean.swinging_door`: fewer frames without less being known. What is left out is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from nodeagent.frame import BAD, Floats, Frame
from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.step import Stateless, StepContext, per_tag


class DedupeOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`by`: "sample", the device's time and all values are those of the frame before; "values", whatever its time.

    One repeated for `max_time` passes all the same, so that silence and sameness are not taken for each other.
    """

    by: Literal["sample", "values"] = "sample"
    max_time: Seconds = Seconds(60.0)


class Dedupe(Stateless):
    """Leaves out a frame that says nothing new: the same sample sent again."""

    def __init__(self, options: DedupeOptions, context: StepContext) -> None:
        self._options = options
        self._last: Frame | None = None

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._last = None
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        last = self._last
        if last is not None and frame.received_us - last.received_us < self._options.max_time * 1e6:
            same_time = self._options.by == "values" or frame.source_us == last.source_us
            same = np.array_equal(frame.values, last.values, equal_nan=True)
            if same_time and same and np.array_equal(frame.quality, last.quality) and _same_blob(frame, last):
                return None, len(frame.names)
        self._last = frame.copy()
        return frame, 0


def _same_blob(one: Frame, other: Frame) -> bool:
    if one.blob is None or other.blob is None:
        return one.blob is other.blob
    return bool(np.array_equal(one.blob, other.blob))


class SwingingDoorOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`band` by tag, in its own unit; no other tag opens the door. A frame leaves every `max_time` at least."""

    band: dict[str, Annotated[float, msgspec.Meta(gt=0)]]
    max_time: Seconds = Seconds(60.0)


class SwingingDoor:
    """A frame leaves when straight lines between those that left no longer tell the ones between to within `band`.

    What leaves is the frame before the one that opened the door (Bristol 1987), with its own times. So does every
    change of quality.
    """

    warm = True

    def __init__(self, options: SwingingDoorOptions, context: StepContext) -> None:
        self._options = options
        self._band: Floats = np.zeros(0)
        self._anchor: Frame | None = None
        self._held: Frame | None = None
        self._low: Floats = np.zeros(0)
        self._high: Floats = np.zeros(0)

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._band = per_tag(names, self._options.band, np.inf)
        self._anchor = self._held = None
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        if self._anchor is None:
            self._begin(frame)
            return frame, 0
        held, self._held = self._held, frame.copy()
        if self._opens(self._anchor, frame):
            leaving = held if held is not None else self._held
            self._begin(leaving)
            if held is None:
                self._held = None
            else:
                self._narrow(held, frame)
            return leaving.copy(), 0
        self._narrow(self._anchor, frame)
        return None, 0

    def state(self) -> dict[str, Any]:
        """Nothing: a successor begins with the frame that comes, and lets it pass."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state:
            raise ValueError("this step hands nothing on")

    def _begin(self, anchor: Frame) -> None:
        self._anchor = anchor.copy()
        self._low = np.full(len(anchor.names), -np.inf)
        self._high = np.full(len(anchor.names), np.inf)

    def _opens(self, anchor: Frame, frame: Frame) -> bool:
        if not np.array_equal(anchor.quality, frame.quality):
            return True
        if frame.received_us - anchor.received_us > self._options.max_time * 1e6:
            return True
        slope = self._slopes(anchor, frame, 0.0)
        with np.errstate(invalid="ignore"):
            outside = (slope < self._low) | (slope > self._high)
        return bool((outside & (frame.quality < BAD)).any())

    def _narrow(self, anchor: Frame, frame: Frame) -> None:
        """Every line that may be drawn later passes within the band of this frame."""
        self._low = np.fmax(self._low, self._slopes(anchor, frame, -1.0))
        self._high = np.fmin(self._high, self._slopes(anchor, frame, 1.0))

    def _slopes(self, anchor: Frame, frame: Frame, side: float) -> Floats:
        seconds = max(frame.received_us - anchor.received_us, 1) / 1e6
        band = np.where(np.isfinite(self._band), side * self._band, side * 1e300 if side else 0.0)
        with np.errstate(over="ignore"):
            return np.asarray((frame.values + band - anchor.values) / seconds, np.float64)


STEPS: dict[str, tuple[type[Options], Any]] = {
    "clean.dedupe": (DedupeOptions, Dedupe),
    "clean.swinging_door": (SwingingDoorOptions, SwingingDoor),
}
