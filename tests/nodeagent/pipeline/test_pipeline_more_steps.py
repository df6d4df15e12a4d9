"""Steps that mend, thin out, translate and look back: their edges, and what a successor goes on with."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from nodeagent.frame import BAD, GOOD, UNCERTAIN
from nodeagent.pipeline import registry, state
from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.options import convert
from nodeagent.pipeline.steps import units

NAN = float("nan")
Q = ("q",)


def leaving(step: Any, frame_of: Any, values: Any, names: tuple[str, ...] = Q) -> list[float | None]:
    """What leaves, frame by frame: the first value, NaN for a Bad one, None where nothing does."""
    found = []
    for value in values:
        frame, _ = step.apply(frame_of(names, [value]))
        found.append(None if frame is None else NAN if frame.quality[0] == BAD else float(frame.values[0]))
    return found


def same(found: list[Any], wanted: list[Any]) -> bool:
    return [repr(value) for value in found] == [repr(value) for value in wanted]


def test_a_gap_longer_than_max_gap_is_not_mended_at_all(step_of, frame_of) -> None:
    step = step_of("clean.interpolate", Q, max_gap=2)
    found = leaving(step, frame_of, [1.0, NAN, NAN, NAN, 5.0, 6.0, 7.0])
    assert same(found, [None, None, 1.0, NAN, NAN, NAN, 5.0])


def test_an_interpolated_value_lies_on_the_line_over_time_and_not_over_frames(step_of, frame_of, clock) -> None:
    step = step_of("clean.interpolate", Q, max_gap=1)
    step.apply(frame_of(Q, [0.0]))
    step.apply(frame_of(Q, [NAN]))
    clock.now_us += 8_000_000
    frame, marked = step.apply(frame_of(Q, [10.0]))
    assert (frame.values[0], frame.quality[0], marked) == (1.0, UNCERTAIN, 1)


@pytest.mark.parametrize(
    ("word", "options"),
    [
        ("clean.interpolate", {"max_gap": 2}),
        ("clean.median", {"window": 4}),
        ("transform.lag", {"frames": {"q": [1, 3]}}),
        ("transform.diff", {"tags": ["q"], "per": "second"}),
    ],
)
def test_a_successor_goes_on_as_if_it_had_run_all_along(step_of, frame_of, word: str, options: Any) -> None:
    values = [1.0, 2.0, NAN, 4.0, 8.0, NAN, 16.0, 3.0, 5.0, 9.0]
    frames = [frame_of(Q, [value]) for value in values]
    whole, first, second = (step_of(word, Q, **options) for _ in range(3))
    expected = [whole.apply(frame.copy())[0] for frame in frames]
    for frame in frames[:5]:
        first.apply(frame.copy())
    second.restore(state.decode(state.encode(first.state())))
    for frame, want in zip(frames[5:], expected[5:], strict=True):
        found = second.apply(frame.copy())[0]
        np.testing.assert_array_equal(found.values, want.values)
        np.testing.assert_array_equal(found.quality, want.quality)
        assert found.reasons == want.reasons


def test_the_median_is_that_of_numpy_over_the_usable_values(step_of, frame_of) -> None:
    values = np.random.default_rng(3).normal(size=60)
    values[::7] = NAN
    step = step_of("clean.median", Q, window=5)
    for at, found in enumerate(leaving(step, frame_of, values)):
        window = values[max(0, at - 4) : at + 1]
        if np.isfinite(values[at]):
            assert found == pytest.approx(np.nanmedian(window))
        else:
            assert repr(found) == "nan"


def test_what_a_swinging_door_leaves_tells_every_frame_to_within_its_band(step_of, frame_of) -> None:
    rng = np.random.default_rng(5)
    values = np.cumsum(rng.normal(size=2000))
    step = step_of("clean.swinging_door", Q, band={"q": 2.0}, max_time="1h")
    kept: list[tuple[int, float]] = []
    times = []
    for value in values:
        frame = frame_of(Q, [value])
        times.append(frame.received_us)
        left, _ = step.apply(frame)
        if left is not None:
            kept.append((left.received_us, float(left.values[0])))
    last = times.index(kept[-1][0])
    told = np.interp(times[: last + 1], *zip(*kept, strict=True))
    assert np.abs(told - values[: last + 1]).max() <= 2.0 + 1e-9
    assert len(kept) < len(values) / 4


def test_a_swinging_door_shows_each_change_of_quality_from_both_sides(step_of, frame_of) -> None:
    step = step_of("clean.swinging_door", Q, band={"q": 1.0})
    found = leaving(step, frame_of, [1.0, 1.0, NAN, NAN, 1.0, 1.0, 1.0])
    assert same(found, [1.0, None, 1.0, NAN, NAN, 1.0, None])


def test_a_swinging_door_lets_a_frame_pass_after_max_time(step_of, frame_of) -> None:
    step = step_of("clean.swinging_door", Q, band={"q": 1.0}, max_time="3s")
    assert same(leaving(step, frame_of, [1.0] * 8), [1.0, None, None, None, 1.0, None, None, 1.0])


def test_a_sample_sent_twice_is_left_out_and_an_equal_one_of_another_time_is_not(step_of, frame_of) -> None:
    step = step_of("clean.dedupe", Q)
    first = frame_of(Q, [5.0])
    assert step.apply(first.copy())[0] is not None
    assert step.apply(first.copy()) == (None, 1)
    later = frame_of(Q, [5.0])
    later.source_us = 1
    assert step.apply(later)[0] is not None
    worse = later.copy()
    worse.mark_all(UNCERTAIN, "held")
    assert step.apply(worse)[0] is not None


@pytest.mark.parametrize(
    ("value", "source", "target", "found"),
    [
        (100.0, "degC", "degF", 212.0),
        (-40.0, "degF", "degC", -40.0),
        (1.0, "bar", "psi", 14.503774),
        (1.0, "hp", "kW", 0.745700),
        (1500.0, "rpm", "Hz", 25.0),
        (1.0, "gal/min", "l/min", 3.785412),
        (1.0, "g", "m/s2", 9.80665),
        (50.0, "%", "1", 0.5),
    ],
)
def test_units_are_those_of_their_definitions(value: float, source: str, target: str, found: float) -> None:
    factor, offset = units.between(source, target)
    assert value * factor + offset == pytest.approx(found, rel=1e-6)


def test_every_unit_there_and_back_is_the_same() -> None:
    for kind in units.KINDS.values():
        for source in kind:
            for target in kind:
                (a, b), (c, d) = units.between(source, target), units.between(target, source)
                assert (7.0 * a + b) * c + d == pytest.approx(7.0, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("word", "options", "says"),
    [
        ("transform.unit", {"convert": {"t": ["degC", "bar"]}}, "degC is temperature and bar is pressure"),
        ("transform.unit", {"convert": {"t": ["celsius", "K"]}}, "no unit 'celsius'"),
        ("transform.lookup", {}, "say 'codes' or 'points'"),
        ("transform.lookup", {"points": {"a": [[1, 0], [1, 2]]}}, "rise from left to right"),
        ("transform.lookup", {"codes": {"a": {"x": 1}}}, "x"),
        ("transform.lookup", {"codes": {"a": {"1": 1}}, "points": {"a": [[0, 0], [1, 2]]}}, "both"),
        ("transform.lag", {"frames": {"q": [0]}}, ">= 1"),
        ("transform.resample", {"every": "1us"}, "1ms or longer"),
        ("clean.median", {"window": 1}, ">= 2"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_in_words(word: str, options: Any, says: str) -> None:
    kind, _ = registry.step(word)
    with pytest.raises(msgspec.ValidationError, match=says):
        convert(options, kind)


def test_a_curve_that_clips_is_uncertain_outside(step_of, frame_of) -> None:
    step = step_of("transform.lookup", Q, points={"q": [[0, 0], [10, 100]]}, outside="clip")
    frame, _ = step.apply(frame_of(Q, [12.0]))
    assert (frame.values[0], frame.quality[0], frame.reasons) == (100.0, UNCERTAIN, {0: "12 lies outside the curve"})


def test_a_category_hands_its_quality_to_what_is_made_of_it(step_of, frame_of) -> None:
    step = step_of("transform.one_hot", ("p", "q"), codes={"p": [1, 2]}, keep=True)
    frame = frame_of(("p", "q"), [2, 5])
    frame.mark(np.array([True, False]), UNCERTAIN, "held")
    made, _ = step.apply(frame)
    assert made.names == ("p", "q", "p.is_1", "p.is_2")
    assert made.values.tolist() == [2, 5, 0, 1]
    assert made.quality.tolist() == [UNCERTAIN, GOOD, UNCERTAIN, UNCERTAIN]
    assert made.reasons == {0: "held", 2: "held", 3: "held"}


def test_a_stepped_resample_takes_the_last_value_before_the_point(step_of, frame_of, clock) -> None:
    step = step_of("transform.resample", Q, every="2s")
    clock.now_us = 500_000
    assert same(leaving(step, frame_of, [1.0, 2.0, 3.0, 4.0]), [None, 1.0, None, 3.0])


def test_align_stands_before_every_other_step(engine_of) -> None:
    clip = '[[step]]\nuse = "clean.clip"\nlimits = { speed = [0, 1] }\n'
    align = '[[step]]\nuse = "transform.align"\nmax_age = "2s"\n'
    with pytest.raises(ConfigError, match="stands before every other step"):
        engine_of(clip + align)
    assert engine_of(align + clip)._join.max_age_us == 2_000_000
    assert engine_of(clip)._join.max_age_us == 10_000_000
