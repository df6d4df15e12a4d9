"""What answers make of a node's row, and failures grouped by cause."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from console.client.wire import AgentError
from console.delivery.deploy import DeployFailed
from console.fleet.view import LinkState
from console.link.errors import LinkError
from console.rollout.causes import group
from console.rollout.gates import Sample
from console.rollout.outcomes import ABORTED, FLIPS_MAX, GATE, Problem, after, deployment_id, problem_of
from nodeagent.protocol import Deployment, DeploymentState, Error, Passport, PassportItem, RollbackReason
from store.rollouts import TargetRow

S, R = DeploymentState, RollbackReason
ROW = TargetRow("r", "n1", 1, deployment="d1")
ASKED = replace(ROW, state="staged", asked="activate", flips=1)


def found(state: DeploymentState, reason: RollbackReason | None = None, **named: Any) -> Deployment:
    return Deployment(id="d1", bundle="pump", version="2", digest="new", state=state, reason=reason, **named)


def answered(answer: Any, row: TargetRow = ASKED, op: Any = "look", retries: int = 2) -> TargetRow:
    return after(row, op, answer, digest="new", retries=retries)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (found(S.RECEIVING), "waiting"),
        (found(S.STAGED), "staged"),
        (found(S.PREFLIGHT_OK), "staged"),
        (found(S.TRIAL, window_s=60.0, seconds_left=45.0), "trial"),
        (found(S.COMMITTED), "ok"),
        (found(S.ROLLED_BACK, R.FAILED), "failed"),
        (found(S.ROLLED_BACK, R.REVERTED), "failed"),
        (found(S.ROLLED_BACK, R.UNCONFIRMED), "waiting"),
        (found(S.ROLLED_BACK, R.INTERRUPTED), "waiting"),
        (found(S.REFUSED), "failed"),
        (None, "failed"),
    ],
)
def test_the_node_is_believed_and_the_question_is_answered(answer: Deployment | None, state: str) -> None:
    row = answered(answer)
    assert (row.state, row.asked) == (state, "")


def test_a_trial_is_timed_by_what_the_node_says() -> None:
    row = answered(found(S.TRIAL, window_s=60.0, seconds_left=45.0))
    assert (row.trial_s, row.trial_left_s) == (15.0, 45.0)


def test_an_interrupted_trial_gets_another_attempt_with_a_deployment_of_its_own_so_often_as_the_policy_says() -> None:
    again = answered(found(S.ROLLED_BACK, R.INTERRUPTED), retries=1)
    assert (again.attempt, again.deployment, again.flips) == (2, deployment_id("r", "n1", "new", 2), 0)
    last = answered(found(S.ROLLED_BACK, R.INTERRUPTED), replace(again, asked="activate", flips=1), retries=1)
    assert (last.state, last.attempt) == ("interrupted", 2)


def test_a_node_that_never_heard_of_it_before_a_switch_waits_and_after_one_has_failed() -> None:
    assert answered(None, replace(ROW, asked="stage"), "look").state == "waiting"
    assert answered(None).cause == "DEPLOYMENT.UNKNOWN"


def test_a_lost_answer_leaves_the_question_open_and_a_no_closes_it() -> None:
    lost = answered(Problem("lost", "link down", "no answer"), op="activate")
    assert (lost.state, lost.asked) == ("staged", "activate")
    held = answered(Problem("later", "LEASE.HELD", "held by maria"), op="activate")
    assert (held.state, held.asked, held.flips, held.detail) == ("staged", "", 0, "held by maria")
    assert answered(Problem("skip", "DEPLOYMENT.HOLD", "held"), op="activate").state == "skipped"
    assert answered(Problem("failed", "DEPLOYMENT.DISK_FULL", "full"), op="stage").state == "failed"


def test_a_node_that_never_gets_to_its_trial_has_failed_in_the_end() -> None:
    assert answered(found(S.STAGED), replace(ASKED, flips=FLIPS_MAX)).cause == "no trial"


def test_a_trial_taken_back_by_the_gate_failed_and_one_taken_back_by_an_abort_is_skipped() -> None:
    gate = replace(ASKED, state="trial", asked="rollback", cause=GATE, detail="p95 too high")
    row = answered(found(S.ROLLED_BACK, R.REVERTED), gate, "rollback")
    assert (row.state, row.cause, row.detail) == ("failed", GATE, "p95 too high")
    assert answered(found(S.ROLLED_BACK, R.REVERTED), replace(gate, cause=ABORTED), "rollback").state == "skipped"
    assert answered(found(S.REFUSED), replace(gate, cause=ABORTED), "rollback").state == "skipped"


def test_time_since_the_commit_goes_by_the_nodes_own_clock_and_a_reboot_adds_only_what_is_known() -> None:
    row = answered(Sample(digest="new", boot_id="a", boottime_us=100), replace(ROW, state="ok"), "watch")
    assert row.soaked_us == 0
    row = answered(Sample(digest="new", boot_id="a", boottime_us=150), row, "watch")
    assert row.soaked_us == 50
    row = answered(Sample(digest="new", boot_id="b", boottime_us=7), row, "watch")
    assert row.soaked_us == 57
    assert answered(Sample(digest="other", version="3"), row, "watch").cause == "replaced"


def refusal(code: str) -> AgentError:
    return AgentError(Error(code=code, message="no", hint="do this"), "n1")


@pytest.mark.parametrize(
    ("error", "kind", "cause"),
    [
        (LinkError(LinkState.DOWN, "n1", "no route"), "lost", "link down"),
        (refusal("LEASE.HELD"), "later", "LEASE.HELD"),
        (refusal("DEPLOYMENT.ALREADY_ROLLED_BACK"), "ask", "DEPLOYMENT.ALREADY_ROLLED_BACK"),
        (refusal("DEPLOYMENT.OUT_OF_SERVICE"), "skip", "DEPLOYMENT.OUT_OF_SERVICE"),
        (refusal("DEPLOYMENT.MACHINE_STATE"), "skip", "DEPLOYMENT.MACHINE_STATE"),
        (refusal("CHANGE.SECOND_PERSON"), "skip", "CHANGE.SECOND_PERSON"),
        (refusal("TRUST.ROLLBACK"), "failed", "TRUST.ROLLBACK"),
        (DeployFailed("n1", "sign", "not signed"), "failed", "sign"),
    ],
)
def test_what_went_wrong_is_told_apart_by_what_it_means(error: Any, kind: str, cause: str) -> None:
    problem = problem_of(error)
    assert isinstance(problem, Problem)
    assert (problem.kind, problem.cause) == (kind, cause)


def test_a_passport_names_its_noes_and_an_ended_deployment_is_an_answer() -> None:
    items = [PassportItem(name=name, verdict=verdict, text="") for name, verdict in (("memory", "no"), ("disk", "yes"))]
    problem = problem_of(DeployFailed("n1", "passport", "no", passport=Passport(fits=False, items=items)))
    assert isinstance(problem, Problem)
    assert problem.cause == "passport memory"
    ended = found(S.ROLLED_BACK, R.INTERRUPTED)
    assert problem_of(DeployFailed("n1", "stage", "", deployment=ended)) is ended


def test_failures_are_grouped_by_cause_with_one_thing_to_do_for_each() -> None:
    rows = [
        replace(ROW, node="a", state="failed", cause="DEPLOYMENT.DISK_FULL", detail="9 MB free"),
        replace(ROW, node="b", state="failed", cause="DEPLOYMENT.DISK_FULL"),
        replace(ROW, node="c", state="skipped", cause="not reached", debt=1),
        replace(ROW, node="d", state="unknown"),
        replace(ROW, node="e", state="ok"),
    ]
    found = {cause.cause: cause for cause in group("r", rows)}
    assert {name: cause.nodes for name, cause in found.items()} == {
        "DEPLOYMENT.DISK_FULL": ("a", "b"),
        "not reached": ("c",),
        "unknown": ("d",),
    }
    assert found["DEPLOYMENT.DISK_FULL"].detail == "9 MB free"
    assert found["DEPLOYMENT.DISK_FULL"].action == "free space on them, then outstation rollout retry r"
