"""`transform.lag`, `transform.diff`, `transform.resample`, `transform.align`: values in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from nodeagent.frame import BAD, Frame
from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.step import Stateless, StepContext, selected

Lag = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class LagOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`frames` ago: `speed = [1, 5]` adds `speed.lag_1` and `speed.lag_5`."""

    frames: dict[str, Annotated[list[Lag], msgspec.Meta(min_length=1, max_length=100)]]


class Lags:
    """Adds what a tag was so many frames ago, with the quality that it had; Bad `not yet` before there is one."""

    def __init__(self, options: LagOptions, context: StepContext) -> None:
        self._options = options
        self._columns: list[tuple[int, int]] = []
        self._made: list[str] = []
        self._depth = max(lag for lags in options.frames.values() for lag in lags)
        self._values = np.zeros((0, 0))
        self._quality = np.zeros((0, 0), np.uint8)
        self._seen = 0

    @property
    def warm(self) -> bool:
        return self._seen >= self._depth

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        frames = self._options.frames
        selected(names, frames)
        self._columns = [(names.index(tag), lag) for tag, lags in frames.items() for lag in lags]
        self._made = [f"{tag}.lag_{lag}" for tag, lags in frames.items() for lag in lags]
        self._values = np.full((self._depth, len(names)), np.nan)
        self._quality = np.full((self._depth, len(names)), BAD, np.uint8)
        self._seen = 0
        return (*names, *self._made)

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        values, quality, reasons = [], [], {}
        for number, (at, lag) in enumerate(self._columns):
            row = (self._seen - lag) % self._depth
            values.append(self._values[row, at])
            quality.append(self._quality[row, at])
            if quality[-1]:
                reason = "not yet" if self._seen < lag else f"was not good {lag} frames ago"
                reasons[len(frame.names) + number] = reason
        row = self._seen % self._depth
        self._values[row], self._quality[row] = frame.values, frame.quality
        self._seen = self._seen + 1 if self._seen < self._depth else self._depth + (self._seen + 1) % self._depth
        _extend(frame, self._made, values, quality, reasons)
        return frame, int(np.count_nonzero(quality))

    def state(self) -> dict[str, Any]:
        return {"values": self._values, "quality": self._quality, "seen": self._seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        values, quality, seen = state["values"], state["quality"], int(state["seen"])
        if values.shape != self._values.shape or quality.shape != self._quality.shape:
            raise ValueError("of other tags")
        self._values, self._quality, self._seen = values, quality, seen


class DiffOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tags`: `level` adds `level.diff`, the change since its last usable value, `per` frame or per second."""

    tags: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    per: Literal["frame", "second"] = "frame"


class Diff:
    """A change is as good as the worse of its two values; Bad `not yet` before there are two."""

    def __init__(self, options: DiffOptions, context: StepContext) -> None:
        self._options = options
        self._at: list[int] = []
        self._values = np.zeros(0)
        self._quality = np.zeros(0, np.uint8)
        self._times_us = np.zeros(0)

    @property
    def warm(self) -> bool:
        return bool(np.isfinite(self._values).all())

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        tags = self._options.tags
        selected(names, tags)
        self._at = [names.index(tag) for tag in tags]
        self._values = np.full(len(tags), np.nan)
        self._quality = np.full(len(tags), BAD, np.uint8)
        self._times_us = np.zeros(len(tags))
        return (*names, *(f"{tag}.diff" for tag in tags))

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        now, grade = frame.values[self._at], frame.quality[self._at]
        change = now - self._values
        if self._options.per == "second":
            change = change / np.maximum((frame.received_us - self._times_us) / 1e6, 1e-6)
        quality = np.maximum(grade, self._quality)
        reasons = {
            len(frame.names) + place: frame.reasons.get(at, "not yet" if grade[place] < BAD else "bad")
            for place, at in enumerate(self._at)
            if quality[place]
        }
        usable = (grade < BAD) & np.isfinite(now)
        self._values[usable], self._quality[usable] = now[usable], grade[usable]
        self._times_us[usable] = frame.received_us
        _extend(frame, [f"{tag}.diff" for tag in self._options.tags], change.tolist(), quality.tolist(), reasons)
        return frame, int(np.count_nonzero(quality))

    def state(self) -> dict[str, Any]:
        return {"values": self._values, "quality": self._quality, "times_us": self._times_us}

    def restore(self, state: Mapping[str, Any]) -> None:
        values, quality, times_us = state["values"], state["quality"], state["times_us"]
        if values.shape != self._values.shape:
            raise ValueError("of other tags")
        self._values, self._quality, self._times_us = values, quality, times_us


def _extend(frame: Frame, names: list[str], values: list[Any], quality: list[Any], reasons: dict[int, str]) -> None:
    frame.names = (*frame.names, *names)
    frame.values = np.concatenate([frame.values, np.array(values, np.float64)])
    frame.quality = np.concatenate([frame.quality, np.array(quality, np.uint8)])
    frame.reasons |= reasons


class ResampleOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One frame every `every`, on whole multiples of the node's CLOCK_BOOTTIME.

    `between`: "stepped", the last value before; "sloped", the straight line to the next (OPC UA Part 13). A pause in
    the data leaves out the points that it lasted, but for the last.
    """

    every: Seconds
    between: Literal["stepped", "sloped"] = "stepped"

    def __post_init__(self) -> None:
        if self.every < 0.001:
            raise ValueError("'every' is 1ms or longer")


class Resample(Stateless):
    """Brings an uneven or fast source to an even rate. A value on a line is as good as the worse of its ends."""

    def __init__(self, options: ResampleOptions, context: StepContext) -> None:
        self._every_us = round(options.every * 1e6)
        self._is_sloped = options.between == "sloped"
        self._last: Frame | None = None

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._last = None
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        last, self._last = self._last, frame.copy()
        if last is None:
            return None, 0
        point_us = frame.received_us // self._every_us * self._every_us
        if point_us == frame.received_us:
            return frame, 0
        if point_us <= last.received_us:
            return None, 0
        share = (point_us - last.received_us) / (frame.received_us - last.received_us)
        source_us = last.source_us + round(share * (frame.source_us - last.source_us))
        if self._is_sloped:
            last.values = last.values + share * (frame.values - last.values)
            last.quality = np.maximum(last.quality, frame.quality)
            last.reasons = {**frame.reasons, **last.reasons}
        last.received_us, last.source_us = point_us, source_us
        return last, 0


class AlignOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`max_age`: older than that, what a following source last said is Bad `stale` in the sweep of the first."""

    max_age: Seconds


class Align(Stateless):
    """Says how the sources are joined, and so stands before every other step; the engine's join does it."""

    def __init__(self, options: AlignOptions, context: StepContext) -> None:
        self.options = options

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        return frame, 0


STEPS: dict[str, tuple[type[Options], Any]] = {
    "transform.lag": (LagOptions, Lags),
    "transform.diff": (DiffOptions, Diff),
    "transform.resample": (ResampleOptions, Resample),
    "transform.align": (AlignOptions, Align),
}
