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


@pytest.fixture(scope="module")
def node(make_agents: Any, workshop: Any) -> Any:
    """The switch names the models of 1.2 and 1.3 under the first bindings, and not that of 1.1, which is committed."""
    named = [f"{model_of(workshop.bundle(number))}@1" for number in (2, 3)]
    agent = make_agents(f"[write_back]\narmed = {named}\n")
    (agent.state / "bindings.toml").write_text(BINDINGS)
    agent.start()
    agent.eventually(lambda: agent.get("/bindings")["revision"] == 1, "the bindings to be taken in")
    agent.commit(workshop.bundle(1, pipeline=pipeline()), "other")
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


def pipeline(high: float = 1000.0) -> str:
    return PIPELINE.replace("HIGH", str(high))


def test_a_model_that_the_switch_does_not_name_is_never_armed(node: Any) -> None:
    assert not is_armed(node, 1)


def test_outputs_that_were_a_dry_run_before_act_from_the_commit_on_in_the_same_worker(node: Any, workshop: Any) -> None:
    node.deploy(workshop.bundle(2, pipeline=pipeline()), "first")
    assert not is_armed(node, 2)
    node.change("/deployments/first/confirm")
    node.eventually(lambda: is_armed(node, 2), "the commit to arm it")
    (worker,) = node.workers
    node.kill(node.supervisor)
    node.eventually(lambda: is_armed(node, 2), "a new supervisor to leave it armed")
    assert [left.pid for left in node.workers] == [worker.pid]


@pytest.mark.parametrize(("high", "armed"), [(1000.0, True), (900.0, False)])
def test_in_a_trial_the_same_section_stays_armed_and_a_changed_one_is_a_dry_run(
    node: Any, workshop: Any, high: float, armed: bool
) -> None:
    revision = max(row["revision"] for row in node.get("/revisions")) + 1
    node.deploy(workshop.bundle(3, pipeline=pipeline(high)), f"trial-{high}")
    assert is_armed(node, revision) == armed
    node.change(f"/deployments/trial-{high}/rollback")
    node.eventually(lambda: is_armed(node, 2), "the previous revision to be armed again")


def test_a_second_bundle_that_would_write_the_same_register_is_refused_with_the_firsts_name(
    node: Any, workshop: Any
) -> None:
    node.stage(workshop.bundle(1, pipeline=pipeline(), name="scale"), "rival")
    with pytest.raises(
        node.refusal, match=r"holding:100 of 127\.0\.0\.1:1 unit 1 is written by the bundle press, and scale"
    ) as refused:
        node.change("/deployments/rival/preflight")
    assert refused.value.code == "DEPLOYMENT.WRITE_CONFLICT"
    idle = workshop.bundle(2, pipeline=pipeline().replace("dry_run = false", "dry_run = true"), name="scale")
    node.stage(idle, "idle")
    assert node.change("/deployments/idle/preflight")["state"] == "PREFLIGHT_OK"
