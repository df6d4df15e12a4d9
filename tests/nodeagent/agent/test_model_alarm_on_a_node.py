"""A model's alarm is an alert of the node, and goes when the decision does."""

from __future__ import annotations

from typing import Any

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
high = %s
[[sink]]
type = "record"
"""


def alarms(agent: Any) -> list[dict[str, Any]]:
    return [alert for alert in agent.get("/alerts") if alert["code"] == "MODEL.ALARM" and alert["state"] != "cleared"]


def test_an_alarm_calls_a_person_with_its_score_and_clears_with_the_decision(
    agent: Any, workshop: Any, eventually: Any
) -> None:
    assert agent.commit(workshop.bundle(2, pipeline=PIPELINE % "-1000.0"), "alarming")["state"] == "COMMITTED"
    (alert,) = eventually(lambda: alarms(agent), "the alarm is raised")
    assert (alert["priority"], alert["subject"]) == (1, "press")
    assert "alarm at or over -1000" in alert["message"]
    assert agent.bundle()["drift"] == "no baseline"
    assert agent.commit(workshop.bundle(3, pipeline=PIPELINE % "1e9"), "quiet")["state"] == "COMMITTED"
    eventually(lambda: not alarms(agent), "the alarm is cleared")
