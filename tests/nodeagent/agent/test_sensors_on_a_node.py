"""A sensor is marked on a real node: in the ledger, and drift begins anew, also for a worker after this one."""

from __future__ import annotations

from typing import Any

import pytest

PIPELINE = """schema = 1
name = "press"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
poll = "20ms"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 1e9
"""
COLUMN: dict[str, Any] = {"edges": [0.0], "counts": [5, 5], "psi_max": {"100000": 9.0}}
BASELINE: dict[str, Any] = {
    "schema": 1,
    "windows": [100000],
    "inputs": {"vib": COLUMN},
    "score": COLUMN | {"limit": 1e9, "share_max": {"100000": 1.0}},
}


@pytest.fixture(scope="module")
def agent(make_agents: Any, workshop: Any) -> Any:
    """It predicts, and watches for drift."""
    node = make_agents().start()
    node.commit(workshop.bundle(2, pipeline=PIPELINE, baseline=BASELINE), "watched")
    node.eventually(lambda: node.bundle()["predictions_total"], "it predicts")
    return node


def drift(agent: Any) -> str:
    return str(agent.bundle()["drift"])


def test_a_replaced_sensor_stands_in_the_ledger_and_its_drift_begins_anew(agent: Any) -> None:
    assert drift(agent) == "watching 0 %"
    body = {"tag": "vib", "mark": "replaced", "note": "work order 4711"}
    done = agent.post("/tags/mark", body, headers={"X-Outstation-Operator": "alice"})
    assert (done["bundles"], done["mark"]) == (["press"], "replaced")
    (entry,) = [entry for entry in agent.get("/ledger?limit=1000")["entries"] if entry["action"] == "tag.mark"]
    assert (entry["subject"], entry["detail"]["note"]) == ("vib", "work order 4711")
    agent.eventually(lambda: drift(agent) == "watching 0 %, since vib was replaced", "the verdict says why")
    agent.kill(*agent.workers)
    agent.eventually(lambda: drift(agent) == "watching 0 %, since vib was replaced", "the next worker knows it too")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/tags/mark", {"tag": "wib", "mark": "replaced", "note": "n"}, "TAG.UNKNOWN"),
        ("/tags/mark", {"tag": "vib", "mark": "replaced", "note": " "}, "REQUEST.MALFORMED"),
        ("/tags/mark", {"tag": "vib", "mark": "gone", "note": "n"}, "REQUEST.MALFORMED"),
        ("/sources/accept", {"bundle": "press", "source": "pump"}, "SOURCE.UNKNOWN"),
        ("/sources/accept", {"bundle": "other", "source": "pump"}, "SOURCE.UNKNOWN"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_leaves_no_entry(
    agent: Any, path: str, body: dict[str, Any], code: str
) -> None:
    before = len(agent.get("/ledger?limit=1000")["entries"])
    with pytest.raises(agent.refusal) as refused:
        agent.post(path, body)
    assert refused.value.code == code
    assert len(agent.get("/ledger?limit=1000")["entries"]) == before
