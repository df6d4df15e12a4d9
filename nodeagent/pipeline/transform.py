"""`transform.*`: raw counts to engineering units."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from nodeagent.frame import Frame
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import Stateless, StepContext, per_tag


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


STEPS: dict[str, tuple[type[Options], Any]] = {"transform.scale": (ScaleOptions, Scale)}
