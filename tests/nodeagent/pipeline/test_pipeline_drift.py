"""Drift: silent on data like the training data, loud on data that is not, and clear when it cannot know."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from nodeagent.pipeline.drift import BaselineRefused, Drift, histogram, of_bundle, parse, psi
from nodeagent.pipeline.outcome import Outcome

EDGES = [-1.0, 0.0, 1.0]


def baseline(**change: Any) -> bytes:
    training = np.random.default_rng(0).normal(size=10_000)
    column = {"edges": EDGES, "counts": histogram(training, EDGES).tolist(), "psi_max": {"50": 0.5, "200": 0.1}}
    score = column | {"limit": 2.5, "share_max": {"50": 0.1, "200": 0.05}, "output": "score"}
    return msgspec.json.encode(
        {"schema": 1, "rows": 10_000, "windows": [50, 200], "inputs": {"a": column, "b": column}, "score": score}
        | change
    )


def outcomes(count: int, *, shift: float = 0.0, score: float | None = None, seed: int = 1) -> list[Outcome]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 2)).astype(np.float32)
    rows[:, 1] += shift
    scores = rng.normal(size=count) if score is None else np.full(count, score)
    return [
        Outcome(0, 0, 0, float(s), "", "normal", 0, "", row, None, False) for s, row in zip(scores, rows, strict=True)
    ]


def idle() -> Outcome:
    return Outcome(0, 0, 0, None, "", "idle", 2, "", None, None, False)


def watched(*parts: list[Outcome]) -> str:
    drift = of_bundle(baseline(), ["a", "b"])
    for part in parts:
        drift.saw(part)
    return drift.verdict


def test_data_like_the_training_data_is_no_drift() -> None:
    assert watched(outcomes(2000)) == "ok"


def test_a_shifted_input_is_drift_after_three_windows_and_not_before() -> None:
    assert watched(outcomes(400, shift=1.0)).startswith("watching, 2 of 3 windows: b PSI ")
    assert watched(outcomes(600, shift=1.0)).startswith("drift: b PSI ")


def test_scores_over_the_limit_are_drift_by_their_share() -> None:
    assert watched(outcomes(600, score=3.0)) == "drift: 100.0% of scores over the limit (at most 0.05)"


def test_one_clean_window_ends_it() -> None:
    assert watched(outcomes(600, shift=1.0), outcomes(200, seed=5)) == "ok"


def test_until_the_first_window_is_full_nothing_is_said_to_be_ok() -> None:
    assert watched(outcomes(199)) == "watching 99 %"


def test_an_idle_machine_is_neither_drift_nor_ok() -> None:
    assert watched(outcomes(250), [idle()]) == "idle"


def test_without_a_baseline_nothing_is_known() -> None:
    drift = of_bundle(None, ["a"])
    drift.saw(outcomes(500, shift=9.0))
    assert drift.verdict == "no baseline"


def test_a_recalibrated_sensor_starts_the_windows_again() -> None:
    drift = Drift(parse(baseline()), ["a", "b"])
    drift.saw(outcomes(600, shift=1.0))
    drift.restart()
    assert drift.verdict == "watching 0 %"


def test_psi_of_a_histogram_with_itself_is_nothing_and_with_another_is_more() -> None:
    counts = np.array([10, 20, 30])
    assert psi(counts, counts) == 0.0
    assert psi(counts, counts[::-1]) > 0.3


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[",
        baseline(schema=2),
        baseline(windows=[]),
        baseline(windows=[7]),
        baseline(inputs={"a": {"edges": [1.0, 0.0], "counts": [1, 1, 1], "psi_max": {"200": 0.1}}}),
        baseline(inputs={"a": {"edges": [1.0], "counts": [1], "psi_max": {"200": 0.1}}}),
    ],
)
def test_what_is_not_a_baseline_is_refused(data: bytes) -> None:
    with pytest.raises(BaselineRefused):
        parse(data)


def test_what_a_baseline_tells_of_a_whole_picture_is_named_as_unwatched() -> None:
    column = msgspec.json.decode(baseline())["inputs"]["a"]
    drift = of_bundle(baseline(inputs={"camera.mean": column}), ["camera"])
    drift.saw(outcomes(600, score=3.0))
    assert drift.unwatched == ("camera.mean",)
    assert drift.verdict.startswith("drift: 100.0% of scores")


def test_a_baseline_of_an_input_that_the_model_does_not_see_is_refused() -> None:
    with pytest.raises(BaselineRefused, match="'b'"):
        of_bundle(baseline(), ["a"])


def test_a_new_worker_goes_on_with_the_window_of_the_one_before() -> None:
    first, second = of_bundle(baseline(), ["a", "b"]), of_bundle(baseline(), ["a", "b"])
    first.saw(outcomes(550, shift=1.0))
    assert second.restore(first.state())
    assert second.verdict == first.verdict
    second.saw(outcomes(50, shift=1.0, seed=9))
    assert second.verdict.startswith("drift: b PSI ")
    other = of_bundle(baseline(rows=1), ["a", "b"])
    assert not other.restore(first.state())
    assert other.verdict == "watching 0 %"
    for data in (b"", b"x", of_bundle(None, ["a"]).state()):
        assert not other.restore(data)
