"""validate.*: what is marked, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nodeagent.frame import BAD, GOOD, UNCERTAIN

Make = Callable[..., Any]
AB = ("a", "b")


def test_range_marks_only_what_lies_outside_its_own_limits(step_of: Make, frame_of: Make) -> None:
    step = step_of("validate.range", AB, limits={"a": [0, 1]}, on_fail="uncertain")
    frame, marked = step.apply(frame_of(AB, [1.5, 1.5]))
    assert (frame.quality.tolist(), marked, frame.reasons) == ([UNCERTAIN, GOOD], 1, {0: "out of range"})


def test_range_takes_its_limits_as_inside(step_of: Make, frame_of: Make) -> None:
    step = step_of("validate.range", AB, limits={"a": [0, 1], "b": [0, 1]})
    assert step.apply(frame_of(AB, [0.0, 1.0]))[1] == 0


def test_a_value_that_is_bad_already_is_not_counted_again(step_of: Make, frame_of: Make) -> None:
    frame, marked = step_of("validate.range", ("a",), low=0.0).apply(frame_of(("a",), [np.nan]))
    assert (marked, frame.reasons) == (0, {0: "missing"})


@pytest.mark.parametrize("sample", [60.0, -60.0, np.nan])
def test_one_sample_outside_makes_a_waveform_bad(step_of: Make, frame_of: Make, sample: float) -> None:
    wave = np.zeros(100)
    wave[7] = sample
    frame, _ = step_of("validate.range", ("v",), low=-50.0, high=50.0).apply(frame_of(("v",), [0], wave))
    assert frame.quality.tolist() == [BAD]


def test_a_step_that_time_allows_is_believed_at_once_and_one_that_it_does_not_is_not(
    step_of: Make, frame_of: Make
) -> None:
    step = step_of("validate.rate_of_change", ("a",), limits={"a": 10.0})
    qualities = [int(step.apply(frame_of(("a",), [v]))[0].quality[0]) for v in (0.0, 9.0, 60.0, 12.0, 12.0)]
    assert qualities == [GOOD, GOOD, BAD, GOOD, GOOD]


def test_a_real_step_is_believed_when_it_could_have_been(step_of: Make, frame_of: Make) -> None:
    step = step_of("validate.rate_of_change", ("a",), limits={"a": 10.0})
    qualities = [int(step.apply(frame_of(("a",), [v]))[0].quality[0]) for v in (0.0, 25.0, 25.0, 25.0, 25.0)]
    assert qualities == [GOOD, BAD, BAD, GOOD, GOOD]


def test_a_value_that_repeats_too_often_is_a_flatline_until_it_moves(step_of: Make, frame_of: Make) -> None:
    step = step_of("validate.flatline", AB, max_repeat=3, tags=["a"])
    qualities = [step.apply(frame_of(AB, [v, 1.0]))[0].quality.tolist() for v in (1, 1, 1, 1, 2, 2)]
    assert [q[0] for q in qualities] == [GOOD, GOOD, GOOD, BAD, GOOD, GOOD]
    assert all(q[1] == GOOD for q in qualities)


def test_a_dead_sensor_shows_inside_its_waveform(step_of: Make, frame_of: Make) -> None:
    step = step_of("validate.flatline", ("v",), max_repeat=200)
    wave = np.random.default_rng(0).normal(size=1000)
    assert step.apply(frame_of(("v",), [0], wave))[1] == 0
    wave[300:501] = 0.5
    frame, marked = step.apply(frame_of(("v",), [0], wave))
    assert (marked, frame.reasons) == (1, {0: "flatline"})


def test_stale_is_judged_by_arrival_and_not_by_the_devices_clock(step_of: Make, frame_of: Make, clock: Any) -> None:
    step = step_of("validate.stale", ("a",), max_age="1s")
    frame = frame_of(("a",), [1.0])  # its source time is 1970
    assert step.apply(frame)[1] == 0
    clock.now_us += 1_000_001
    assert step.apply(frame)[1] == 1


def test_few_missing_samples_are_bridged_and_many_make_the_waveform_bad(step_of: Make, frame_of: Make) -> None:
    step = step_of("validate.missing", ("v",), max_share=0.02)
    wave = np.arange(100.0)
    wave[50] = np.nan
    frame, marked = step.apply(frame_of(("v",), [0], wave))
    assert (marked, frame.blob[50]) == (0, 50.0)
    wave[10:20] = np.nan
    assert step.apply(frame_of(("v",), [0], wave))[1] == 1


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((64, 64), np.uint8), "image too dark"),
        (np.full((64, 64), 250, np.uint8), "image too bright"),
        (np.full((64, 64), 128, np.uint8), "image not sharp"),
        (np.full((10, 64), 128, np.uint8), "image of 10x64 is too small"),
        (None, "not an image"),
    ],
)
def test_a_picture_that_cannot_be_judged_is_bad_with_the_cause(
    step_of: Make, frame_of: Make, image: Any, reason: str
) -> None:
    step = step_of("validate.image", ("c",), min_size=[64, 64], mean_range=[20, 235], min_sharpness=5.0)
    frame, _ = step.apply(frame_of(("c",), [0], image))
    assert (frame.quality.tolist(), frame.reasons) == ([BAD], {0: reason})
