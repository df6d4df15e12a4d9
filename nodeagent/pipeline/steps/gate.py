"""`gate`: evaluate only while the machine runs, and a while after it started to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from nodeagent.frame import BAD, Frame
from nodeagent.pipeline import condition
from nodeagent.pipeline.block import Block
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
        self._count(bool(known) and self._when.holds(float(frame.values[self._at])))
        if self._open_frames > self._settle:
            return frame, 0
        return frame, frame.mark_all(BAD, self._reason(frame, known))

    def apply_block(self, block: Block) -> tuple[Block | None, int]:
        known = (block.quality[:, self._at] < BAD).tolist()
        closed: dict[str, list[int]] = {}
        for at, value in enumerate(block.values[:, self._at].tolist()):
            self._count(known[at] and self._when.holds(value))
            if self._open_frames <= self._settle:
                closed.setdefault(self._reason(block.frame(at), known[at]), []).append(at)
        marked = 0
        for reason, rows in closed.items():
            mask = np.zeros(block.quality.shape, np.bool_)
            mask[rows] = True
            marked += block.mark(mask, BAD, reason)
        return block, marked

    def state(self) -> dict[str, Any]:
        return {"open_frames": self._open_frames}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._open_frames = int(state["open_frames"])

    def _count(self, is_open: bool) -> None:
        self._open_frames = min(self._open_frames + 1, self._settle + 1) if is_open else 0

    def _reason(self, frame: Frame, known: bool) -> str:
        if not known:
            return f"{self._tag} is not known: {frame.reasons.get(self._at, 'bad')}"
        return SETTLING_REASON if self._open_frames else IDLE_REASON


STEPS: dict[str, tuple[type[Options], Any]] = {"gate": (GateOptions, Gate)}
