"""Write-back is armed by a committed deployment and the local switch together: one model, one set of bindings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store import archive

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
high = HIGH
[[sink]]
type = "modbus.write"
url = "${valve.url}"
register = "holding:100"
when = "alarm"
value = 1
[sink.guard]
allow = "${valve.allow}"
low = 0
high = 1
dry_run = false
"""
BINDINGS = '[valve]\nurl = "tcp://127.0.0.1:1"\nallow = ["holding:100"]\n'


@pytest.fixture
def node(make_agent: Any, workshop: Any) -> Any:
    """The switch names the models of 1.2 and 1.3 under the first bindings, and not that of 1.4."""
    named = [f"{model_of(workshop.bundle(number))}@1" for number in (2, 3)]
    agent = make_agent(f"[write_back]\narmed = {named}\n")
    (agent.state / "bindings.toml").write_text(BINDINGS)
    agent.start()
    agent.eventually(lambda: agent.get("/bindings")["revision"] == 1, "the bindings to be taken in")
    return agent


def model_of(bundle: Path) -> str:
    with archive.read_archive(bundle) as opened:
        return str(opened.facts().model_digest)


def told(agent: Any, revision: int) -> Any:
    """What the output of a revision says of itself once it decided."""
    now = agent.serving(revision)
    reasons = [sink["reason"] for sink in now["sinks"] if sink["type"] == "modbus.write"]
    return reasons[0] if reasons and now["predictions_total"] else None


def is_armed(agent: Any, revision: int) -> bool:
    said = str(agent.eventually(lambda: told(agent, revision), "the output to say something"))
    assert said.startswith(("armed", "dry run: this deployment is not armed")), said
    return said.startswith("armed")


def test_a_changed_section_is_armed_at_the_commit_an_unchanged_one_stays_and_another_model_never_is(
    node: Any, workshop: Any
) -> None:
    pipeline = PIPELINE.replace("HIGH", "1000.0")
    node.deploy(workshop.bundle(2, pipeline=pipeline), "first")
    assert not is_armed(node, 1)
    node.change("/deployments/first/confirm")
    pid = node.workers[0].pid
    node.eventually(lambda: is_armed(node, 1), "the commit to arm it")
    assert [worker.pid for worker in node.workers] == [pid]

    node.deploy(workshop.bundle(3, pipeline=pipeline), "same")
    assert is_armed(node, 2)
    node.change("/deployments/same/rollback")
    node.eventually(lambda: is_armed(node, 1), "the previous revision to be armed again")

    node.deploy(workshop.bundle(3, sequence=4, pipeline=PIPELINE.replace("HIGH", "900.0")), "changed")
    assert not is_armed(node, 3)
    node.change("/deployments/changed/confirm")
    node.eventually(lambda: is_armed(node, 3), "the commit to arm it")
    node.kill(node.supervisor)
    node.eventually(lambda: is_armed(node, 3), "a new supervisor to leave it armed")

    node.commit(workshop.bundle(4, sequence=5, pipeline=PIPELINE.replace("HIGH", "900.0")), "stranger")
    assert not is_armed(node, 4)
