"""Many sweeps at once give what they give one after another: values, qualities, reasons, records and carried state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nodeagent.frame import BAD, UNCERTAIN, Frame, good
from nodeagent.pipeline import registry
from nodeagent.pipeline.block import Block, BlockStep, block_of, each_by_itself
from nodeagent.pipeline.engine import Engine
from nodeagent.pipeline.options import convert
from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.step import Step, StepContext

NAMES = ("speed", "q_in", "p_suc", "p_dis", "power", "t_brg", "vib")
SIZES = (1, 2, 7, 32, 256)
SWEEPS = 270
# Every verb that takes sweeps of numbers, with options that each of its branches meets.
VERBS: dict[str, list[dict[str, Any]]] = {
    "validate.range": [{"limits": {"speed": [0.5, 1.5]}, "on_fail": "uncertain"}, {"low": 0.2, "high": 2.0}],
    "validate.missing": [{}, {"tags": ["vib"], "on_fail": "uncertain"}],
    "validate.rate_of_change": [{"limits": {"speed": 1.0}}],
    "validate.flatline": [{"max_repeat": 3}],
    "validate.stale": [{"max_age": "5s"}],
    "clean.clip": [{"limits": {"speed": [0.8, 1.2]}}],
    "clean.hampel": [{"window": 7, "min_step": {"vib": 0.3}}, {"window": 5, "on_fail": "bad"}, {"tags": ["speed"]}],
    "clean.hold_last": [{"max_hold": 2}, {"max_hold": 5, "tags": ["vib", "power"]}],
    "clean.deadband": [{"band": {"speed": 0.2}}],
    "gate": [{"when": "speed > 0.9", "settle": 2}, {"when": "vib < 1.5"}],
    "derive": [{"tags": {"dp": "p_dis - p_suc", "ratio": "dp / max(q_in - 1, 0)", "e": "exp(900 * vib)", "c": "3"}}],
    "transform.lag": [{"frames": {"speed": [1, 5]}}],
    "transform.diff": [{"tags": ["speed"], "per": "second"}],
    "transform.resample": [{"every": "2s", "between": "sloped"}],
    "window": [
        {"size": 5, "every": 1, "aggregates": ["Average", "StandardDeviationSample", "Minimum", "Maximum", "Range"]},
        {"size": 4, "aggregates": ["VarianceSample"], "treat_uncertain_as_bad": True},
        {"size": 30, "every": 7, "tags": ["vib"], "aggregates": ["Average", "StandardDeviationSample"]},
        {"size": 6, "every": 2, "aggregates": ["TimeAverage", "Count", "Delta"]},
    ],
}  # fmt: skip
PUMP = """
[[step]]
use = "validate.range"
limits = { speed = [0.2, 3] }
[[step]]
use = "clean.hampel"
min_step = { vib = 0.4 }
[[step]]
use = "clean.hold_last"
max_hold = 2
[[step]]
use = "gate"
when = "speed > 0.5"
settle = 2
[[step]]
use = "derive"
tags = { dp = "p_dis - p_suc" }
[[step]]
use = "transform.lag"
frames = { dp = [3] }
[[step]]
use = "window"
size = 10
every = 1
aggregates = ["Average", "StandardDeviationSample"]
"""
INPUTS = '["speed.Average", "dp.Average", "vib.StandardDeviationSample", "dp.lag_3.Average"]'


def sweeps(seed: int) -> list[Frame]:
    """Random values with some that are missing, repeated, spiked, late, or marked already: few, then many."""
    rng = np.random.default_rng(seed)
    values = 1 + 0.1 * rng.standard_normal((SWEEPS, len(NAMES)))
    faults = np.repeat((0.003, 0.1), SWEEPS // 2)[:, None]
    values[40:60] = values[40]
    where = rng.random(values.shape)
    values[where < faults] = np.nan
    values[(where > 0.3) & (where < 0.3 + faults)] *= 8
    values[120:150, 0] = 0.0
    late = np.cumsum(rng.choice([0, 1_000_000, 1_000_000, 3_000_000], SWEEPS))
    made = []
    for row, now_us, share in zip(values, late.tolist(), faults, strict=True):
        frame = good(NAMES, row, source_us=now_us + 5, received_us=now_us, source="plc")
        for at in np.flatnonzero(rng.random(len(NAMES)) < share).tolist():
            frame.mark(np.arange(len(NAMES)) == at, int(rng.choice([UNCERTAIN, BAD])), f"of the source {at}")
        made.append(frame)
    return made


def facts(frame: Frame) -> tuple[Any, ...]:
    """All of a frame, so that equal means bit for bit; NaN is NaN."""
    reasons = sorted(frame.reasons.items())
    times = (frame.source_us, frame.received_us, frame.source)
    return frame.names, np.nan_to_num(frame.values, nan=1e300).tobytes(), frame.quality.tobytes(), reasons, *times


def same(one: Any, other: Any) -> bool:
    """Whether two carried states are equal to the last bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    return bool(one == other)


def one_by_one(step: Step, frames: list[Frame]) -> tuple[list[Any], int]:
    left, total = [], 0
    for frame in frames:
        leaving, marked = step.apply(frame.copy())
        total += marked
        if leaving is not None:
            left.append(facts(leaving))
    return left, total


def in_blocks(step: Step, frames: list[Frame], size: int) -> tuple[list[Any], int]:
    left, total = [], 0
    for at in range(0, len(frames), size):
        block: Block | None = block_of(frames[at : at + size])
        assert block is not None
        block, marked = step.apply_block(block) if isinstance(step, BlockStep) else each_by_itself(step, block)
        total += marked
        if block is not None:
            left += [facts(block.frame(row)) for row in range(len(block))]
    return left, total


@pytest.mark.parametrize("verb", VERBS)
def test_a_step_over_blocks_is_the_step_sweep_by_sweep(verb: str, clock: Any) -> None:
    clock.now_us = 200_000_000
    for nth, options in enumerate(VERBS[verb]):
        frames = sweeps(nth)
        kind, make = registry.step(verb)

        def fresh(kind: Any = kind, make: Any = make, options: Any = options) -> Step:
            step: Step = make(convert(options, kind), StepContext(clock=clock))
            step.bind(NAMES)
            return step

        plain = fresh()
        expected = one_by_one(plain, frames)
        for size in SIZES:
            step = fresh()
            assert in_blocks(step, frames, size) == expected, (options, size)
            assert same(step.state(), plain.state()), (options, size)


def said(outcomes: list[Outcome]) -> list[Any]:
    flat = []
    for outcome in outcomes:
        arrays = [None if each is None else each.tobytes() for each in (outcome.inputs, outcome.outputs)]
        flat.append((*outcome._replace(inputs=None, outputs=None), *arrays))
    return flat


@pytest.mark.parametrize(
    ("bad", "decide"),
    [
        ("hold", 'use = "alarm"\nscore = "score"\nhigh = 3.2\ndeadband = 0.1\non_count = 2'),
        ("skip", 'use = "vote"\nscore = "rows:1"\nhigh = 0.1\nk = 2\nn = 3'),
        ("run", 'use = "vote"\nscore = "score"\nhigh = 3.2\nk = 2\nn = 3'),
        ("skip", 'use = "classes"\nscore = "score"\nreject_at = 3.3\nreview_at = 3.1'),
    ],
)
def test_an_engine_makes_the_same_outcomes_of_blocks(
    engine_of: Callable[..., Engine], clock: Any, bad: str, decide: str
) -> None:
    clock.now_us = 200_000_000
    frames = sweeps(7)
    plain = engine_of(PUMP, inputs=INPUTS, bad=bad, decide=decide)
    expected = said([outcome for frame in frames for outcome in plain.push(frame)])
    for size in SIZES:
        engine = engine_of(PUMP, inputs=INPUTS, bad=bad, decide=decide)
        turns = [frames[at : at + size] for at in range(0, len(frames), size)]
        assert said([outcome for turn in turns for outcome in engine.push_many(turn)]) == expected
        assert engine.state() == plain.state()
        assert engine.stages() == plain.stages()
        assert engine.errors_total == plain.errors_total


def test_no_step_changes_the_sweeps_that_it_is_given_at_once(engine_of: Callable[..., Engine]) -> None:
    frames = sweeps(3)
    before = [facts(frame) for frame in frames]
    engine_of(PUMP, inputs=INPUTS).push_many(frames)
    assert [facts(frame) for frame in frames] == before
