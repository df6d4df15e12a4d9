"""`validate.type` and `validate.quality`: what a tag can be at all, and whether what came is good enough to go on."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np

from nodeagent.frame import BAD, GOOD, UNCERTAIN, Frame, Mask
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import QUALITY_OF, OnFail, Stateless, StepContext, lead, selected

Kind = Literal["bool", "int", "uint", "float"]
_ARTICLE: Final = {"bool": "not 0 or 1", "int": "not a whole number", "uint": "not a whole number from 0 on"}


class TypeOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`types` by tag: bool is 0 or 1, int a whole number, uint one from 0 on, float any number that is finite."""

    types: dict[str, Kind]
    on_fail: OnFail = "bad"

    def __post_init__(self) -> None:
        if not self.types:
            raise ValueError("'types' names no tag")


class Type(Stateless):
    """A value that is none of its tag's type. One that is missing is Bad as that already."""

    def __init__(self, options: TypeOptions, context: StepContext) -> None:
        self._options = options
        self._masks: list[tuple[Kind, Mask]] = []

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        kinds: dict[Kind, list[str]] = {}
        for tag, kind in self._options.types.items():
            kinds.setdefault(kind, []).append(tag)
        self._masks = [(kind, selected(names, tags)) for kind, tags in kinds.items()]
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        values, quality = frame.values, QUALITY_OF[self._options.on_fail]
        with np.errstate(invalid="ignore"):
            whole = values == np.floor(values)
        fits = {
            "bool": (values == 0) | (values == 1),
            "int": whole & np.isfinite(values),
            "uint": whole & np.isfinite(values) & (values >= 0),
            "float": np.isfinite(values),
        }
        if frame.blob is not None:
            fits = {kind: fit | lead(frame) for kind, fit in fits.items()}  # of a waveform its samples are no type
        marked = sum(
            frame.mark(mask & ~fits[kind], quality, _ARTICLE.get(kind, "not finite")) for kind, mask in self._masks
        )
        return frame, marked


class QualityOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`treat_uncertain_as_bad` as in OPC UA Part 13; under `min_percent_good` of `tags` all of them are Bad."""

    tags: tuple[str, ...] | None = None
    treat_uncertain_as_bad: bool = False
    min_percent_good: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0

    def __post_init__(self) -> None:
        if not self.treat_uncertain_as_bad and not self.min_percent_good:
            raise ValueError("say 'treat_uncertain_as_bad', 'min_percent_good', or both")


class Quality(Stateless):
    """Judges qualities and no values: the reason that a value came with is kept behind ours."""

    def __init__(self, options: QualityOptions, context: StepContext) -> None:
        self._options = options
        self._tags: Mask = np.zeros(0, np.bool_)

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._tags = selected(names, self._options.tags)
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        o, marked = self._options, 0
        if o.treat_uncertain_as_bad:
            for at in (self._tags & (frame.quality == UNCERTAIN)).nonzero()[0].tolist():
                only = np.arange(len(frame.names)) == at
                marked += frame.mark(only, BAD, f"uncertain: {frame.reasons.get(at, 'no reason given')}")
        percent = 100.0 * float(np.mean(frame.quality[self._tags] == GOOD)) if self._tags.any() else 100.0
        if percent < o.min_percent_good:
            marked += frame.mark(self._tags, BAD, f"only {percent:.0f} % of the tags are good")
        return frame, marked


STEPS: dict[str, tuple[type[Options], Any]] = {
    "validate.type": (TypeOptions, Type),
    "validate.quality": (QualityOptions, Quality),
}
