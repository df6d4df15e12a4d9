"""Answers of a candidate and of the active revision, paired by sweep: agreement, shifts, worst rows, and bounds."""

from __future__ import annotations

from typing import Any

import pytest

from nodeagent.deployment.shadow import tightness
from nodeagent.runtime.runtime_report import ShadowStanding
from nodeagent.worker.shadow import FLIPS_MAX, WAITING_MAX, WORST_ROWS, Said, Shadow


def row(number: int, score: float | None = 1.0, decision: str = "normal", cost_us: int = 100, label: str = "") -> Said:
    return Said(number, number * 10, score, label, decision, cost_us)


def paired(*pairs: tuple[Said, Said]) -> dict[str, Any]:
    """The figures of these (active, candidate) pairs."""
    shadow = Shadow()
    for active, candidate in pairs:
        shadow.heard([active])
        shadow.made([candidate])
    return shadow.figures()


def test_agreement_flips_shift_and_latency_are_those_of_the_pairs() -> None:
    pairs = [(row(n), row(n, 1.5, cost_us=300)) for n in range(99)]
    found = paired(*pairs, (row(99), row(99, 4.0, "alarm")))
    assert (found["rows"], found["agreed"], found["errors"]) == (100, 99, 0)
    assert found["flips"] == {"normal -> alarm": 1}
    assert found["score_shift_mean"] == pytest.approx((99 * 0.5 + 3.0) / 100)
    assert (found["score_shift_p95"], found["score_shift_max"]) == (0.5, 3.0)
    assert found["worst"][0] == {
        "key": 0,
        "wall_us": 990,
        "score_before": 1.0,
        "score_after": 4.0,
        "decision_before": "normal",
        "decision_after": "alarm",
    }
    assert found["latency_ms_p95"] > 2 * found["active"]["latency_ms_p95"] > 0
    assert found["last_wall_us"] == 990


def test_agreement_is_told_by_product_where_there_are_several() -> None:
    one = [(row(n), row(n, decision="alarm" if n < 3 else "normal")) for n in range(10)]
    two = [(row(n), row(n)) for n in range(10, 14)]
    a, b = ([(active._replace(context=f"product={name}"), made) for active, made in pairs] for name, pairs in
            (("A", one), ("B", two)))  # fmt: skip
    assert paired(*a, *b)["contexts"] == [
        {"context": "product=A", "decided": 10, "agreed": 7},
        {"context": "product=B", "decided": 4, "agreed": 4},
    ]
    assert paired(*a)["contexts"] == [], "of one alone the whole says it"


def test_whichever_comes_first_waits_and_another_sweep_is_no_partner() -> None:
    shadow = Shadow()
    shadow.made([row(1), row(2)])
    shadow.heard([row(2, 3.0), row(3)])
    found = shadow.figures()
    assert (found["rows"], found["score_shift_mean"]) == (1, -2.0)
    shadow.forget_waiting()
    shadow.heard([row(1)])
    assert shadow.figures()["rows"] == 1


def test_idle_sweeps_are_nobodys_answer_and_a_failing_model_is_an_error() -> None:
    idle, failed = row(1, None, "idle"), row(2, None, "error")
    found = paired((idle, idle), (row(2), failed))
    assert (found["rows"], found["errors"], found["flips"]) == (1, 1, {"normal -> error": 1})
    assert found["score_shift_mean"] is None


def test_labels_are_compared_where_both_have_one() -> None:
    found = paired((row(1, label="a"), row(1, label="b")), (row(2, label="a"), row(2)))
    assert (found["agreed"], found["flips"]) == (1, {"a -> b": 1})


def test_whatever_comes_nothing_grows_without_end() -> None:
    shadow = Shadow()
    shadow.heard([row(n) for n in range(WAITING_MAX + 100)])
    assert shadow.unpaired == 100
    for n in range(1_000, 1_000 + 5 * FLIPS_MAX):
        shadow.made([row(n, 2.0 + n, f"word {n}")])
    found = shadow.figures()
    assert found["rows"] == 5 * FLIPS_MAX
    assert len(shadow._flips) == FLIPS_MAX
    assert len(found["worst"]) == WORST_ROWS
    assert found["worst"][0]["wall_us"] == 10 * (1_000 + 5 * FLIPS_MAX - 1), "the worst is kept"


@pytest.mark.parametrize(
    ("candidate", "active", "said"),
    [
        (0, 0, ""),
        (200, 2_000, ""),
        (201, 0, "does not keep up: 201 sweeps wait"),
        (0, 2_001, "2001 wait in the active"),
    ],
)
def test_load_is_shed_where_either_worker_falls_behind(candidate: int, active: int, said: str) -> None:
    standing = ShadowStanding(figures={}, candidate_waiting=candidate, active_waiting=active, active="w")
    found = tightness(standing)
    assert said in found
    assert bool(said) == bool(found)
