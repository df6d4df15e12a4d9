"""A step at its place: bound to its tags, counted, and able to say what last left it."""

from __future__ import annotations

import hashlib
from typing import Any

from nodeagent.frame import GOOD, QUALITY_WORDS, Floats, Frame
from nodeagent.pipeline import registry
from nodeagent.pipeline.block import Block, BlockStep, each_by_itself
from nodeagent.pipeline.section import Section
from nodeagent.pipeline.step import Step, StepContext
from nodeagent.protocol import StageTelemetry

_SHOWN_VALUES = 3


class Seen:
    """What passed one point of a pipeline."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames_total = 0
        self.marked_total = 0
        self._names: tuple[str, ...] = ()
        self._values: Floats | None = None
        self._shape: tuple[int, ...] = ()
        self._qualities = b""
        self._reason = ""

    def saw(self, frame: Frame, marked: int) -> None:
        """Counts a frame that leaves here. Cheap: text is made when somebody asks."""
        self.frames_total += 1
        self.marked_total += marked
        self.show(frame)

    def show(self, frame: Frame) -> None:
        """Keeps what is told of the last frame, and counts none."""
        self._names = frame.names
        self._values = frame.values[:_SHOWN_VALUES].copy()
        self._shape = () if frame.blob is None else frame.blob.shape
        self._qualities = frame.quality.tobytes()
        self._reason = next(iter(frame.reasons.values())) if frame.reasons else ""

    def saw_block(self, block: Block, marked: int) -> None:
        """As `saw` for each row."""
        self.frames_total += len(block) - 1
        self.saw(block.frame(len(block) - 1), marked)

    def telemetry(self) -> StageTelemetry:
        """The counters now."""
        shown = "" if self._values is None else self._shown(self._values)
        return StageTelemetry(
            name=self.name,
            frames_total=self.frames_total,
            marked_total=self.marked_total,
            last=shown,
            quality=self.quality,
            reason=self._reason,
        )

    @property
    def quality(self) -> int:
        """The worst quality in the last frame."""
        return max(self._qualities, default=GOOD)

    def _shown(self, values: Floats) -> str:
        pairs = [f"{name} {value:.5g}" for name, value in zip(self._names, values.tolist(), strict=False)]
        if self._shape:  # of a waveform or picture its size, since its samples are no one number
            pairs[0] = f"{self._names[0]} [{'x'.join(map(str, self._shape))}]"
        more = len(self._names) - _SHOWN_VALUES
        return ", ".join(pairs) + (f", {more} more" if more > 0 else "")

    def __repr__(self) -> str:
        return f"Seen({self.name} frames={self.frames_total} marked={self.marked_total} {QUALITY_WORDS[self.quality]})"


class Stage:
    """One step of a pipeline at work. `key` is the same for two steps that do the same."""

    def __init__(self, section: Section, name: str, context: StepContext) -> None:
        _, make = registry.step(section.use)
        self.section = section
        self.step: Step = make(section.options, context)
        self._of_blocks = self.step.apply_block if isinstance(self.step, BlockStep) else None
        self.seen = Seen(name)
        self.key = hashlib.sha256(f"{section.use} {section.options!r} {context.sample_rate_hz}".encode()).hexdigest()

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """As Step.bind; raises ConfigError at the step's line."""
        try:
            return self.step.bind(names)
        except ValueError as error:
            raise self.section.error("", str(error)) from error

    def apply(self, frame: Frame) -> Frame | None:
        """The frame that leaves, None where nothing does yet."""
        leaving, marked = self.step.apply(frame)
        if leaving is None:
            self.seen.marked_total += marked
        else:
            self.seen.saw(leaving, marked)
        return leaving

    def apply_block(self, block: Block) -> Block | None:
        """As `apply` for each row; a step that knows no blocks gets one row after another."""
        at_once = self._of_blocks
        leaving, marked = each_by_itself(self.step, block) if at_once is None else at_once(block)
        if leaving is None:
            self.seen.marked_total += marked
        else:
            self.seen.saw_block(leaving, marked)
        return leaving


def stages_of(sections: tuple[Section, ...], context: StepContext) -> list[Stage]:
    """The steps in order, named by what they use; the second of a kind is `clean.clip#2`."""
    counts: dict[str, int] = {}
    stages = []
    for section in sections:
        counts[section.use] = counts.get(section.use, 0) + 1
        nth = counts[section.use]
        stages.append(Stage(section, section.use if nth == 1 else f"{section.use}#{nth}", context))
    return stages


def bind_all(stages: list[Stage], names: tuple[str, ...]) -> tuple[str, ...]:
    """Tells every step its tags; the tags that reach the model. Raises ConfigError."""
    for stage in stages:
        names = stage.bind(names)
    return names


def state_of(stages: list[Stage], names: tuple[str, ...]) -> dict[str, Any]:
    """What the successor needs, step by step."""
    return {"names": list(names), "steps": [{"key": stage.key, "state": stage.step.state()} for stage in stages]}


def restore_common(stages: list[Stage], state: dict[str, Any]) -> int:
    """Restores the leading steps that are the same in both; what comes after a changed step starts afresh."""
    restored = 0
    for stage, old in zip(stages, state["steps"], strict=False):
        if stage.key != old["key"]:
            break
        try:
            stage.step.restore(old["state"])
        except (ValueError, KeyError, TypeError):
            break
        restored += 1
    return restored
