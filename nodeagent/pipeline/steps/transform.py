"""`transform.scale` and `transform.unit`: raw counts to engineering units, and one unit to another."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from nodeagent.frame import Frame
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import Stateless, StepContext, per_tag
from nodeagent.pipeline.steps import units


class ScaleOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """value * scale + offset, each by tag."""

    scale: dict[str, float] = msgspec.field(default_factory=dict)
    offset: dict[str, float] = msgspec.field(default_factory=dict)


class Scale(Stateless):
    """Linear; quality passes as it is."""

    def __init__(self, options: ScaleOptions, context: StepContext) -> None:
        self._options = options
        self._scale = self._offset = np.zeros(0)

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._scale = per_tag(names, self._options.scale, 1.0)
        self._offset = per_tag(names, self._options.offset, 0.0)
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        frame.values = frame.values * self._scale + self._offset
        return frame, 0


class UnitOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`convert` by tag: ["degF", "degC"], from the first unit to the second."""

    convert: dict[str, tuple[str, str]]

    def __post_init__(self) -> None:
        for tag, (source, target) in self.convert.items():
            try:
                units.between(source, target)
            except ValueError as error:
                raise ValueError(f"{tag!r}: {error}") from error


class Unit(Scale):
    """Exact by definition of the units; quality passes as it is."""

    def __init__(self, options: UnitOptions, context: StepContext) -> None:
        found = {tag: units.between(*pair) for tag, pair in options.convert.items()}
        scale = {tag: factor for tag, (factor, _) in found.items()}
        offset = {tag: shift for tag, (_, shift) in found.items()}
        super().__init__(ScaleOptions(scale=scale, offset=offset), context)


STEPS: dict[str, tuple[type[Options], Any]] = {
    "transform.scale": (ScaleOptions, Scale),
    "transform.unit": (UnitOptions, Unit),
}
