"""`transform.lookup` and `transform.one_hot`: what a number stands for, where it is a code or a point of a curve."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from nodeagent.frame import BAD, UNCERTAIN, Frame
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import QUALITY_OF, OnFail, Stateless, StepContext, selected

Points = Annotated[list[tuple[float, float]], msgspec.Meta(min_length=2, max_length=10_000)]
Codes = Annotated[list[int], msgspec.Meta(min_length=1, max_length=1000)]


class LookupOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By tag: `codes`, number -> value; or `points`, a curve [[in, out], ...] with straight lines between.

    Left and right of a curve: `outside = "bad"`, or "clip", the last point, Uncertain.
    """

    codes: dict[str, dict[str, float]] = msgspec.field(default_factory=dict)
    points: dict[str, Points] = msgspec.field(default_factory=dict)
    outside: Literal["bad", "clip"] = "bad"

    def __post_init__(self) -> None:
        if not self.codes and not self.points:
            raise ValueError("say 'codes' or 'points'")
        for tag, codes in self.codes.items():
            if tag in self.points:
                raise ValueError(f"{tag!r} has both 'codes' and 'points'")
            for code in codes:
                float(code)
        for tag, points in self.points.items():
            if any(later[0] <= earlier[0] for earlier, later in itertools.pairwise(points)):
                raise ValueError(f"the points of {tag!r} rise from left to right")


class Lookup(Stateless):
    """An unknown code is Bad, with the code in the reason."""

    def __init__(self, options: LookupOptions, context: StepContext) -> None:
        self._options = options
        self._codes: list[tuple[int, dict[float, float]]] = []
        self._curves: list[tuple[int, np.ndarray[Any, Any]]] = []

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        o = self._options
        selected(names, (*o.codes, *o.points))
        self._codes = [
            (names.index(tag), {float(code): value for code, value in codes.items()}) for tag, codes in o.codes.items()
        ]
        self._curves = [(names.index(tag), np.array(points, np.float64)) for tag, points in o.points.items()]
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        marked = 0
        for at, codes in self._codes:
            value = float(frame.values[at])
            if value in codes:
                frame.values[at] = codes[value]
            else:
                marked += _mark(frame, at, BAD, f"no entry for {value:g}")
        for at, curve in self._curves:
            value = float(frame.values[at])
            frame.values[at] = np.interp(value, curve[:, 0], curve[:, 1])
            if not curve[0, 0] <= value <= curve[-1, 0]:
                quality = UNCERTAIN if self._options.outside == "clip" else BAD
                marked += _mark(frame, at, quality, f"{value:g} lies outside the curve")
        return frame, marked


class OneHotOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`codes` by tag: `product = [1, 2]` becomes `product.is_1` and `product.is_2`, 1 or 0; `keep` the tag itself too.

    Another code is none of them: all of its tags are marked by `on_fail`.
    """

    codes: dict[str, Codes]
    keep: bool = False
    on_fail: OnFail = "bad"


class OneHot(Stateless):
    """A category as numbers that a model can weigh. They are as good as the tag that they come from."""

    def __init__(self, options: OneHotOptions, context: StepContext) -> None:
        self._options = options
        self._kept: list[int] = []
        self._groups: list[tuple[int, np.ndarray[Any, Any]]] = []
        self._names: tuple[str, ...] = ()

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        o = self._options
        selected(names, o.codes)
        self._kept = [at for at, name in enumerate(names) if o.keep or name not in o.codes]
        self._groups = [(names.index(tag), np.array(codes, np.float64)) for tag, codes in o.codes.items()]
        made = [f"{tag}.is_{code}" for tag, codes in o.codes.items() for code in codes]
        self._names = (*(names[at] for at in self._kept), *made)
        return self._names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        values, quality = [frame.values[self._kept]], [frame.quality[self._kept]]
        reasons = {place: frame.reasons[at] for place, at in enumerate(self._kept) if at in frame.reasons}
        marked, size = 0, len(self._kept)
        for at, codes in self._groups:
            hot = codes == frame.values[at]
            grade, reason = int(frame.quality[at]), frame.reasons.get(at, "")
            if grade < BAD and not hot.any():
                grade, reason = max(grade, QUALITY_OF[self._options.on_fail]), f"no code for {frame.values[at]:g}"
                marked += len(codes)
            values.append(hot.astype(np.float64))
            quality.append(np.full(len(codes), grade, np.uint8))
            reasons |= {size + place: reason for place in range(len(codes)) if reason}
            size += len(codes)
        frame.names, frame.reasons = self._names, reasons
        frame.values, frame.quality = np.concatenate(values), np.concatenate(quality)
        return frame, marked


def _mark(frame: Frame, at: int, quality: int, reason: str) -> int:
    if frame.quality[at] >= quality:
        return 0
    frame.quality[at] = quality
    frame.reasons[at] = reason
    return 1


STEPS: dict[str, tuple[type[Options], Any]] = {
    "transform.lookup": (LookupOptions, Lookup),
    "transform.one_hot": (OneHotOptions, OneHot),
}
