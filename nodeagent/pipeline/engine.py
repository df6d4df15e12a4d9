"""The pipeline at work: frames in, outcomes out; synchronous, with no thread, no network and no clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from nodeagent.clock import Clock
from nodeagent.frame import Frame
from nodeagent.pipeline import registry, state
from nodeagent.pipeline.block import Block, block_of, blockable
from nodeagent.pipeline.config import ModelOptions, PipelineConfig
from nodeagent.pipeline.context import Context, ContextOptions
from nodeagent.pipeline.decide import Decide
from nodeagent.pipeline.evaluate import Evaluation
from nodeagent.pipeline.inputs import Inputs, Tensor
from nodeagent.pipeline.join import Join
from nodeagent.pipeline.models import Loaded, Models, RunModel
from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.section import Section
from nodeagent.pipeline.stage import Seen, bind_all, restore_common, stages_of, state_of
from nodeagent.pipeline.step import StepContext
from nodeagent.pipeline.steps.past import AlignOptions
from nodeagent.protocol import StageTelemetry, Tap
from nodeagent.sources.source import SourceOptions

BLOCK_SWEEPS_MIN: Final = 2  # fewer are as quick one by one
JOIN_AGE_US_MAX: Final = 10_000_000


class Engine:
    """One pipeline. `run_model` takes one array an input, batch axis first, and may raise ModelFailed.

    `model_outputs`: names to check the score against. `more`: models that `[[then]]` names. `model_key` tells models
    apart, so that a carried state goes to the same one only. `tap`, where set, gets each frame after each stage. Raises
    ConfigError where the tags, the steps and the model do not fit together: at once where the sources know their tags,
    otherwise at the first frame.
    """

    def __init__(
        self,
        config: PipelineConfig,
        *,
        run_model: RunModel,
        model_inputs: Sequence[Tensor],
        clock: Clock,
        model_outputs: Sequence[str] | None = None,
        more: Mapping[str, Loaded] | None = None,
        model_key: str = "",
    ) -> None:
        if any(section.options is None for section in (*config.steps, config.model, *config.then, config.decide)):
            raise ValueError("a pipeline that was read without bindings cannot run")
        self.config = config
        self._tap: Callable[[Tap], None] | None = None
        options = config.model.options
        assert isinstance(options, ModelOptions)
        self._options = options
        first = Loaded(run_model, model_inputs, tuple(model_outputs or ()))
        self._models = Models(config.model, config.then, first, more or {}, key=model_key)
        try:
            self._inputs = Inputs(options.inputs, self._models.tensors)
        except ValueError as error:
            raise config.model.error("inputs", str(error)) from error
        decide_options, decide = registry.decision(config.decide.use)
        assert isinstance(config.decide.options, decide_options)
        self._decide: Decide = decide(config.decide.options)
        _check_score(config.decide, None if model_outputs is None else self._models.outputs)
        known = known_tags(config)
        self._join = Join(tuple(source.id for source in config.sources), known, join_age_us(config))
        self._stages = stages_of(config.steps, StepContext(clock=clock, sample_rate_hz=sample_rate_hz(config)))
        self._source_seen = Seen(f"source {self._join.lead}")
        score = str(getattr(config.decide.options, "score", ""))
        self._evaluation = Evaluation(
            options, self._inputs, self._models, self._decide, score, config.decide.use, clock
        )
        about = None if config.context is None else config.context.options
        assert about is None or isinstance(about, ContextOptions)
        self._context = Context(about)
        self._names: tuple[str, ...] = ()
        if all(source.id in known for source in config.sources):
            self._bind(tuple(name for source in config.sources for name in known[source.id]))

    @property
    def warm(self) -> bool:
        """Whether every window is full, so that outcomes no longer depend on when this engine was started."""
        carried = self._models.recurrence.asked >= self._options.warm_up
        return bool(self._names) and carried and all(stage.step.warm for stage in self._stages)

    @property
    def errors_total(self) -> int:
        """Evaluations that failed."""
        return self._evaluation.errors_total

    @property
    def tap(self) -> Callable[[Tap], None] | None:
        """Gets each frame after each stage, where somebody looks."""
        return self._tap

    @tap.setter
    def tap(self, tap: Callable[[Tap], None] | None) -> None:
        self._tap = tap
        name = self._evaluation.decide_seen.name
        self._evaluation.shown = None if tap is None else lambda frame, about: tap(tapped(name, frame, about))

    def push(self, frame: Frame) -> list[Outcome]:
        """Takes one frame through the pipeline; what it led to, oldest first, often nothing."""
        return self.push_many((frame,))

    def push_many(self, frames: Sequence[Frame]) -> list[Outcome]:
        """As `push` for frames that came together: steps and model see many at once where they can.

        What leaves is the same to the last bit. The model sees up to `batch_max` rows at once.
        """
        size = self._evaluation.batch_max
        sweeps = [joined for frame in frames if (joined := self._join.join(frame)) is not None]
        if len(sweeps) >= BLOCK_SWEEPS_MIN and self._tap is None and blockable(sweeps):
            return self._push_block(sweeps, size)
        ready = [leaving for frame in sweeps if (leaving := self._through_steps(frame)) is not None]
        return [
            outcome for at in range(0, len(ready), size) for outcome in self._evaluation.frames(ready[at : at + size])
        ]

    def _push_block(self, frames: Sequence[Frame], size: int) -> list[Outcome]:
        if frames[0].names != self._names:
            self._bind(frames[0].names)
        contexts = [self._context.of(frame) for frame in frames]
        block: Block | None = block_of(frames)
        assert block is not None
        self._source_seen.saw_block(block, int(np.count_nonzero(block.quality)))
        for stage in self._stages:
            block = stage.apply_block(block)
            if block is None:
                return []
        about = [contexts[at] for at in block.origin]
        outcomes = []
        for at in range(0, len(block), size):
            part, of = block.part(at, min(at + size, len(block))), about[at : at + size]
            if size == 1:
                outcomes += self._evaluation.frames([(part.frame(0), of[0])])
            else:
                outcomes += self._evaluation.block(part, of)
        return outcomes

    def stages(self) -> list[StageTelemetry]:
        """What passed and what was marked, from the source to the decision."""
        steps = [stage.seen for stage in self._stages]
        return [
            seen.telemetry()
            for seen in (self._source_seen, *steps, self._evaluation.model_seen, self._evaluation.decide_seen)
        ]

    def state(self) -> bytes:
        """Everything a successor needs to go on where this engine stands."""
        model = {"key": self._models.key, "state": self._models.recurrence.state()}
        decide = {"key": repr(self.config.decide.options), "state": self._decide.state()}
        return state.encode(state_of(self._stages, self._names) | {"decide": decide, "model": model})

    def restore(self, data: bytes) -> int:
        """Goes on from another engine's `state`; how many steps could. From the first step that differs on, afresh.

        Raises StateRefused for bytes that no engine wrote.
        """
        old = state.decode(data)
        try:
            names, decide = tuple(old["names"]), old["decide"]
            if not names:
                return 0
            if self._names and self._names != names:
                return 0
            self._bind(names)
            restored = restore_common(self._stages, old)
            if restored == len(self._stages) == len(old["steps"]) and decide["key"] == repr(self.config.decide.options):
                self._decide.restore(decide["state"])
                if (model := old.get("model")) is not None and model["key"] == self._models.key:
                    self._models.recurrence.restore(model["state"])
            return restored
        except (KeyError, TypeError, ValueError) as error:
            raise state.StateRefused("not the state of an engine") from error

    def _bind(self, names: tuple[str, ...]) -> None:
        at_model = bind_all(self._stages, names)
        try:
            self._inputs.bind(at_model)
        except ValueError as error:
            raise self.config.model.error("inputs", str(error)) from error
        if self.config.context is not None:
            try:
                self._context.bind(names)
            except ValueError as error:
                raise self.config.context.error("tags", str(error)) from error
        self._names = names

    def _through_steps(self, joined: Frame) -> tuple[Frame, str] | None:
        """What leaves the last step, and the context of the frame that made it leave."""
        if joined.names != self._names:
            self._bind(joined.names)
        passing, about = joined.copy(), self._context.of(joined)
        self._pass(self._source_seen, passing, int(np.count_nonzero(passing.quality)))
        for stage in self._stages:
            leaving = stage.apply(passing)
            if leaving is None:
                return None
            passing = leaving
            if self._tap is not None:
                self._tap(tapped(stage.seen.name, passing, self._context.last))
        return passing, about

    def _pass(self, seen: Seen, frame: Frame, marked: int) -> None:
        seen.saw(frame, marked)
        if self._tap is not None:
            self._tap(tapped(seen.name, frame, self._context.last))


def _check_score(decide: Section, model_outputs: Sequence[str] | None) -> None:
    score = str(getattr(decide.options, "score", "")).partition(":")[0]
    if model_outputs is not None and score not in model_outputs:
        raise decide.error("score", f"the model has no output {score!r}", model_outputs)


def known_tags(config: PipelineConfig) -> dict[str, tuple[str, ...]]:
    """The tags of each source that knows them before its data comes."""
    known = {}
    for source in config.sources:
        if not isinstance(source.options, SourceOptions):
            continue
        tags = source.options.tag_names(source.id)
        if tags is not None:
            known[source.id] = tags
    return known


def join_age_us(config: PipelineConfig) -> int:
    """How old what a following source said may be. Raises ConfigError for a `transform.align` behind another step."""
    for at, step in enumerate(config.steps):
        if isinstance(step.options, AlignOptions):
            if at:
                raise step.error("", "transform.align stands before every other step")
            return round(step.options.max_age * 1e6)
    return JOIN_AGE_US_MAX


def sample_rate_hz(config: PipelineConfig) -> float | None:
    """The sample rate of the first source that has one."""
    for source in config.sources:
        rate: float | None = source.given.get("sample_rate")
        if rate is not None:
            return float(rate)
    return None


def tapped(stage: str, frame: Frame, context: str) -> Tap:
    """A frame as it is shown."""
    return Tap(
        stage=stage,
        wall_us=frame.source_us,
        names=list(frame.names),
        values=[value if np.isfinite(value) else None for value in frame.values.tolist()],
        quality=frame.quality.tolist(),
        reasons=[f"{frame.names[at]}: {reason}" for at, reason in frame.reasons.items()],
        context=context,
    )
