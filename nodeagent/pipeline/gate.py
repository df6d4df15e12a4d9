"""`gate`: evaluate only while the machine runs, and a while after it started to."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

from nodeagent.frame import BAD, Frame
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import StepContext, selected

IDLE_REASON: Final = "machine idle"
SETTLING_REASON: Final = "settling"
IDLE_REASONS: Final = {IDLE_REASON, SETTLING_REASON}
_CONDITION: Final = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(>=|<=|==|!=|>|<)\s*(-?\d+(?:\.\d+)?)\s*")
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


class GateOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`when`: "tag > number". `settle`: frames to wait after it has become true."""

    when: str
    settle: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if not _CONDITION.fullmatch(self.when):
            raise ValueError("'when' is a tag, one of > < >= <= == !=, and a number: \"speed > 500\"")


class Gate:
    """Marks all values Bad while the condition is false or not known, and for `settle` frames after it became true."""

    def __init__(self, options: GateOptions, context: StepContext) -> None:
        match = _CONDITION.fullmatch(options.when)
        assert match is not None
        self._tag, self._compare, self._limit = match[1], _COMPARE[match[2]], float(match[3])
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
        if known and self._compare(float(frame.values[self._at]), self._limit):
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
