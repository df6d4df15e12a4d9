"""A cold start is rehearsed beside what serves: with no network, a clock in 1970, and what is on the disk."""

from __future__ import annotations

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
seed = 7
poll = "50ms"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 1000.0
[[sink]]
type = "record"
keep_inputs = "all"
"""


@pytest.fixture(scope="module")
def node(make_agents: Any, workshop: Any) -> Any:
    agent = make_agents().start()
    assert agent.commit(workshop.bundle(2, pipeline=PIPELINE), "base")["state"] == "COMMITTED"
    return agent


def cold_start(agent: Any) -> Any:
    return next(check for check in agent.get("/checks") if check["name"] == "cold-start")


def test_a_node_that_comes_up_by_itself_says_how_fast_and_the_check_shows_its_date(node: Any) -> None:
    assert cold_start(node)["verdict"] == "unknown"
    node.eventually(lambda: len(node.get("/records?bundle=press&limit=20")["records"]) >= 10, "some records")
    workers = [worker.pid for worker in node.workers]
    found = node.post("/rehearse", {"budget_s": 120.0})
    assert found["passed"], found
    (one,) = found["bundles"]
    assert one["rows"] >= 10
    assert one["agreement"] == 1.0
    assert one["golden_cases"] == 2
    assert 0 < one["first_s"] < 120
    assert [worker.pid for worker in node.workers] == workers
    assert cold_start(node)["verdict"] == "ok"
    assert cold_start(node)["text"].startswith("rehearsed 0 days ago")


def test_a_budget_that_is_missed_and_a_damaged_file_are_failures_that_the_check_keeps(node: Any) -> None:
    found = node.post("/rehearse", {"budget_s": 0.001})
    assert not found["passed"]
    assert "the budget is 0.001 s" in found["text"]
    assert cold_start(node)["verdict"] == "bad"
    blob = max((node.state / "blobs").rglob("*"), key=lambda path: path.stat().st_mtime if path.is_file() else 0.0)
    before, mode = blob.read_bytes(), blob.stat().st_mode
    blob.chmod(0o644)
    blob.write_bytes(before[:-1] + b"?")
    try:
        found = node.post("/rehearse", {"budget_s": 120.0})
        assert "damaged" in found["text"]
    finally:
        blob.write_bytes(before)
        blob.chmod(mode)
