"""A clock that stands until a test moves it, and an engine made of a few lines of TOML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from nodeagent.frame import Frame, good
from nodeagent.pipeline.config import load
from nodeagent.pipeline.engine import Engine
from nodeagent.pipeline.step import Step, StepContext

HEAD = """schema = 1
name = "test"
[[source]]
id = "plc"
type = "simulate"
machine = "pump"
"""
TAIL = """
[model]
inputs = {inputs}
on_bad_input = "{bad}"
[decide]
{decide}
"""


class StandingClock:
    """Moves when it is told to. Wall time is a million seconds ahead of boottime."""

    def __init__(self) -> None:
        self.now_us = 0

    def boottime_us(self) -> int:
        return self.now_us

    def wall_us(self) -> int:
        return self.now_us + 1_000_000_000_000

    def boot_id(self) -> str:
        return "boot"


class Tensor:
    def __init__(self, name: str = "X", shape: tuple[int, ...] = (-1, 1), datatype: str = "FP32") -> None:
        self.name, self.shape, self.datatype = name, shape, datatype


def sum_model(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """The score is the sum of the first input's row."""
    rows = next(iter(feeds.values()))
    return {"score": rows.reshape(len(rows), -1).sum(axis=1), "rows": rows}


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def engine_of(clock: StandingClock) -> Callable[..., Engine]:
    def make(
        steps: str = "",
        *,
        inputs: str = '["speed"]',
        decide: str = 'use = "alarm"\nscore = "score"\nhigh = 10.0',
        bad: str = "skip",
        run_model: Any = sum_model,
        tensors: Any = None,
    ) -> Engine:
        text = HEAD + steps + TAIL.format(inputs=inputs, decide=decide, bad=bad)
        width = inputs.count('"') // 2
        return Engine(
            load(text, bindings={}),
            run_model=run_model,
            model_inputs=tensors or [Tensor(shape=(-1, width))],
            clock=clock,
        )

    return make


@pytest.fixture
def sweep(clock: StandingClock) -> Callable[..., Frame]:
    """A frame of the pump's tags, one second after the last: the given ones, the others 1.0."""
    names = ("speed", "q_in", "p_suc", "p_dis", "power", "t_brg", "vib")

    def make(**values: float) -> Frame:
        clock.now_us += 1_000_000
        row = [values.get(name, 1.0) for name in names]
        return good(names, row, source_us=clock.wall_us(), received_us=clock.now_us, source="plc")

    return make


@pytest.fixture
def step_of(clock: StandingClock) -> Callable[..., Step]:
    """A step by its word and options, bound to `names`."""

    def make(word: str, names: tuple[str, ...], rate_hz: float | None = None, **options: Any) -> Step:
        from nodeagent.pipeline import registry
        from nodeagent.pipeline.options import convert

        kind, step = registry.step(word)
        made: Step = step(convert(options, kind), StepContext(clock=clock, sample_rate_hz=rate_hz))
        made.bind(names)
        return made

    return make


@pytest.fixture
def frame_of(clock: StandingClock) -> Callable[..., Frame]:
    def make(names: tuple[str, ...], values: Any, blob: Any = None) -> Frame:
        clock.now_us += 1_000_000
        return good(names, np.asarray(values, float), source_us=0, received_us=clock.now_us, blob=blob)

    return make
