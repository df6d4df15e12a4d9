"""`gate`: evaluate only while the machine runs, and a while after it started to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from nodeagent.frame import BAD, Frame
from nodeagent.pipeline import condition
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import StepContext, selected

IDLE_REASON: Final = "machine idle"
SETTLING_REASON: Final = "settling"
IDLE_REASONS: Final = {IDLE_REASON, SETTLING_REASON}


class GateOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`when`: "tag > number". `settle`: frames to wait after it has become true."""

    when: str
    settle: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        condition.read(self.when)


class Gate:
    """Marks all values Bad while the condition is false or not known, and for `settle` frames after it became true."""

    def __init__(self, options: GateOptions, context: StepContext) -> None:
        self._when = condition.read(options.when)
        self._tag = self._when.tag
        self._settle = options.settle
        self._open_frames = 0
        self._at = 0
        self.warm = True

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        selected(names, [self._tag])
        self._at = names.index(self._tag)
        self._open_frames = 0
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        known = frame.quality[self._at] < BAD
        if known and self._when.holds(float(frame.values[self._at])):
            self._open_frames = min(self._open_frames + 1, self._settle + 1)
        else:
            self._open_frames = 0
        if self._open_frames > self._settle:
            return frame, 0
        return frame, frame.mark_all(BAD, self._reason(frame, known))

    def state(self) -> dict[str, Any]:
        return {"open_frames": self._open_frames}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._open_frames = int(state["open_frames"])

    def _reason(self, frame: Frame, known: bool) -> str:
        if not known:
            return f"{self._tag} is not known: {frame.reasons.get(self._at, 'bad')}"
        return SETTLING_REASON if self._open_frames else IDLE_REASON


STEPS: dict[str, tuple[type[Options], Any]] = {"gate": (GateOptions, Gate)}
