"""A shadow on a real node: the candidate fed live beside what runs, compared, never acted on, ended by the node."""

from __future__ import annotations

import getpass
from typing import Any

import pytest

PIPELINE = """
schema = 1
name = "press"
asset = "hall/press"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
poll = "10ms"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = %s
[[sink]]
type = "record"
keep_inputs = "all"
"""
CALM, ALARMED = PIPELINE % "1000.0", PIPELINE % "-1000.0"


@pytest.fixture(scope="module")
def node(make_agents: Any, workshop: Any) -> Any:
    agent = make_agents().start()
    assert agent.commit(workshop.bundle(2, pipeline=CALM), "base")["state"] == "COMMITTED"
    return agent


def begin(node: Any, bundle: Any, id_: str, **asked: Any) -> Any:
    assert node.stage(bundle, id_)["state"] == "STAGED"
    assert node.change(f"/deployments/{id_}/preflight")["state"] == "PREFLIGHT_OK"
    return node.change(f"/deployments/{id_}/shadow", {"rows_min": 20, **asked})


def ended(node: Any, id_: str) -> Any:
    """The verdict, once the node came to it by itself."""

    def look() -> Any:
        found = node.show(id_)
        return found if found["state"] == "STAGED" else None

    return node.eventually(look, "the end of the shadow")["preflight"]["shadow"]


def candidates(node: Any) -> int:
    return len(node.workers) - 1


def test_a_candidate_that_decides_alike_passes_and_nothing_of_it_is_recorded_or_stays(node: Any, workshop: Any) -> None:
    begun = begin(node, workshop.bundle(3, pipeline=CALM), "alike", seconds=2)
    assert begun["state"] == "PREFLIGHT_OK"
    running = begun["preflight"]["shadow"]
    assert (running["running"], running["verdict"], running["reasons"]) == (True, "unknown", ["it runs"])
    assert 0 < running["left_s"] <= 2
    with pytest.raises(node.refusal, match="runs as a shadow") as caught:
        node.change("/deployments/alike/activate")
    assert caught.value.code == "DEPLOYMENT.STATE"
    found = ended(node, "alike")
    assert (found["verdict"], found["agreement"], found["errors"], found["running"]) == ("passed", 1, 0, False)
    assert found["rows"] >= 20
    assert found["score_shift_mean"] > 0
    assert found["latency_ms_p95"] > 0
    assert found["active_latency_ms_p95"] > 0
    assert found["compared_s"] > 0
    node.eventually(lambda: candidates(node) == 0, "the candidate to leave")
    revision = node.bundle()["revision"]
    assert {row["revision"] for row in node.get("/records?bundle=press&limit=1000")["records"]} == {revision}
    rows = [row for row in node.get("/ledger?limit=1000")["entries"] if row["subject"] == "alike"]
    told = [(row["action"], row["detail"].get("verdict")) for row in rows if "shadow" in row["action"]]
    assert told == [("deployment.shadow_begun", "unknown"), ("deployment.shadow", "passed")]
    ready = node.change("/deployments/alike/preflight")
    assert ready["preflight"]["shadow"]["verdict"] == "passed", "the verdict outlives the candidate"
    node.change("/deployments/alike/rollback")


def test_a_candidate_that_decides_otherwise_fails_with_its_flips_and_worst_sweeps(node: Any, workshop: Any) -> None:
    begin(node, workshop.bundle(4, pipeline=ALARMED), "otherwise", seconds=2)
    found = ended(node, "otherwise")
    assert found["verdict"] == "failed"
    assert list(found["flips"]) == ["normal -> alarm"]
    assert found["worst"][0]["decision_after"] == "alarm"
    assert "agrees on 0.0% of the decisions" in found["reasons"][0]


def test_a_person_ends_it_early_and_too_few_sweeps_are_no_verdict(node: Any, workshop: Any) -> None:
    begin(node, workshop.bundle(5, pipeline=CALM), "early", seconds=600, rows_min=100_000)
    done = node.change("/deployments/early/shadow", {"seconds": 0})
    found = done["preflight"]["shadow"]
    assert (done["state"], found["verdict"], found["notes"]) == ("STAGED", "unknown", [f"ended by {getpass.getuser()}"])


def test_a_candidate_that_dies_has_failed_and_what_runs_goes_on(node: Any, workshop: Any) -> None:
    serving = node.workers[0].pid
    begin(node, workshop.bundle(6, pipeline=CALM), "dies", seconds=600)
    (candidate,) = [worker for worker in node.workers if worker.pid != serving]
    node.kill(candidate)
    found = ended(node, "dies")
    assert found["verdict"] == "failed"
    assert "the candidate ended" in found["reasons"][0]
    assert [worker.pid for worker in node.workers] == [serving]


def test_a_candidate_that_does_not_keep_up_is_not_fed_for_a_while_and_that_is_said(node: Any, workshop: Any) -> None:
    begin(node, workshop.bundle(7, pipeline=CALM, rounds=500), "slow", seconds=60)

    def shed() -> Any:
        return node.show("slow")["preflight"]["shadow"]["shed_s"] > 0

    node.eventually(shed, "the feed to stop")
    found = node.change("/deployments/slow/shadow", {"seconds": 0})["preflight"]["shadow"]
    assert "the candidate does not keep up" in " ".join(found["notes"])
    assert "s, to leave room" in found["notes"][-1]
    assert node.bundle()["state"] == "serving"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("base", {}, "DEPLOYMENT.STATE"),
        ("ghost", {}, "DEPLOYMENT.UNKNOWN"),
        ("base", {"seconds": -1}, "REQUEST.MALFORMED"),
        ("base", {"lease": 0}, "LEASE.FENCED"),
    ],
)
def test_a_shadow_needs_the_lease_a_candidate_and_sane_bounds(node: Any, path: str, body: Any, code: str) -> None:
    with pytest.raises(node.refusal) as caught:
        node.change(f"/deployments/{path}/shadow", body)
    assert caught.value.code == code


def test_a_restart_cuts_it_off_and_leaves_what_ran(node: Any, workshop: Any) -> None:
    begin(node, workshop.bundle(8, pipeline=CALM), "cut", seconds=600)
    node.kill(node.supervisor)
    found = ended(node, "cut")
    assert (found["running"], found["reasons"]) == (False, ["it was cut off before its end"])
    node.eventually(lambda: candidates(node) == 0, "the candidate to leave")
