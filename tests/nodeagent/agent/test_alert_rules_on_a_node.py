"""Alert rules and shelving on a real node: of the operator, of a bundle, over a restart."""

from __future__ import annotations

from typing import Any

import pytest

LOW = '[[alert]]\ncode = "MEMORY.USED"\nfigure = "host.memory_percent"\nhigh = 0\nadvice = "None: it is a test."\n'
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
[[sink]]
type = "record"
[[alert]]
code = "PRESS.SCORE"
figure = "bundle.score"
high = -1e9
"""


def alert(agent: Any, code: str) -> dict[str, Any]:
    return agent.eventually(lambda: next((a for a in agent.get("/alerts") if a["code"] == code), None), code)


def put_rules(agent: Any, text: str) -> dict[str, Any]:
    return agent.ask("PUT", "/alerts/rules", {"node_id": agent.node_id, "text": text})


def test_a_rule_of_the_operator_raises_an_alert_that_is_shelved_and_heard_again(agent: Any) -> None:
    set_ = put_rules(agent, LOW)
    assert set_["text"] == LOW
    first, *others = set_["in_force"]
    assert (first["code"], first["origin"], first["says"]) == (
        "MEMORY.USED",
        "operator",
        "memory is in use to over 0 %",
    )
    assert {rule["origin"] for rule in others} == {"default"}
    number = alert(agent, "MEMORY.USED")["id"]
    shelved = agent.post(f"/alerts/{number}/shelve", {"hours": 1.0, "note": "it is known"})
    assert (shelved["state"], shelved["note"]) == ("shelved", "it is known")
    assert 3_500 < shelved["shelved_s_left"] <= 3_600
    agent.kill(agent.supervisor)
    after = alert(agent, "MEMORY.USED")
    assert (after["id"], after["state"]) == (number, "shelved")
    agent.post(f"/alerts/{number}/shelve", {"hours": 0.0})
    agent.eventually(lambda: alert(agent, "MEMORY.USED")["state"] == "raised", "it is announced again")
    assert put_rules(agent, "")["text"] == ""
    agent.eventually(lambda: not [a for a in agent.get("/alerts") if a["code"] == "MEMORY.USED"], "it is gone")
    actions = [entry["action"] for entry in agent.get("/ledger?limit=1000")["entries"]]
    assert actions.count("alert.rules") == 2
    assert {"alert.shelf", "alert.shelve", "alert.unshelve"} <= set(actions)


def test_a_wrong_rule_changes_nothing_and_names_its_line(agent: Any) -> None:
    with pytest.raises(agent.refusal, match=r"alerts\.toml:3.*there is no 'host\.memory'") as caught:
        put_rules(agent, LOW.replace("memory_percent", "memory"))
    assert caught.value.code == "ALERT.RULES"
    assert agent.get("/alerts/rules")["text"] == ""


def test_nothing_is_shelved_without_a_reason_or_for_ever(agent: Any) -> None:
    for wrong in ({"hours": 1.0, "note": " "}, {"hours": 73.0, "note": "why"}, {"hours": -1.0, "note": "why"}):
        with pytest.raises(agent.refusal, match=r"REQUEST\.MALFORMED"):
            agent.post("/alerts/1/shelve", wrong)


def test_a_bundle_brings_rules_for_its_own_figures(agent: Any, workshop: Any) -> None:
    assert agent.commit(workshop.bundle(2, pipeline=PIPELINE), "with-rules")["state"] == "COMMITTED"
    found = alert(agent, "PRESS.SCORE")
    assert (found["subject"], found["priority"]) == ("press", 3)
    assert agent.get("/alerts/rules")["bundles"] == ["press: PRESS.SCORE bundle.score high -1e+09"]
    agent.stage(workshop.bundle(3, pipeline=PIPELINE.replace("bundle.score", "host.load_1m")), "wrong-rules")
    wrong = agent.change("/deployments/wrong-rules/preflight")
    assert (wrong["state"], wrong["error"]["code"]) == ("REFUSED", "BUNDLE.PIPELINE")
