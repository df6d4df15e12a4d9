"""The recorder gate on a real node: a candidate over what the node recorded, before anything switches."""

from __future__ import annotations

from typing import Any

import pytest

from nodeagent.deployment.recorder_gate import judge
from nodeagent.protocol import GateRequest
from nodeagent.runtime.replay_job import Replayed

PIPELINE = """
schema = 1
name = "press"
asset = "hall/press"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
poll = "20ms"
[context]
tags = { speed = "speed" }
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
ROWS = 60


@pytest.fixture(scope="module")
def node(make_agents: Any, workshop: Any) -> Any:
    """`press` 1.2 with more than ROWS recorded predictions, none of them an alarm."""
    agent = make_agents().start()
    assert agent.commit(workshop.bundle(2, pipeline=PIPELINE % "1000.0"), "base")["state"] == "COMMITTED"
    agent.eventually(lambda: len(records(agent)) >= ROWS, "records")
    return agent


def records(agent: Any) -> Any:
    return agent.get(f"/records?bundle=press&limit={ROWS}")["records"]


def ready(node: Any, bundle: Any, id_: str) -> None:
    assert node.stage(bundle, id_)["state"] == "STAGED"
    assert node.change(f"/deployments/{id_}/preflight")["state"] == "PREFLIGHT_OK"


def gate(node: Any, id_: str, **asked: Any) -> Any:
    answer = node.change(f"/deployments/{id_}/gate", {"rows": ROWS, **asked})
    assert answer["state"] == "PREFLIGHT_OK"
    return answer["preflight"]["gate"]


def test_a_candidate_that_decides_alike_passes_with_its_figures_and_nothing_is_written(
    node: Any, workshop: Any
) -> None:
    ready(node, workshop.bundle(3, pipeline=PIPELINE % "1000.0"), "alike")
    before = node.bundle()["revision"]
    found = gate(node, "alike")
    assert (found["verdict"], found["rows"], found["agreement"], found["active_agreement"]) == ("passed", ROWS, 1, 1)
    assert found["score_shift_mean"] == pytest.approx(found["worst"][0]["score_before"] / 2, rel=1.0)
    assert found["score_shift_mean"] > 0
    assert 0 < found["latency_ms_p50"] <= found["latency_ms_p95"]
    assert found["active_latency_ms_p95"] > 0
    assert found["notes"] == []
    assert len(found["contexts"]) == 16, "each sweep has its own speed, and of so many contexts those are listed"
    assert all(each["agreed"] == each["decided"] > 0 for each in found["contexts"])
    assert node.bundle()["revision"] == before
    assert node.show("alike")["preflight"]["gate"] == found
    rows = node.get("/ledger?limit=1000")["entries"]
    (written,) = [row for row in rows if row["action"] == "deployment.gate"]
    assert (written["subject"], written["detail"]["verdict"]) == ("alike", "passed")


def test_a_candidate_that_decides_otherwise_fails_with_its_flips_and_worst_rows(node: Any, workshop: Any) -> None:
    ready(node, workshop.bundle(4, pipeline=PIPELINE % "-1000.0"), "otherwise")
    found = gate(node, "otherwise", score_shift_max=1e-9)
    assert found["verdict"] == "failed"
    assert found["flips"] == {"normal -> alarm": ROWS}
    assert "agrees on 0.0% of the decisions" in found["reasons"][0]
    assert "the mean score moves by +" in found["reasons"][1]
    assert found["worst"][0]["decision_after"] == "alarm"
    assert found["notes"] == ["steps of the pipeline differ: the recorded inputs are those of the steps that made them"]
    assert node.show("otherwise")["state"] == "PREFLIGHT_OK", "the operator decides"


def test_records_have_their_context_and_are_found_by_it_and_the_node_counts_by_it(node: Any) -> None:
    first = records(node)[0]
    assert first["context"].startswith("speed=")
    found = node.get(f"/records?bundle=press&limit={ROWS}&context={first['context']}")["records"]
    assert found
    assert {each["context"] for each in found} == {first["context"]}
    assert node.get("/records?bundle=press&context=speed=A4")["records"] == []
    counted = node.bundle()["contexts"]
    assert len(counted) == 8, "of the contexts that came last"
    assert all(each["context"].startswith("speed=") and each["predictions_total"] for each in counted)


def test_too_few_records_are_unknown_and_unknown_is_not_passed(node: Any, workshop: Any) -> None:
    ready(node, workshop.bundle(5, pipeline=PIPELINE % "1000.0"), "few")
    found = gate(node, "few", rows=10, rows_min=50)
    assert (found["verdict"], found["reasons"]) == ("unknown", ["10 recorded rows, 50 are needed"])


def test_a_gate_needs_the_lease_a_candidate_and_sane_bounds(node: Any, workshop: Any) -> None:
    for path, body, code in (
        ("few", {"rows": 0}, "REQUEST.MALFORMED"),
        ("base", {}, "DEPLOYMENT.STATE"),
        ("ghost", {}, "DEPLOYMENT.UNKNOWN"),
        ("few", {"lease": 0}, "LEASE.FENCED"),
    ):
        with pytest.raises(node.refusal) as caught:
            node.change(f"/deployments/{path}/gate", body)
        assert caught.value.code == code


def tried(**more: Any) -> Replayed:
    return Replayed(rows=100, decided=100, agreed=100, latency_ms_p50=1.0, latency_ms_p95=3.0, **more)


def test_each_threshold_is_judged_by_its_own_figure() -> None:
    request = GateRequest(node_id="n", latency_ms_p95_max=2.0, latency_ratio_max=1.5)
    slow = judge(tried(), tried(), request)
    assert (slow.verdict, slow.reasons) == ("failed", ["p95 is 3 ms, at most 2 ms are wanted"])
    active = Replayed(rows=100, latency_ms_p95=1.0)
    slower = judge(tried(), active, GateRequest(node_id="n", latency_ratio_max=1.5))
    assert slower.reasons == ["p95 is 3.00 times that of the active revision, at most 1.5 is wanted"]
    alone = judge(tried(), None, GateRequest(node_id="n", latency_ratio_max=1.5))
    assert (alone.verdict, alone.reasons) == ("unknown", ["no latency to compare with: nothing is active"])
    failing = judge(tried(errors=3), None, GateRequest(node_id="n"))
    assert failing.reasons == ["the model failed on 3 of 100 rows"]
    assert judge(Replayed(problem="no records"), None, GateRequest(node_id="n")).verdict == "unknown"


def test_a_passport_compares_a_bundles_tags_with_what_arrives_now(node: Any, workshop: Any) -> None:
    def inputs(*tags: dict[str, Any]) -> Any:
        facts = {"name": "other", "opsets": {"": 17}, "ir_version": 8, "operators": ["::Mul"], "tags": list(tags)}
        items = node.post("/passport", {"facts": facts, "blob_sizes": {}})["items"]
        return next(item for item in items if item["name"] == "inputs")

    vib = {"name": "vib", "unit": "", "low": 0.0, "high": 50.0, "period_s": 0.02}
    assert inputs(vib)["verdict"] == "yes"
    odd = inputs({**vib, "low": 900.0, "high": 901.0}, {"name": "not-there"})
    assert odd["verdict"] == "warn"
    assert "900 to 901 is expected" in odd["text"]
    assert odd["fix"]
    assert inputs({"name": "not-there"})["verdict"] == "unknown"
    with pytest.raises(node.refusal) as caught:
        inputs({"name": "vib", "low": "x", "high": [1]})
    assert caught.value.code == "REQUEST.MALFORMED"
