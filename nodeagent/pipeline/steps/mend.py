"""`clean.interpolate` and `clean.median`: gaps by a straight line, noise by the middle of the last values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from nodeagent.frame import BAD, UNCERTAIN, Floats, Frame, Mask, Qualities
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import StepContext, selected


class InterpolateOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gaps of up to `max_gap` frames. The other end of a gap must be known: every frame leaves that much later."""

    max_gap: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    tags: tuple[str, ...] | None = None


class Interpolate:
    """Bad values between two usable ones become the straight line over time, Uncertain `interpolated`."""

    def __init__(self, options: InterpolateOptions, context: StepContext) -> None:
        self._options = options
        self._tags: Mask = np.zeros(0, np.bool_)
        self._before = np.zeros(0)
        self._before_us = np.zeros(0)
        self._too_long: Mask = np.zeros(0, np.bool_)
        self._waiting: list[Frame] = []

    @property
    def warm(self) -> bool:
        return len(self._waiting) >= self._options.max_gap

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._tags = selected(names, self._options.tags)
        self._before = np.full(len(names), np.nan)
        self._before_us = np.zeros(len(names))
        self._too_long = np.zeros(len(names), np.bool_)
        self._waiting = []
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        self._waiting.append(frame.copy())
        if len(self._waiting) <= self._options.max_gap:
            return None, 0
        leaving = self._waiting.pop(0)
        marked = self._mend(leaving)
        known = (leaving.quality < BAD) & np.isfinite(leaving.values)
        self._before[known] = leaving.values[known]
        self._before_us[known] = leaving.received_us
        self._too_long = ~known  # a gap of which one value left as it was is not mended further on
        return leaving, marked

    def _mend(self, frame: Frame) -> int:
        gaps = self._tags & (frame.quality == BAD) & np.isfinite(self._before) & ~self._too_long
        marked = 0
        for at in np.flatnonzero(gaps).tolist():
            after = next((each for each in self._waiting if each.quality[at] < BAD), None)
            if after is None:
                continue
            begun_us = self._before_us[at]
            share = (frame.received_us - begun_us) / max(after.received_us - begun_us, 1)
            frame.values[at] = self._before[at] + share * (after.values[at] - self._before[at])
            frame.quality[at] = UNCERTAIN
            frame.reasons[at] = f"interpolated: {frame.reasons.get(at, 'bad')}"
            marked += 1
        return marked

    def state(self) -> dict[str, Any]:
        return {
            "before": self._before,
            "before_us": self._before_us,
            "too_long": self._too_long,
            "waiting": [_packed(frame) for frame in self._waiting],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        before, before_us, too_long = state["before"], state["before_us"], state["too_long"]
        waiting = [_unpacked(each) for each in state["waiting"]]
        if before.shape != self._before.shape or any(frame.values.shape != before.shape for frame in waiting):
            raise ValueError("of other tags")
        self._before, self._before_us, self._too_long, self._waiting = before, before_us, too_long, waiting


def _packed(frame: Frame) -> dict[str, Any]:
    return {
        "names": list(frame.names),
        "values": frame.values,
        "quality": frame.quality,
        "reasons": [[at, reason] for at, reason in frame.reasons.items()],
        "source_us": frame.source_us,
        "received_us": frame.received_us,
        "blob": frame.blob,
        "source": frame.source,
    }


def _unpacked(state: Mapping[str, Any]) -> Frame:
    values: Floats = state["values"]
    quality: Qualities = state["quality"]
    return Frame(
        tuple(state["names"]),
        values,
        quality,
        {int(at): str(reason) for at, reason in state["reasons"]},
        int(state["source_us"]),
        int(state["received_us"]),
        state["blob"],
        str(state["source"]),
    )


class MedianOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The median of the last `window` usable values, a Bad one left out. Follows a step half a window late."""

    window: Annotated[int, msgspec.Meta(ge=2, le=1001)] = 5
    tags: tuple[str, ...] | None = None


class Median:
    """Replaces every usable value by the median. Quality passes as it is, and a Bad value stays Bad."""

    def __init__(self, options: MedianOptions, context: StepContext) -> None:
        self._options = options
        self._tags: Mask = np.zeros(0, np.bool_)
        self._window = np.zeros((0, 0))
        self._seen = 0

    @property
    def warm(self) -> bool:
        return self._seen >= self._options.window

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._tags = selected(names, self._options.tags)
        self._window = np.full((self._options.window, len(names)), np.nan)
        self._seen = 0
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        size = self._options.window
        usable = (frame.quality < BAD) & np.isfinite(frame.values)
        self._window[self._seen % size] = np.where(usable, frame.values, np.nan)
        self._seen = self._seen + 1 if self._seen < size else size + (self._seen + 1) % size
        ordered = np.sort(self._window, axis=0)  # what is missing sorts to the end
        count = np.isfinite(ordered).sum(axis=0)
        columns = np.arange(ordered.shape[1])
        low, high = ordered[np.maximum(count - 1, 0) // 2, columns], ordered[np.minimum(count // 2, size - 1), columns]
        middle = (low + high) / 2
        replaced = self._tags & usable
        frame.values[replaced] = middle[replaced]
        return frame, 0

    def state(self) -> dict[str, Any]:
        return {"window": self._window, "seen": self._seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        window, seen = state["window"], int(state["seen"])
        if window.shape != self._window.shape:
            raise ValueError("of other tags")
        self._window, self._seen = window, seen


STEPS: dict[str, tuple[type[Options], Any]] = {
    "clean.interpolate": (InterpolateOptions, Interpolate),
    "clean.median": (MedianOptions, Median),
}
