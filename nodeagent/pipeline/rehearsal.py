"""A pipeline over recorded data: what `pipeline try` and `pipeline check` do. No sources and no sinks are opened."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import numpy.typing as npt

from nodeagent.clock import SystemClock
from nodeagent.frame import QUALITY_WORDS, Frame, good
from nodeagent.pipeline.config import ModelOptions, PipelineConfig
from nodeagent.pipeline.engine import Engine, known_tags, sample_rate_hz
from nodeagent.pipeline.errors import ModelFailed
from nodeagent.pipeline.inputs import Feeds
from nodeagent.pipeline.stage import bind_all, stages_of
from nodeagent.pipeline.step import StepContext
from nodeagent.protocol import StageTelemetry, Tap
from nodeagent.sources.readings import SUFFIXES, Reading, Readings, Unreadable, each_along_first_axis, read

TAGS_SHOWN: Final = 12
FILES_MAX: Final = 10_000
FRAMES_KEPT_MAX: Final = 1_000


class RehearsalFailed(Exception):
    """The data or the model cannot be used; the text says which and why."""


class _Clock(SystemClock):
    """Time as the recording has it: one period a frame, from now."""

    def __init__(self, period_s: float) -> None:
        self._period_us = round(period_s * 1e6)
        self._passed_us = 0
        self._begun_us = super().wall_us()

    def next(self) -> None:
        self._passed_us += self._period_us

    def boottime_us(self) -> int:
        return self._passed_us

    def wall_us(self) -> int:
        return self._begun_us + self._passed_us


class _AnyInput:
    """Stands for the input of a model that is not there."""

    datatype = "FP32"

    def __init__(self, width: int, name: str = "model") -> None:
        self.name = name
        self.shape = (-1, width)


class Rehearsal:
    """`config` over `data`. Without a model everything before it is shown, and no decision is made.

    Raises ConfigError where tags, steps and model do not fit, RehearsalFailed for data or a model that cannot be read.
    """

    def __init__(self, config: PipelineConfig, data: Path, model: Path | None) -> None:
        self.decisions: dict[str, int] = {}
        self._config = config
        self._source = config.sources[0]
        self._data = data
        self._has_model = model is not None
        period = self._source.given.get("poll") or self._source.given.get("rate") or 1.0
        self._clock = _Clock(float(period))
        run, inputs, outputs = _loaded(model) if model is not None else self._without_model()
        self._engine = Engine(config, run_model=run, model_inputs=inputs, clock=self._clock, model_outputs=outputs)

    @staticmethod
    def check(config: PipelineConfig) -> None:
        """Whether the steps find their tags, as far as the sources know theirs. Raises ConfigError."""
        known = known_tags(config)
        steps_ready = all(step.options is not None for step in config.steps)
        if not steps_ready or any(source.id not in known for source in config.sources):
            return
        stages = stages_of(config.steps, StepContext(clock=SystemClock(), sample_rate_hz=sample_rate_hz(config)))
        names = bind_all(stages, tuple(name for source in config.sources for name in known[source.id]))
        options = config.model.options
        if isinstance(options, ModelOptions):
            lists = [options.inputs] if isinstance(options.inputs, list) else options.inputs.values()
            for tag in (tag for tags in lists for tag in tags):
                if tag not in names:
                    raise config.model.error("inputs", f"there is no tag {tag!r} at the model", names)

    def run(self) -> Iterator[Tap]:
        """Every frame after every stage, in order."""
        taps: deque[Tap] = deque()
        self._engine.tap = taps.append
        for frame in self._frames():
            self._clock.next()
            frame.received_us = self._clock.boottime_us()
            for outcome in self._engine.push(frame):
                if self._has_model:
                    self.decisions[outcome.decision] = self.decisions.get(outcome.decision, 0) + 1
            while taps:
                tap = taps.popleft()
                if self._has_model or not tap.stage.startswith("decide"):
                    yield tap

    def stages(self) -> list[StageTelemetry]:
        """The counters of every stage."""
        return self._engine.stages()[: None if self._has_model else -2]

    def show(self, out: TextIO, *, frames_max: int) -> None:
        """Runs it all, and prints the last frames stage by stage and then the counters."""
        kept: deque[list[Tap]] = deque(maxlen=min(frames_max, FRAMES_KEPT_MAX))
        count = 0
        for tap in self.run():
            if tap.stage.startswith("source "):
                count += 1
                kept.append([])
            if kept:
                kept[-1].append(tap)
        for number, taps in enumerate(kept, count - len(kept) + 1):
            print(f"frame {number}", file=out)
            for tap in taps:
                print(f"  {tap.stage:<24} {_line(tap)}", file=out)
        print(f"{count} frames", file=out)
        for stage in self.stages():
            print(f"  {stage.name:<24} {stage.frames_total:>8} frames {stage.marked_total:>8} marked", file=out)
        if self._has_model:
            decided = ", ".join(f"{count} {word}" for word, count in sorted(self.decisions.items()))
            print(f"decisions: {decided or 'none'}", file=out)
        else:
            print("no model: it ends at what the model would see", file=out)

    def _frames(self) -> Iterator[Frame]:
        tags = known_tags(self._config).get(self._source.id) if self._data.suffix == ".csv" else None
        for path in _files(self._data):
            try:
                readings = read(path, id=self._source.id, tags=tags)
            except Unreadable as error:
                raise RehearsalFailed(f"{path}: {error}") from error
            for reading in self._each(path, readings):
                yield good(
                    readings.names,
                    reading.values,
                    source_us=self._clock.wall_us(),
                    received_us=0,
                    blob=reading.blob,
                    source=self._source.id,
                )

    def _each(self, path: Path, readings: Readings) -> Iterator[Reading]:
        """A .npy of more than one axis is one waveform or picture a row, unless the pipeline looks at pictures."""
        looks_at_pictures = any(step.use.split(".")[0] == "image" for step in self._config.steps)
        blob = next(iter(readings)).blob if readings.readings else None
        rows = 3 if looks_at_pictures else 2
        if path.suffix == ".npy" and blob is not None and blob.ndim >= rows:
            readings = each_along_first_axis(readings)
        return iter(readings)

    def _without_model(self) -> tuple[Any, list[Any], None]:
        options = self._config.model.options
        if not isinstance(options, ModelOptions):
            raise RehearsalFailed(f"the model refers to bindings: {', '.join(sorted(self._config.model.references))}")
        inputs = options.inputs
        tensors: list[Any] = [_AnyInput(len(inputs))]
        if isinstance(inputs, dict):
            tensors = [_AnyInput(len(tags), name) for name, tags in inputs.items()]

        def run(feeds: Feeds) -> Mapping[str, npt.NDArray[Any]]:
            raise ModelFailed("no model")

        return run, tensors, None


def _loaded(path: Path) -> tuple[Any, list[Any], list[str]]:
    from nodeagent.model.inference import Model, ModelRefused, RunFailed
    from nodeagent.worker.loading import model_inputs

    try:
        model = Model.load(path, name=path.stem)
    except ModelRefused as error:
        raise RehearsalFailed(f"{path}: {error}") from error

    def run(feeds: Feeds) -> Mapping[str, npt.NDArray[Any]]:
        try:
            return model.run(feeds)
        except RunFailed as error:
            raise ModelFailed(str(error)) from error

    return run, list(model_inputs(model)), [spec.name for spec in model.outputs]


def _files(data: Path) -> list[Path]:
    if not data.is_dir():
        return [data]
    found = sorted(path for path in data.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not found or len(found) > FILES_MAX:
        raise RehearsalFailed(f"{data}: {len(found)} files of {', '.join(SUFFIXES)}; between 1 and {FILES_MAX} will do")
    return found


def _line(tap: Tap) -> str:
    shown = []
    for name, value, quality in zip(tap.names, tap.values, tap.quality, strict=True):
        number = "-" if value is None else f"{value:.5g}"
        shown.append(f"{name} {number}" if quality == 0 else f"{name} {number} {QUALITY_WORDS[quality]}")
    more = f", {len(shown) - TAGS_SHOWN} more" if len(shown) > TAGS_SHOWN else ""
    why = f"  ({'; '.join(tap.reasons[:3])})" if tap.reasons else ""
    return ", ".join(shown[:TAGS_SHOWN]) + more + why
