"""The last sweeps of a running pipeline through an edited one, on a real node, which goes on all the while."""

from __future__ import annotations

from typing import Any

PIPELINE = """schema = 1
name = "press"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
poll = "20ms"
[[step]]
use = "validate.range"
tags = ["vib"]
low = 0
high = 1000
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 1e9
[[sink]]
type = "record"
"""


def replay(agent: Any, text: str, last: int = 50) -> dict[str, Any]:
    found: dict[str, Any] = agent.post("/tap/press/replay", {"pipeline": text, "last": last})
    return found


def test_an_edited_pipeline_shows_what_it_would_change_and_nothing_running_is_touched(
    agent: Any, workshop: Any
) -> None:
    assert agent.commit(workshop.bundle(2, pipeline=PIPELINE), "first")["state"] == "COMMITTED"
    agent.eventually(lambda: agent.bundle()["predictions_total"] > 60, "sweeps pass")
    before = agent.bundle()
    same = replay(agent, PIPELINE)
    assert (same["problem"], same["sweeps"], same["differing"]) == ("", 50, 0)
    assert same["before"] == same["after"]
    strict = replay(agent, PIPELINE.replace("high = 1000", "high = 0.001"))
    assert (strict["problem"], strict["differing"]) == ("", 50)
    assert strict["before"]["decisions"] == {"normal": 50}
    assert strict["after"]["decisions"] == {"skipped": 50}
    assert strict["after"]["stages"][1]["marked_total"] == 50
    assert strict["changes"][-1]["reason_after"].startswith("vib")
    alarming = replay(agent, PIPELINE.replace("high = 1e9", "high = -1e9"))
    assert alarming["after"]["decisions"] == {"alarm": 50}
    wrong = replay(agent, PIPELINE.replace('score = "y"', 'score = "z"'))
    assert "the model has no output 'z'" in wrong["problem"]
    assert wrong["line"] == 17
    after = agent.bundle()
    assert (after["revision"], after["restarts_total"]) == (before["revision"], before["restarts_total"])
    assert not list((agent.state / "work" / "press").glob("sweeps-*"))
