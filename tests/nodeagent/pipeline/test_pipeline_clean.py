"""clean.*: measured against dirt whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nodeagent.frame import BAD, GOOD, UNCERTAIN
from nodeagent.sources.simulators import pump

Make = Callable[..., Any]
FLOOR = {"speed": 60, "q_in": 4, "p_suc": 0.1, "p_dis": 0.4, "power": 2, "t_brg": 2, "vib": 1}


def run(step: Any, frame_of: Make, sweeps: Any, names: tuple[str, ...] = pump.TAGS) -> tuple[Any, Any]:
    frames = [step.apply(frame_of(names, row))[0] for row in sweeps]
    return np.array([frame.values for frame in frames]), np.array([frame.quality for frame in frames])


def test_hampel_finds_nearly_all_spikes_and_touches_almost_nothing_else(step_of: Make, frame_of: Make) -> None:
    clean = pump.pump(3000, seed=31, start_s=30_000)
    dirt, truth = pump.dirty(clean, seed=2, spike=0.004, missing=0.0)
    # A spike is only one where it leaves the band that plants call noise: times 0, -1, 3.5 and 20 nearly always do.
    spikes = (truth == 1) & (np.abs(dirt - clean) > np.array(list(FLOOR.values())))
    values, quality = run(step_of("clean.hampel", pump.TAGS, window=7, n_sigma=6, min_step=FLOOR), frame_of, dirt)
    marked = quality == UNCERTAIN
    recall = (marked & spikes).sum() / spikes.sum()
    false = (marked & (truth == 0)).sum()
    assert spikes.sum() > 40
    assert recall > 0.97
    assert false <= 0.001 * (truth == 0).sum()
    mended = marked & spikes
    scale = np.array(list(FLOOR.values()))
    assert np.max(np.abs(values - clean)[mended] / np.broadcast_to(scale, clean.shape)[mended]) < 2.0


def test_without_the_floor_a_quiet_tag_would_be_all_spikes(step_of: Make, frame_of: Make) -> None:
    quiet = np.ones((60, 1))
    quiet[30::3] += 0.01
    _, with_floor = run(step_of("clean.hampel", ("a",), min_step={"a": 0.1}), frame_of, quiet, ("a",))
    _, without = run(step_of("clean.hampel", ("a",)), frame_of, quiet, ("a",))
    assert (with_floor == GOOD).all()
    assert (without == UNCERTAIN).any()


def test_hampel_lets_a_real_step_through_after_half_its_window(step_of: Make, frame_of: Make) -> None:
    sweeps = np.concatenate([np.zeros(20), np.full(20, 100.0)])[:, None]
    sweeps = sweeps + np.random.default_rng(0).normal(size=sweeps.shape)
    values, _ = run(step_of("clean.hampel", ("a",), window=7), frame_of, sweeps, ("a",))
    assert np.abs(values[20:23]).max() < 5
    assert values[24:].min() > 90


def test_hampel_never_sees_bad_values(step_of: Make, frame_of: Make) -> None:
    sweeps = np.random.default_rng(0).normal(10, 0.1, (40, 1))
    sweeps[12:20] = np.nan
    sweeps[21] = 99.0
    values, quality = run(step_of("clean.hampel", ("a",), window=7), frame_of, sweeps, ("a",))
    assert (quality[12:20] == BAD).all()
    assert np.isfinite(values[20:]).all()
    assert quality[21, 0] == UNCERTAIN
    assert values[21, 0] < 11


def test_hold_last_bridges_every_gap_that_is_short_enough_and_no_longer_one(step_of: Make, frame_of: Make) -> None:
    clean = pump.pump(2000, seed=3)
    dirt, truth = pump.dirty(clean, seed=4, spike=0.0, missing=0.003, dropouts=4)
    values, quality = run(step_of("clean.hold_last", pump.TAGS, max_hold=5), frame_of, dirt)
    gone = truth > 0
    age = np.zeros(gone.shape, int)
    for at in range(len(gone)):
        age[at] = np.where(gone[at], (age[at - 1] if at else 0) + 1, 0)
    assert (quality[gone & (age <= 5)] == UNCERTAIN).all()
    assert (quality[gone & (age > 5)] == BAD).all()
    assert (quality[~gone] == GOOD).all()
    assert np.isfinite(values[quality < BAD]).all()


def test_a_held_value_says_what_it_stands_for(step_of: Make, frame_of: Make) -> None:
    step = step_of("clean.hold_last", ("a",), max_hold=1)
    step.apply(frame_of(("a",), [7.0]))
    frame, marked = step.apply(frame_of(("a",), [np.nan]))
    assert (frame.values.tolist(), frame.reasons, marked) == ([7.0], {0: "held: missing"}, 1)


def test_nothing_is_held_before_there_was_a_value(step_of: Make, frame_of: Make) -> None:
    frame, _ = step_of("clean.hold_last", ("a",), max_hold=5).apply(frame_of(("a",), [np.nan]))
    assert frame.quality.tolist() == [BAD]


def test_clip_marks_what_it_moves(step_of: Make, frame_of: Make) -> None:
    frame, marked = step_of("clean.clip", ("a", "b"), limits={"a": [0, 10]}).apply(frame_of(("a", "b"), [12.0, 12.0]))
    assert (frame.values.tolist(), frame.quality.tolist(), marked) == ([10.0, 12.0], [UNCERTAIN, GOOD], 1)


def test_deadband_holds_small_moves_until_its_time_is_over(step_of: Make, frame_of: Make) -> None:
    step = step_of("clean.deadband", ("a",), band={"a": 0.5}, max_time="3s")
    values = [float(step.apply(frame_of(("a",), [v]))[0].values[0]) for v in (1.0, 1.4, 1.6, 1.7, 1.8, 1.9, 2.0)]
    assert values == [1.0, 1.0, 1.6, 1.6, 1.6, 1.9, 1.9]


@pytest.mark.parametrize(
    ("word", "options"),
    [
        ("clean.hampel", {"window": 5}),
        ("clean.hold_last", {"max_hold": 3}),
        ("clean.deadband", {"band": {"a": 0.2}}),
        ("validate.rate_of_change", {"limits": {"a": 3.0}}),
        ("validate.flatline", {"max_repeat": 2}),
        ("gate", {"when": "a > 0", "settle": 2}),
        ("window", {"size": 7, "every": 2, "aggregates": ["Average", "Delta", "TimeAverage"]}),
    ],
)
def test_a_step_restored_from_its_state_goes_on_as_if_nothing_had_been(
    step_of: Make, frame_of: Make, word: str, options: Any
) -> None:
    from nodeagent.pipeline.state import decode, encode

    rng = np.random.default_rng(1)
    rows = rng.normal(1, 1, (40, 1)).round(1)
    rows[rng.random((40, 1)) < 0.1] = np.nan
    frames = [frame_of(("a",), row) for row in rows]
    first, second = step_of(word, ("a",), **options), step_of(word, ("a",), **options)
    for frame in frames[:17]:
        first.apply(frame.copy())
    second.restore(decode(encode(first.state())))
    for frame in frames[17:]:
        (one, marked_one), (two, marked_two) = first.apply(frame.copy()), second.apply(frame.copy())
        assert marked_one == marked_two
        assert (one is None) == (two is None)
        if one is not None and two is not None:
            assert np.array_equal(one.values, two.values, equal_nan=True)
            assert one.reasons == two.reasons
