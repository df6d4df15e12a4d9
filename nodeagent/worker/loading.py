"""From an activation's files to a model that reproduced its golden vectors and an engine that fits it. Blocking."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from nodeagent.clock import Clock
from nodeagent.model.batch_probe import Profile, probe
from nodeagent.model.golden import Golden
from nodeagent.model.inference import Model, RunFailed, RunPolicy
from nodeagent.pipeline import config as pipeline_config
from nodeagent.pipeline import drift
from nodeagent.pipeline.config import ModelOptions, PipelineConfig
from nodeagent.pipeline.drift import Watch
from nodeagent.pipeline.engine import Engine
from nodeagent.pipeline.errors import ModelFailed
from nodeagent.pipeline.inputs import Feeds
from nodeagent.pipeline.models import Loaded as Further
from nodeagent.spec import Activation


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a worker works with. `config`, `engine`, `drift` are None for a bundle that only answers over HTTP."""

    model: Model
    profile: Profile
    config: PipelineConfig | None
    engine: Engine | None
    drift: Watch | None
    golden_cases: int
    more: Mapping[str, Model] = dataclasses.field(default_factory=dict)


def load(activation: Activation, clock: Clock, policy: RunPolicy | None = None) -> Loaded:
    """Loads and tests. Raises ModelRefused, RunFailed, GoldenMismatch, ConfigError, BaselineRefused, OSError."""
    config = read_pipeline(activation)
    model = Model.load(activation.model_path, name=activation.model, policy=policy)
    cases = 0
    if activation.golden_path:
        cases = Golden.read(Path(activation.golden_path)).check(model.run, [spec.name for spec in model.inputs])
    more = {name: Model.load(path, name=name, policy=policy) for name, path in activation.more_models.items()}
    engine, watch = None, None
    if config is not None:
        engine = engine_of(config, model, more, clock, model_key=activation.model_digest)
        watch = _drift(activation, config)
    return Loaded(model, probe(model), config, engine, watch, cases, more)


def engine_of(
    config: PipelineConfig, model: Model, more: Mapping[str, Model], clock: Clock, *, model_key: str = ""
) -> Engine:
    """An engine over loaded models. Raises ConfigError where they do not fit the pipeline."""
    return Engine(
        config,
        run_model=runner(model),
        model_inputs=model_inputs(model),
        clock=clock,
        model_outputs=[spec.name for spec in model.outputs],
        more={name: asked(each) for name, each in more.items()},
        model_key=model_key,
    )


def asked(model: Model) -> Further:
    """A model as a pipeline asks it."""
    return Further(runner(model), model_inputs(model), [spec.name for spec in model.outputs])


def _drift(activation: Activation, config: PipelineConfig) -> Watch:
    """The watch over what the model sees, by the bundle's baseline. Raises BaselineRefused, OSError."""
    assert isinstance(config.model.options, ModelOptions)
    data = Path(activation.baseline_path).read_bytes() if activation.baseline_path else None
    return drift.of_bundle(data, config.model.options.inputs)


def read_pipeline(activation: Activation) -> PipelineConfig | None:
    """The activation's pipeline under its bindings, None where it has none. Raises ConfigError, OSError."""
    if not activation.pipeline_path:
        return None
    text = Path(activation.pipeline_path).read_text("utf-8")
    return pipeline_config.load(text, bindings=activation.bindings, file="pipeline.toml")


@dataclasses.dataclass(frozen=True)
class ModelInput:
    """An input as the pipeline asks for it; a shape that is not known fits nothing."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def model_inputs(model: Model) -> list[ModelInput]:
    """The model's inputs."""
    return [ModelInput(spec.name, spec.datatype, tuple(spec.shape or ())) for spec in model.inputs]


def runner(model: Model) -> Callable[[Feeds], Mapping[str, npt.NDArray[Any]]]:
    """The model as an engine calls it."""

    def run(feeds: Feeds) -> Mapping[str, npt.NDArray[Any]]:
        try:
            return model.run(feeds)
        except RunFailed as error:
            raise ModelFailed(str(error)) from error

    return run
