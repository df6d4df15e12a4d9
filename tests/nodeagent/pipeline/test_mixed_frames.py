"""A waveform or a picture with numbers beside it: each step judges each of them by its own, and none for the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nodeagent.frame import BAD, GOOD
from nodeagent.pipeline.steps.feature import NAMES

Make = Callable[..., Any]
TAGS = ("vib", "speed")
GEOMETRY = {"balls": 9, "ball_dia": 0.3126, "pitch_dia": 1.537}
NOISE = np.random.default_rng(0).normal(size=12_000)


def judged(step: Any, frame: Any) -> list[int]:
    quality: list[int] = step.apply(frame)[0].quality.tolist()
    return quality


def test_a_range_of_the_number_judges_the_number_and_one_of_the_waveform_its_samples(
    step_of: Make, frame_of: Make
) -> None:
    of_speed = step_of("validate.range", TAGS, limits={"speed": [0, 2000]})
    assert judged(of_speed, frame_of(TAGS, [0, 1797], NOISE * 1e9)) == [GOOD, GOOD]
    assert judged(of_speed, frame_of(TAGS, [0, 3000], NOISE)) == [GOOD, BAD]
    of_wave = step_of("validate.range", TAGS, tags=["vib"], low=-50, high=50)
    assert judged(of_wave, frame_of(TAGS, [0, 3000], NOISE * 1e9)) == [BAD, GOOD]


def test_a_dead_sensor_is_flat_inside_its_waveform_and_a_dead_tachometer_over_frames(
    step_of: Make, frame_of: Make
) -> None:
    step = step_of("validate.flatline", TAGS, max_repeat=3)
    assert judged(step, frame_of(TAGS, [0, 1797], np.zeros(2048))) == [BAD, GOOD]
    seen = [judged(step, frame_of(TAGS, [0, 1797], NOISE)) for _ in range(4)]
    assert seen == [[GOOD, GOOD], [GOOD, GOOD], [GOOD, BAD], [GOOD, BAD]]


def test_gaps_in_the_waveform_and_a_missing_number_are_two_things(step_of: Make, frame_of: Make) -> None:
    step = step_of("validate.missing", TAGS)
    gaps = np.where(np.arange(2048) < 100, np.nan, 1.0)
    assert judged(step, frame_of(TAGS, [0, 1797], gaps)) == [BAD, GOOD]
    assert judged(step, frame_of(TAGS, [0, np.nan], NOISE)) == [GOOD, BAD]


def test_a_number_of_the_wrong_type_is_found_beside_a_waveform(step_of: Make, frame_of: Make) -> None:
    step = step_of("validate.type", TAGS, types={"speed": "int"})
    assert judged(step, frame_of(TAGS, [0.5, 1797.5], NOISE)) == [GOOD, BAD]


def test_a_dark_picture_leaves_the_part_number_beside_it_alone(step_of: Make, frame_of: Make) -> None:
    step = step_of("validate.image", ("camera", "part"), mean_range=[20, 235])
    assert judged(step, frame_of(("camera", "part"), [0, 7], np.zeros((64, 64), np.uint8))) == [BAD, GOOD]


@pytest.mark.parametrize(
    ("word", "options", "names"),
    [
        ("feature.vibration", {"rpm": 1797, "bearing": GEOMETRY}, NAMES),
        ("feature.waveform", {"shape": ["rms", "peak"]}, ("rms", "peak")),
    ],
)
def test_what_stands_beside_the_waveform_stands_behind_its_figures(
    step_of: Make, frame_of: Make, word: str, options: dict[str, Any], names: tuple[str, ...]
) -> None:
    frame = frame_of(TAGS, [0, 1797], NOISE)
    frame.mark(np.array([False, True]), BAD, "no tachometer")
    result, marked = step_of(word, TAGS, 12_000.0, **options).apply(frame)
    assert (result.names, result.values[-1], marked) == ((*names, "speed"), 1797, 0)
    assert result.quality.tolist() == [GOOD] * len(names) + [BAD]
    assert result.reasons == {len(names): "no tachometer"}


def test_a_tag_that_is_called_like_a_figure_is_refused(step_of: Make) -> None:
    with pytest.raises(ValueError, match="a tag 'rms' beside the waveform"):
        step_of("feature.waveform", ("vib", "rms"), 12_000.0, shape=["rms"])
