"""The pipeline at work: frames in, outcomes out; synchronous, with no thread, no network and no clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nodeagent.clock import Clock
from nodeagent.frame import BAD, GOOD, UNCERTAIN, Frame
from nodeagent.pipeline import registry, state
from nodeagent.pipeline.config import ModelOptions, PipelineConfig
from nodeagent.pipeline.context import Context, ContextOptions
from nodeagent.pipeline.decide import Decide, Decision
from nodeagent.pipeline.errors import ModelFailed
from nodeagent.pipeline.inputs import Feeds, Inputs, Tensor, split, stack
from nodeagent.pipeline.join import Join
from nodeagent.pipeline.models import Loaded, Models, RunModel
from nodeagent.pipeline.outcome import ERROR, IDLE, SKIPPED, Outcome
from nodeagent.pipeline.section import Section
from nodeagent.pipeline.stage import Seen, bind_all, restore_common, stages_of, state_of
from nodeagent.pipeline.step import StepContext
from nodeagent.pipeline.steps.gate import IDLE_REASONS
from nodeagent.pipeline.steps.past import AlignOptions
from nodeagent.protocol import StageTelemetry, Tap
from nodeagent.sources.source import SourceOptions

OUTPUT_VALUES_MAX: Final = 4096
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
        self.tap: Callable[[Tap], None] | None = None
        self.errors_total = 0
        self._clock = clock
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
        self._model_seen = Seen("model")
        self._decide_seen = Seen(f"decide {config.decide.use}")
        about = None if config.context is None else config.context.options
        assert about is None or isinstance(about, ContextOptions)
        self._context = Context(about)
        self._names: tuple[str, ...] = ()
        self._last: Decision | None = None
        if all(source.id in known for source in config.sources):
            self._bind(tuple(name for source in config.sources for name in known[source.id]))

    @property
    def warm(self) -> bool:
        """Whether every window is full, so that outcomes no longer depend on when this engine was started."""
        carried = self._models.recurrence.asked >= self._options.warm_up
        return bool(self._names) and carried and all(stage.step.warm for stage in self._stages)

    def push(self, frame: Frame) -> list[Outcome]:
        """Takes one frame through the pipeline; what it led to, oldest first, often nothing."""
        return self.push_many((frame,))

    def push_many(self, frames: Sequence[Frame]) -> list[Outcome]:
        """As `push` for frames that came together; the model sees up to `batch_max` rows at once where it can."""
        ready = [leaving for frame in frames if (leaving := self._through_steps(frame)) is not None]
        size = self._options.batch_max if self._inputs.batchable and self._models.plain else 1
        return [outcome for at in range(0, len(ready), size) for outcome in self._evaluate(ready[at : at + size])]

    def stages(self) -> list[StageTelemetry]:
        """What passed and what was marked, from the source to the decision."""
        steps = [stage.seen for stage in self._stages]
        return [seen.telemetry() for seen in (self._source_seen, *steps, self._model_seen, self._decide_seen)]

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

    def _through_steps(self, frame: Frame) -> tuple[Frame, str] | None:
        """What leaves the last step, and the context of the frame that made it leave."""
        joined = self._join.join(frame)
        if joined is None:
            return None
        if joined.names != self._names:
            self._bind(joined.names)
        passing, about = joined.copy(), self._context.of(joined)
        self._pass(self._source_seen, passing, int(np.count_nonzero(passing.quality)))
        for stage in self._stages:
            leaving = stage.apply(passing)
            if leaving is None:
                return None
            passing = leaving
            if self.tap is not None:
                self.tap(tapped(stage.seen.name, passing, self._context.last))
        return passing, about

    def _pass(self, seen: Seen, frame: Frame, marked: int) -> None:
        seen.saw(frame, marked)
        if self.tap is not None:
            self.tap(tapped(seen.name, frame, self._context.last))

    def _evaluate(self, ready: Sequence[tuple[Frame, str]]) -> list[Outcome]:
        frames = [frame for frame, _ in ready]
        judged = [(frame, *self._inputs.quality(frame)) for frame in frames]
        rows: dict[int, Feeds] = {}
        failed: dict[int, str] = {}
        for at, (frame, quality, _) in enumerate(judged):
            if quality < BAD or self._options.on_bad_input == "run":
                try:
                    rows[at] = self._inputs.row(frame)
                except ModelFailed as error:
                    failed[at] = str(error)
        said, why = self._answers(rows, {at: frames[at].received_us for at in rows})
        failed |= why
        return [
            self._outcome(frame, quality, reason, rows.get(at), said.get(at), failed.get(at), ready[at][1])
            for at, (frame, quality, reason) in enumerate(judged)
        ]

    def _answers(
        self, rows: dict[int, Feeds], at_us: Mapping[int, int]
    ) -> tuple[dict[int, dict[str, npt.NDArray[Any]]], dict[int, str]]:
        """What the model said to each row, and why it said nothing."""
        if not rows:
            return {}, {}
        if not self._models.plain:
            return self._asked(rows, at_us)
        try:
            answers = split(self._models.run(stack(list(rows.values()))), len(rows))
        except ModelFailed as error:
            return {}, dict.fromkeys(rows, str(error))
        return dict(zip(rows, answers, strict=True)), {}

    def _asked(
        self, rows: dict[int, Feeds], at_us: Mapping[int, int]
    ) -> tuple[dict[int, dict[str, npt.NDArray[Any]]], dict[int, str]]:
        """Row by row in order, where a model carries state or others are asked after it."""
        said: dict[int, dict[str, npt.NDArray[Any]]] = {}
        why: dict[int, str] = {}
        for at, feeds in rows.items():
            try:
                said[at] = self._models.ask(feeds, at_us[at])
            except ModelFailed as error:
                why[at] = str(error)
        return said, why

    def _outcome(
        self,
        frame: Frame,
        quality: int,
        reason: str,
        feeds: Feeds | None,
        answer: dict[str, npt.NDArray[Any]] | None,
        failure: str | None,
        context: str,
    ) -> Outcome:
        if answer is not None:
            try:
                decision = self._last = self._decide.decide(answer, frame.received_us)
            except ModelFailed as error:
                answer, failure = None, str(error)
        if failure is not None:
            self.errors_total += 1
            decision, quality, reason = self._decide.bad(ERROR), BAD, failure
        elif answer is None:
            decision, quality, reason = self._without_model(frame, reason)
        self._model_seen.saw(frame, int(quality != GOOD))
        self._decide_seen.saw(_as_frame(frame, decision, quality, reason), int(decision.score is None))
        if self.tap is not None:
            self.tap(tapped(self._decide_seen.name, _as_frame(frame, decision, quality, reason), context))
        return Outcome(
            wall_us=self._clock.wall_us(),
            source_us=frame.source_us,
            latency_us=max(0, self._clock.boottime_us() - frame.received_us),
            score=decision.score,
            label=decision.label,
            decision=decision.decision,
            quality=quality,
            reason=reason,
            inputs=None if feeds is None else _flat(feeds, None),
            outputs=None if answer is None else _flat(answer, OUTPUT_VALUES_MAX),
            alarm=decision.alarm,
            context=context,
        )

    def _without_model(self, frame: Frame, reason: str) -> tuple[Decision, int, str]:
        """What stands when the inputs are Bad: the last decision where the pipeline says hold, otherwise none."""
        idle = self._inputs.reasons(frame) <= IDLE_REASONS
        if self._options.on_bad_input == "hold" and self._last is not None and not idle:
            return self._last, UNCERTAIN, f"held: {reason}"
        return self._decide.bad(IDLE if idle else SKIPPED), BAD, reason


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


def _flat(arrays: Mapping[str, npt.NDArray[Any]], values_max: int | None) -> npt.NDArray[np.float32]:
    parts = [array.reshape(-1) for array in arrays.values() if np.issubdtype(array.dtype, np.number)]
    flat = np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)
    return flat if values_max is None else flat[:values_max]


def _as_frame(frame: Frame, decision: Decision, quality: int, reason: str) -> Frame:
    score = np.nan if decision.score is None else decision.score
    reasons = {0: reason} if reason else {}
    return Frame(
        (decision.decision,),
        np.array([score]),
        np.array([quality], np.uint8),
        reasons,
        frame.source_us,
        frame.received_us,
    )


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
