"""The recorder gate inside a rollout: what the policy asks, what a node's verdict makes of its row, how it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from console.cli.rollout_text import recorder_lines
from console.delivery.deploy import DeployFailed
from console.delivery.gate import GateOrder
from console.rollout import orders
from console.rollout.outcomes import RECORDER, after, problem_of
from console.rollout.planner import plan
from console.rollout.policy import PolicyError, parse_policy
from console.rollout.report import report
from console.screens.rolloutlines import report_lines
from nodeagent.protocol import Deployment, DeploymentState, GateRow, GateVerdict
from store.rollouts import Rollouts, TargetRow
from widgets.cells import spans_width
from widgets.look import grey

WORST = GateRow(key=9, wall_us=0, score_before=0.4, score_after=3.1, decision_before="ok", decision_after="alarm")
REASON = "agrees on 71.0% of the decisions, at least 90.0% are wanted"
FAILED = GateVerdict(
    verdict="failed",
    reasons=[REASON],
    rows=100,
    agreement=0.71,
    flips={"ok -> alarm": 29},
    score_shift_mean=0.4,
    score_shift_max=2.7,
    latency_ms_p50=1.0,
    latency_ms_p95=2.0,
    active_latency_ms_p95=1.5,
    worst=[WORST],
)
ASKED = TargetRow("r", "n1", 1, deployment="d1", state="staged", asked="activate", flips=1)


def deployment(state: DeploymentState, verdict: GateVerdict | None) -> Deployment:
    kept = {} if verdict is None else {"gate": msgspec.to_builtins(verdict)}
    return Deployment(id="d1", bundle="pump", version="2", digest="new", state=state, preflight=kept)


def answered(answer: Any) -> TargetRow:
    return after(ASKED, "activate", answer, digest="new", retries=2)


def test_the_policy_says_what_the_candidate_has_to_show_and_no_rows_ask_for_nothing() -> None:
    assert parse_policy("").recorder.order() == GateOrder(rows=1_000, agreement_min=0.9)
    text = '[recorder]\nrows = 200\nagreement_min = 0.99\nlatency_ratio_max = 3.0\nunknown = "refuse"\n'
    wanted = GateOrder(rows=200, agreement_min=0.99, latency_ratio_max=3.0, known=True)
    assert parse_policy(text).recorder.order() == wanted
    assert parse_policy("[recorder]\nrows = 0\n").recorder.order() is None
    with pytest.raises(PolicyError, match=r"line 2: recorder\.rows_min: at most rows, which is 20"):
        parse_policy("[recorder]\nrows_min = 50\nrows = 20\n")


@pytest.mark.parametrize(
    ("verdict", "order", "stops"),
    [
        ("failed", GateOrder(), True),
        ("failed", GateOrder(past=True), False),
        ("unknown", GateOrder(), False),
        ("unknown", GateOrder(known=True), True),
        ("passed", GateOrder(known=True), False),
    ],
)
def test_a_failed_verdict_stops_and_an_unknown_one_only_where_that_is_asked(
    verdict: Any, order: GateOrder, stops: bool
) -> None:
    assert order.stops(GateVerdict(verdict=verdict)) is stops


def test_a_node_whose_gate_stopped_the_switch_has_failed_and_keeps_the_verdict() -> None:
    error = DeployFailed("n1", "gate", REASON, "", deployment=deployment(DeploymentState.PREFLIGHT_OK, FAILED))
    row = answered(problem_of(error))
    assert (row.state, row.cause, row.asked) == ("failed", RECORDER, "")
    assert row.detail == f"on its own records: {REASON}"
    assert msgspec.json.decode(row.gate, type=GateVerdict) == FAILED


def test_a_console_that_died_behind_the_verdict_learns_it_from_the_node() -> None:
    row = answered(deployment(DeploymentState.REFUSED, FAILED))
    assert (row.state, row.cause, row.detail) == ("failed", RECORDER, f"on its own records: {REASON}")


def test_a_verdict_that_let_it_through_is_kept_too_and_a_refusal_for_another_reason_is_no_gate() -> None:
    passed = GateVerdict(verdict="passed", rows=1_000, agreement=1.0)
    row = answered(deployment(DeploymentState.TRIAL, passed))
    assert (row.state, msgspec.json.decode(row.gate, type=GateVerdict)) == ("trial", passed)
    assert answered(deployment(DeploymentState.REFUSED, passed)).cause != RECORDER


def test_the_verdict_survives_in_the_rows_and_is_told_with_its_worst_row(lab: Any, rows: Rollouts) -> None:
    made = plan(parse_policy("[waves]\ncanary = 1\n"), [lab.fact("n1"), lab.fact("n2")], lab.bundle)
    id_ = orders.keep_plan(rows, made, archive="pump.ostn", operator="ada", wall_s=1.0)
    first = rows.targets(id_)[0]
    failed = replace(first, state="failed", cause=RECORDER, gate=msgspec.json.encode(FAILED).decode())
    orders.start(rows, id_, wall_s=2.0)
    rows.change(id_, wall_s=2.0, targets=[failed])
    row = rows.rollout(id_)
    assert row is not None
    found = report(row, rows.waves(id_), rows.targets(id_))
    told = recorder_lines(found.waves[0].nodes[0])
    assert told[0].startswith(f"n1: recorder gate failed: {REASON}: 100 rows, agreement 71 %")
    assert any("worst: " in line and "ok -> alarm, 0.4 -> 3.1" in line for line in told)
    drawn = report_lines(found, grey(), 80)
    assert all(spans_width(line) <= 80 for line in drawn)
    text = "\n".join("".join(text for text, _ in line) for line in drawn)
    assert "n1 on its own records: failed" in text
    assert "ok > alarm  0.4 > 3.1" in text
