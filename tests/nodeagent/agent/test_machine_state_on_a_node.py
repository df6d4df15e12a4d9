"""On a real node a switch waits for the machine, and going back does not."""

from __future__ import annotations

from typing import Any

import pytest

PIPELINE = """
schema = 1
name = "press"
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
high = 1e9
"""


def test_a_switch_waits_for_a_tag_of_the_running_revision_and_going_back_for_nothing(agent: Any, workshop: Any) -> None:
    def waiting(number: int, when: str) -> Any:
        return workshop.bundle(number, pipeline=f'{PIPELINE}[deploy]\nwhen = "{when}"\n')

    first = agent.commit(waiting(1, "state == 1"), "d1")
    assert first["state"] == "COMMITTED", "where nothing runs there is no machine to wait for"
    agent.serving(1)
    agent.stage(waiting(2, "no_such_tag == 1"), "d2")
    agent.change("/deployments/d2/preflight")
    with pytest.raises(agent.refusal) as caught:
        agent.change("/deployments/d2/activate")
    assert caught.value.code == "DEPLOYMENT.MACHINE_STATE"
    assert agent.show("d2")["state"] == "PREFLIGHT_OK", "nothing was changed; it may be asked again"
    agent.change("/deployments/d2/rollback")
    assert agent.commit(waiting(3, "vib < 1000"), "d3")["state"] == "COMMITTED"
    assert agent.change("/bundles/press/revert", {"id": "back"})["state"] == "TRIAL"
