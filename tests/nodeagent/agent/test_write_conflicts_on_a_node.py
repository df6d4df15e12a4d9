"""A place of a plant is one bundle's: at a passport, a switch, a revert and new bindings; nothing stays half done."""

from __future__ import annotations

from typing import Any

import pytest

PIPELINE = """
schema = 1
name = "crane"
asset = "hall/crane"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
seed = 7
poll = "50ms"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 1000.0
[[sink]]
type = "modbus.write"
url = "tcp://127.0.0.1:1"
register = "PLACE"
when = "alarm"
value = 1
guard = { allow = ["holding:200", "holding:300"], low = 0, high = 1, dry_run = false }
"""


def at(place: str) -> str:
    return PIPELINE.replace("PLACE", place)


@pytest.fixture(scope="module")
def node(make_agents: Any, workshop: Any) -> Any:
    """`crane` wrote holding:200 and writes what its binding says; `gauge` came to 200 once `scale` was prepared."""
    agent = make_agents()
    (agent.state / "bindings.toml").write_text('spot = "holding:300"\n')
    agent.start()
    agent.eventually(lambda: agent.get("/bindings")["revision"] == 1, "the bindings to be taken in")
    agent.commit(workshop.bundle(1, name="crane", pipeline=at("holding:200")), "crane-1")
    agent.commit(workshop.bundle(2, name="crane", pipeline=at("${spot}")), "crane-2")
    agent.stage(workshop.bundle(1, name="scale", pipeline=at("holding:200")), "scale-1")
    assert agent.change("/deployments/scale-1/preflight")["state"] == "PREFLIGHT_OK"
    agent.commit(workshop.bundle(1, name="gauge", pipeline=at("holding:200")), "gauge-1")
    return agent


def refused(node: Any, mover: str, path: str, body: dict[str, Any], method: str = "POST") -> None:
    with pytest.raises(node.refusal) as found:
        node.change(path, body, method)
    words = f"holding:200 of 127.0.0.1:1 unit 1 is written by the bundle gauge, and {mover} would write it too"
    assert found.value.code == "DEPLOYMENT.WRITE_CONFLICT"
    assert words in str(found.value)
    assert "another place" in str(found.value)


def test_the_passport_says_no_before_any_byte_moves(node: Any) -> None:
    facts = {"name": "rival", "opsets": {"": 17}, "ir_version": 8, "pipeline": at("holding:200")}
    found = node.post("/passport", {"facts": facts, "blob_sizes": {}})
    (item,) = [item for item in found["items"] if item["name"] == "outputs"]
    assert (item["verdict"], found["fits"]) == ("no", False)
    assert "written by the bundle gauge, and rival would" in item["text"]


def test_what_was_prepared_before_another_came_to_its_place_is_not_switched_to(node: Any) -> None:
    refused(node, "scale", "/deployments/scale-1/activate", {})
    assert node.show("scale-1")["state"] == "PREFLIGHT_OK"
    assert node.bundle("scale") is None
    assert node.change("/deployments/scale-1/rollback", {"reason": "not now"})["state"] == "REFUSED"


def test_a_revert_to_a_place_that_another_took_meanwhile_leaves_nothing(node: Any) -> None:
    refused(node, "crane", "/bundles/crane/revert", {"id": "back", "window_s": 60})
    with pytest.raises(node.refusal, match=r"DEPLOYMENT\.UNKNOWN"):
        node.show("back")
    assert node.bundle("crane")["version"] == "1.2"


@pytest.mark.parametrize("dry_run", [True, False])
def test_bindings_that_lead_to_anothers_place_leave_no_revision_and_no_trial(node: Any, dry_run: bool) -> None:
    before, rows = node.get("/bindings"), node.get("/deployments")
    body = {"base_revision": before["revision"], "set": {"spot": "holding:200"}, "window_s": 60, "dry_run": dry_run}
    refused(node, "crane", "/bindings", body, "PUT")
    assert (node.get("/bindings"), node.get("/deployments")) == (before, rows)
