"""The review queue and labels on a real node: two people, one of them differs."""

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
high = -1e9
[[sink]]
type = "record"
"""


def test_two_people_label_one_record_and_both_stay(agent: Any, workshop: Any) -> None:
    assert agent.commit(workshop.bundle(2, pipeline=PIPELINE), "alarming")["state"] == "COMMITTED"
    queue = agent.eventually(lambda: agent.get("/labels/queue?bundle=press&limit=5")["items"], "alarms wait")
    assert {item["why"] for item in queue} == {"alarm"}
    key = queue[0]["record"]["key"]
    for who, label in (("alice", "fault"), ("bob", "normal")):
        body = {"bundle": "press", "label": label}
        agent.post(f"/records/{key}/label", body, headers={"X-Outstation-Operator": who})
    rows = agent.get("/labels?bundle=press")["labels"]
    assert [(row["key"], row["label"], row["version"], row["decision"]) for row in rows] == [
        (key, "fault", "1.2", "alarm"), (key, "normal", "1.2", "alarm"),
    ]  # fmt: skip
    assert len({row["actor"] for row in rows}) == 2
    mine = agent.get("/labels/queue?bundle=press&limit=200", headers={"X-Outstation-Operator": "bob"})["items"]
    assert key not in {item["record"]["key"] for item in mine}
