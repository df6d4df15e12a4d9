"""window, derive, transform.scale and gate: arithmetic against the same done plainly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.frame import BAD, GOOD, UNCERTAIN
from nodeagent.pipeline.steps.aggregates import WHOLE, aggregate
from nodeagent.pipeline.steps.derive import DeriveOptions, names_in

Make = Callable[..., Any]
ALL = [
    "Average",
    "TimeAverage",
    "Minimum",
    "Maximum",
    "Range",
    "StandardDeviationSample",
    "Start",
    "End",
    "Delta",
    "Count",
    "PercentGood",
]


def pushed(step: Any, frame_of: Make, rows: Any, names: tuple[str, ...]) -> list[Any]:
    return [frame for row in rows if (frame := step.apply(frame_of(names, row))[0]) is not None]


def test_a_tumbling_window_gives_each_aggregate_of_each_tag(step_of: Make, frame_of: Make) -> None:
    step = step_of("window", ("a", "b"), size=4, aggregates=ALL)
    rows = np.array([[1, 10], [2, 20], [4, 10], [3, 20], [7, 7]], float)
    (frame,) = pushed(step, frame_of, rows, ("a", "b"))
    found = dict(zip(frame.names, frame.values.tolist(), strict=True))
    assert found["a.Average"] == 2.5
    assert found["a.TimeAverage"] == pytest.approx((1.5 + 3 + 3.5) / 3)
    assert (found["a.Minimum"], found["a.Maximum"], found["a.Range"]) == (1, 4, 3)
    assert found["a.StandardDeviationSample"] == pytest.approx(math.sqrt(5 / 3))
    assert (found["b.Start"], found["b.End"], found["b.Delta"]) == (10, 20, 10)
    assert (found["a.Count"], found["a.PercentGood"]) == (4, 100)


def test_a_sliding_window_gives_a_result_every_step_over_the_newest_frames(step_of: Make, frame_of: Make) -> None:
    step = step_of("window", ("a",), size=3, every=2)
    frames = pushed(step, frame_of, np.arange(1.0, 10.0)[:, None], ("a",))
    assert [frame.values[0] for frame in frames] == [2.0, 4.0, 6.0, 8.0]


def test_the_newest_value_of_a_sliding_window_is_its_end_and_the_oldest_its_start(
    step_of: Make, frame_of: Make
) -> None:
    step = step_of("window", ("a",), size=3, every=1, aggregates=["Start", "End"])
    frames = pushed(step, frame_of, np.arange(1.0, 7.0)[:, None], ("a",))
    assert [frame.values.tolist() for frame in frames] == [[1, 3], [2, 4], [3, 5], [4, 6]]


def test_just_enough_usable_values_make_an_uncertain_window(step_of: Make, frame_of: Make) -> None:
    step = step_of("window", ("a",), size=10, min_percent_good=80)
    for number in range(10):
        frame = frame_of(("a",), [np.nan if number < 2 else 1.0])
        frame.mark_all(UNCERTAIN if number == 5 else GOOD, "spike")
        result, _ = step.apply(frame)
    assert (result.quality.tolist(), result.reasons) == ([UNCERTAIN], {0: "70 % good, spike"})


@pytest.mark.parametrize(("missing", "quality"), [(0, GOOD), (2, GOOD), (3, BAD)])
def test_a_window_is_as_good_as_the_share_of_its_values(
    step_of: Make, frame_of: Make, missing: int, quality: int
) -> None:
    rows = np.ones((10, 1))
    rows[:missing] = np.nan
    (frame,) = pushed(step_of("window", ("a",), size=10, min_percent_good=80), frame_of, rows, ("a",))
    assert frame.quality.tolist() == [quality]
    assert frame.reasons == ({0: "70 % usable, missing"} if quality else {})


@pytest.mark.parametrize(("as_bad", "quality"), [(False, UNCERTAIN), (True, BAD)])
def test_uncertain_values_make_an_uncertain_window_or_a_bad_one(
    step_of: Make, frame_of: Make, as_bad: bool, quality: int
) -> None:
    step = step_of("window", ("a",), size=2, treat_uncertain_as_bad=as_bad)
    for _ in range(2):
        frame = frame_of(("a",), [1.0])
        frame.mark_all(UNCERTAIN, "spike")
        result, _ = step.apply(frame)
    assert result.quality.tolist() == [quality]


def test_a_tag_without_one_usable_value_is_bad_and_not_zero(step_of: Make, frame_of: Make) -> None:
    step = step_of("window", ("a", "b"), size=3, aggregates=["Average", "Maximum"])
    (frame,) = pushed(step, frame_of, [[1, np.nan]] * 3, ("a", "b"))
    assert frame.quality.tolist() == [GOOD, BAD, GOOD, BAD]
    assert frame.reasons[1] == "missing"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=20))
def test_the_time_average_of_any_values_lies_between_the_least_and_the_greatest(values: list[float]) -> None:
    column = np.array(values)[:, None]
    times = np.cumsum(np.arange(1.0, len(values) + 1))
    found = aggregate("TimeAverage", column, times, np.zeros(column.shape, np.uint8))[0]
    known = column[np.isfinite(column)]
    if known.size == 0:
        assert math.isnan(found)
    else:
        assert known.min() - 1e-6 <= found <= known.max() + 1e-6


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_an_aggregate_of_a_window_without_gaps_is_bit_for_bit_that_of_the_general_way(name: str) -> None:
    random = np.random.default_rng(7)
    times, quality = np.arange(30.0), np.zeros((30, 5), np.uint8)
    for scale in (1e-9, 1.0, 1e12):
        values = random.standard_normal((30, 5)) * scale + random.standard_normal(5) * scale * 100
        quick, general = (aggregate(name, values, times, quality, whole=whole) for whole in (True, False))
        assert quick.tobytes() == general.tobytes()


def test_settle_counts_from_the_moment_the_machine_runs(step_of: Make, frame_of: Make) -> None:
    step = step_of("gate", ("speed", "x"), when="speed >= 500", settle=2)
    speeds = (0, 500, 600, 600, 600, 400, 600)
    frames = pushed(step, frame_of, [[speed, 1] for speed in speeds], ("speed", "x"))
    assert [int(frame.quality[1]) for frame in frames] == [BAD, BAD, BAD, GOOD, GOOD, BAD, BAD]
    assert [frame.reasons.get(1) for frame in frames][:2] == ["machine idle", "settling"]


def test_a_gate_is_shut_while_its_tag_is_not_known(step_of: Make, frame_of: Make) -> None:
    frame, _ = step_of("gate", ("speed",), when="speed < 500").apply(frame_of(("speed",), [np.nan]))
    assert frame.quality.tolist() == [BAD]


def test_scale_is_linear_by_tag(step_of: Make, frame_of: Make) -> None:
    step = step_of("transform.scale", ("a", "b"), scale={"a": 0.1}, offset={"b": -5})
    assert step.apply(frame_of(("a", "b"), [20, 20]))[0].values.tolist() == [2.0, 15.0]


def test_a_derived_tag_is_as_good_as_the_worst_it_is_made_of(step_of: Make, frame_of: Make) -> None:
    step = step_of("derive", ("a", "b"), tags={"dp": "a - b", "twice": "2 * dp"})
    frame = frame_of(("a", "b"), [5.0, 2.0])
    frame.mark(np.array([False, True]), UNCERTAIN, "spike")
    result, marked = step.apply(frame)
    assert result.names == ("a", "b", "dp", "twice")
    assert result.values.tolist() == [5.0, 2.0, 3.0, 6.0]
    assert (result.quality.tolist(), marked) == ([GOOD, UNCERTAIN, UNCERTAIN, UNCERTAIN], 2)
    assert result.reasons[2] == "b spike"


@pytest.mark.parametrize("text", ["a / b", "log(b)", "sqrt(0 - a)", "exp(a * 1000)", "(0 - a) ** 0.5"])
def test_arithmetic_without_an_answer_is_bad(step_of: Make, frame_of: Make, text: str) -> None:
    frame, _ = step_of("derive", ("a", "b"), tags={"x": text}).apply(frame_of(("a", "b"), [5.0, 0.0]))
    assert (frame.quality.tolist()[2], frame.reasons[2]) == (BAD, "no result")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "a.__class__.__base__()",
        "(lambda: 1)()",
        "[1][0]",
        "a if b else 1",
        "a and b",
        "'x' * 9",
        "f'{a}'",
        "open(a)",
        "max(a)",
        "a; b",
        "True",
        "1j",
        "a" * 501,
        "-" * 200 + "a",
    ],
)
def test_what_is_not_arithmetic_is_refused_when_the_file_is_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"arithmetic|takes|nested|longer"):
        DeriveOptions(tags={"x": text})


_leaf = st.sampled_from(["a", "b"]) | st.integers(0, 9).map(str)
_expression = st.recursive(
    _leaf,
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | st.tuples(st.sampled_from(["max", "min"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})")
        | inner.map(lambda e: f"(-{e})")
    ),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(_expression, st.floats(-100, 100), st.floats(-100, 100))
def test_a_derived_value_is_what_python_says(text: str, a: float, b: float) -> None:
    from nodeagent.frame import good
    from nodeagent.pipeline.steps.derive import Derive

    step = Derive(DeriveOptions(tags={"x": text}), None)  # type: ignore[arg-type]
    step.bind(("a", "b"))
    frame, _ = step.apply(good(("a", "b"), [a, b], source_us=0, received_us=0))
    assert frame is not None
    try:
        expected = float(eval(text, {"a": a, "b": b, "max": max, "min": min}))
    except ZeroDivisionError:
        expected = math.nan
    assert frame.values[2] == expected or (math.isnan(frame.values[2]) and not math.isfinite(expected))
    assert set(names_in("x", text)) <= {"a", "b"}
