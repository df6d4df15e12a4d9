"""The engine: order, batches, bad inputs, state handed over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nodeagent.frame import BAD, GOOD, UNCERTAIN, Frame, absent, good
from nodeagent.pipeline.config import load
from nodeagent.pipeline.engine import Engine
from nodeagent.pipeline.errors import ConfigError, ModelFailed
from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.state import StateRefused
from nodeagent.protocol import Tap

Make = Callable[..., Any]
GATE = '[[step]]\nuse = "gate"\nwhen = "speed > 5"\nsettle = 1\n'
RANGE = '[[step]]\nuse = "validate.range"\nlimits = { speed = [0, 100] }\n'
WINDOW = '[[step]]\nuse = "window"\nsize = 3\naggregates = ["Average"]\n'
HAMPEL = '[[step]]\nuse = "clean.hampel"\nwindow = 3\nmin_step = { speed = 5 }\n'


def facts(outcomes: list[Outcome]) -> list[tuple[float | None, str, int]]:
    return [(outcome.score, outcome.decision, outcome.quality) for outcome in outcomes]


def test_a_good_frame_becomes_one_prediction_with_its_inputs_and_outputs(engine_of: Make, sweep: Make) -> None:
    engine = engine_of(inputs='["speed", "vib"]')
    (outcome,) = engine.push(sweep(speed=3.0, vib=4.0))
    assert (outcome.score, outcome.decision, outcome.quality, outcome.alarm) == (7.0, "normal", GOOD, False)
    assert outcome.inputs.tolist() == [3.0, 4.0]
    assert outcome.outputs.tolist() == [7.0, 3.0, 4.0]


def test_latency_counts_from_the_arrival_of_the_data(engine_of: Make, sweep: Make, clock: Any) -> None:
    engine = engine_of()
    frame = sweep(speed=1.0)
    clock.now_us += 250
    (outcome,) = engine.push(frame)
    assert (outcome.latency_us, outcome.wall_us - outcome.source_us) == (250, 250)


def test_a_bad_input_skips_the_model_and_is_an_outcome_with_the_reason(engine_of: Make, sweep: Make) -> None:
    engine = engine_of(RANGE)
    (outcome,) = engine.push(sweep(speed=200.0))
    assert (outcome.decision, outcome.score, outcome.quality) == ("skipped", None, BAD)
    assert outcome.reason == "speed: out of range"
    assert outcome.inputs is None


def test_only_the_quality_of_what_the_model_sees_counts(engine_of: Make, sweep: Make) -> None:
    (outcome,) = engine_of(RANGE, inputs='["vib"]').push(sweep(speed=200.0))
    assert outcome.quality == GOOD


def test_hold_repeats_the_last_decision_as_uncertain(engine_of: Make, sweep: Make) -> None:
    engine = engine_of(RANGE, bad="hold")
    outcomes = [o for speed in (200.0, 50.0, 200.0) for o in engine.push(sweep(speed=speed))]
    assert facts(outcomes) == [(None, "skipped", BAD), (50.0, "alarm", GOOD), (50.0, "alarm", UNCERTAIN)]
    assert outcomes[2].reason == "held: speed: out of range"


def test_run_asks_the_model_although_the_input_is_bad(engine_of: Make, sweep: Make) -> None:
    (outcome,) = engine_of(RANGE, bad="run").push(sweep(speed=200.0))
    assert facts([outcome]) == [(200.0, "alarm", BAD)]


def test_an_idle_machine_is_idle_and_not_skipped(engine_of: Make, sweep: Make) -> None:
    engine = engine_of(GATE)
    decisions = [o.decision for speed in (0.0, 9.0, 9.0) for o in engine.push(sweep(speed=speed))]
    assert decisions == ["idle", "idle", "normal"]


def test_a_window_over_an_idle_machine_is_idle_too(engine_of: Make, sweep: Make) -> None:
    engine = engine_of(GATE + WINDOW, inputs='["speed.Average"]')
    (outcome,) = [o for _ in range(3) for o in engine.push(sweep(speed=0.0))]
    assert outcome.decision == "idle"


def test_a_model_that_fails_is_an_error_outcome_and_counted(engine_of: Make, sweep: Make) -> None:
    def broken(feeds: Any) -> Any:
        raise ModelFailed("out of memory")

    engine = engine_of(run_model=broken)
    (outcome,) = engine.push(sweep(speed=1.0))
    assert (outcome.decision, outcome.reason, engine.errors_total) == ("error", "out of memory", 1)


def test_a_score_that_is_no_number_is_an_error_and_never_normal(engine_of: Make, sweep: Make) -> None:
    engine = engine_of(run_model=lambda feeds: {"score": np.array([np.nan])})
    (outcome,) = engine.push(sweep(speed=1.0))
    assert (outcome.decision, outcome.quality) == ("error", BAD)


def test_a_batch_gives_what_the_frames_give_one_by_one_in_fewer_calls(engine_of: Make, sweep: Make) -> None:
    calls: list[int] = []

    def model(feeds: Any) -> Any:
        calls.append(len(feeds["X"]))
        return {"score": feeds["X"].sum(axis=1)}

    frames = [sweep(speed=float(speed)) for speed in (3, 200, 12, 40, 5)]
    single = engine_of(RANGE, run_model=model)
    one_by_one = [outcome for frame in frames for outcome in single.push(frame)]
    calls.clear()
    together = engine_of(RANGE, run_model=model).push_many(frames)
    assert facts(together) == facts(one_by_one)
    assert calls == [4]


class OneRow:
    name, shape, datatype = "X", (1, 1), "FP32"


def test_a_model_of_one_row_is_never_given_more(engine_of: Make, sweep: Make) -> None:
    rows: list[int] = []

    def model(feeds: Any) -> Any:
        rows.append(len(feeds["X"]))
        return {"score": feeds["X"].sum(axis=1)}

    engine_of(run_model=model, tensors=[OneRow()]).push_many([sweep(), sweep(), sweep()])
    assert rows == [1, 1, 1]


def test_the_engine_leaves_the_frame_it_was_given_as_it_was(engine_of: Make, sweep: Make) -> None:
    frame = sweep(speed=200.0)
    engine_of(RANGE).push(frame)
    assert frame.quality.tolist() == [GOOD] * 7
    assert frame.reasons == {}


def frames_of(sweep: Make, count: int) -> list[Frame]:
    rng = np.random.default_rng(5)
    frames = [sweep(speed=float(rng.normal(8, 1))) for _ in range(count)]
    frames[9].values[0] = 400.0
    frames[17].values[0] = np.nan
    frames[17].mark(np.isnan(frames[17].values), BAD, "missing")
    return frames


ALARM = 'use = "alarm"\nscore = "score"\nhigh = 8.0\non_count = 2\noff_count = 2'
CHAIN = RANGE + HAMPEL + '[[step]]\nuse = "clean.hold_last"\nmax_hold = 2\n' + GATE


@pytest.mark.parametrize("cut", [1, 4, 10, 18])
def test_a_successor_with_the_state_decides_as_the_first_engine_would_have(
    engine_of: Make, sweep: Make, cut: int
) -> None:
    steps = CHAIN + WINDOW
    frames = frames_of(sweep, 30)
    whole = engine_of(steps, inputs='["speed.Average"]', decide=ALARM)
    expected = [facts(whole.push(frame)) for frame in frames]
    first = engine_of(steps, inputs='["speed.Average"]', decide=ALARM)
    for frame in frames[:cut]:
        first.push(frame)
    second = engine_of(steps, inputs='["speed.Average"]', decide=ALARM)
    assert second.restore(first.state()) == 5
    assert [facts(second.push(frame)) for frame in frames[cut:]] == expected[cut:]


def test_what_comes_after_a_changed_step_starts_afresh(engine_of: Make, sweep: Make) -> None:
    old = engine_of(HAMPEL + RANGE + WINDOW, inputs='["speed.Average"]')
    for _ in range(5):
        old.push(sweep(speed=8.0))
    new = engine_of(HAMPEL + RANGE.replace("100", "90") + WINDOW, inputs='["speed.Average"]')
    assert new.restore(old.state()) == 1
    assert not new.warm


@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"\x80", b"\x81\xa5names\x01"])
def test_bytes_that_no_engine_wrote_are_refused(engine_of: Make, data: bytes) -> None:
    with pytest.raises(StateRefused):
        engine_of().restore(data)


def test_warm_is_when_every_window_is_full(engine_of: Make, sweep: Make) -> None:
    engine = engine_of(HAMPEL + WINDOW.replace("3", "4"), inputs='["speed.Average"]')
    warm = []
    for _ in range(5):
        engine.push(sweep(speed=8.0))
        warm.append(engine.warm)
    assert warm == [False, False, False, True, True]


def test_every_stage_counts_what_passed_and_what_it_marked(engine_of: Make, sweep: Make) -> None:
    engine = engine_of(RANGE + WINDOW, inputs='["speed.Average"]')
    for speed in (8.0, 200.0, 8.0):
        engine.push(sweep(speed=speed))
    counts = {stage.name: (stage.frames_total, stage.marked_total) for stage in engine.stages()}
    assert counts["source plc"] == (3, 0)
    assert counts["validate.range"] == (3, 1)
    assert counts["window"] == (1, 1)
    assert counts["model"] == (1, 1)


def test_the_tap_shows_each_stage_with_values_qualities_and_reasons(engine_of: Make, sweep: Make) -> None:
    taps: list[Tap] = []
    engine = engine_of(RANGE)
    engine.tap = taps.append
    engine.push(sweep(speed=200.0))
    assert [tap.stage for tap in taps] == ["source plc", "validate.range", "decide alarm"]
    assert (taps[0].quality[0], taps[1].quality[0], taps[1].reasons) == (GOOD, BAD, ["speed: out of range"])


def test_a_tag_that_no_step_makes_is_refused_before_any_data_comes(engine_of: Make) -> None:
    with pytest.raises(ConfigError, match="no tag 'sped' at the model"):
        engine_of(inputs='["sped"]')
    with pytest.raises(ConfigError, match="no tag 'sped' here"):
        engine_of(RANGE.replace("speed", "sped"))


TWO = """schema = 1
name = "two"
[[source]]
id = "fast"
type = "simulate"
machine = "bearing"
[[source]]
id = "slow"
type = "simulate"
machine = "bearing"
[model]
inputs = ["fast", "slow"]
[decide]
use = "alarm"
score = "score"
high = 100.0
"""


def test_the_first_source_sets_the_pace_and_the_others_add_the_newest_they_have(clock: Any) -> None:
    class Two:
        name, shape, datatype = "X", (-1, 2), "FP32"

    def model(feeds: Any) -> Any:
        return {"score": feeds["X"].sum(axis=1)}

    engine = Engine(load(TWO, bindings={}), run_model=model, model_inputs=[Two()], clock=clock)

    def arrives(source: str, value: float, seconds: int) -> list[Outcome]:
        clock.now_us = seconds * 1_000_000
        frame = good((source,), [value], source_us=0, received_us=clock.now_us, source=source)
        return engine.push(frame)

    assert [o.reason for o in arrives("fast", 1.0, 1)] == ["slow: nothing yet"]
    assert arrives("slow", 10.0, 2) == []
    assert [o.score for o in arrives("fast", 1.0, 3)] == [11.0]
    assert [o.reason for o in arrives("fast", 1.0, 30)] == ["slow: stale"]


def test_frames_that_did_not_come_keep_the_window_moving(engine_of: Make, sweep: Make, clock: Any) -> None:
    engine = engine_of(WINDOW, inputs='["speed.Average"]')
    engine.push(sweep(speed=8.0))
    names = sweep().names
    gone = absent(names, "no data: refused", source_us=0, received_us=clock.now_us, source="plc")
    outcomes = engine.push_many([gone, gone])
    assert [(o.decision, o.reason) for o in outcomes] == [("skipped", "speed.Average: 33 % usable, no data: refused")]
