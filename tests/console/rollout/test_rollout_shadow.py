"""Shadows inside a rollout, over simulated nodes: asked before the switch, waited for, believed, never asked twice."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from console.delivery.gate import ShadowOrder, shadow_line, shadow_lines, shadow_of
from console.rollout import orders
from console.rollout.executor import Executor
from console.rollout.outcomes import SHADOW, after
from console.rollout.outline import least_s
from console.rollout.planner import plan
from console.rollout.policy import PolicyError, parse_policy
from nodeagent.protocol import Deployment, DeploymentState, ShadowVerdict
from store.rollouts import Rollouts, TargetRow

POLICY = '[waves]\ncanary = 1\nsoak = "5s"\n[trial]\nwindow = "60s"\nsoak = "5s"\n[shadow]\nfor = "20s"\n'


def carried_out(lab: Any, rows: Rollouts, nodes: dict[str, Any], *, lives: tuple[int, ...] = (-1,)) -> str:
    """The rollout's id when every life of the console is over; each but the last dies at that step."""
    facts = [lab.fact(name) for name in nodes]
    id_ = orders.keep_plan(rows, plan(parse_policy(POLICY), facts, lab.bundle), archive="", operator="ada", wall_s=1.0)

    async def main() -> None:
        orders.start(rows, id_, wall_s=0.0)
        for dies_at in lives:
            console = lab.Console(dies_at)
            plant = lab.Plant(nodes, random.Random(1), console)
            executor = Executor(id_, book=lab.Book(rows, console), nodes=plant, operator="ada", wall_s=lambda: 1e9)
            try:
                await executor.run()
            except* lab.Killed:
                pass
            while plant.tasks:
                await asyncio.wait(plant.tasks)

    lab.run_virtual(main)
    return id_


def state_of(rows: Rollouts, id_: str) -> str:
    row = rows.rollout(id_)
    assert row is not None
    return row.state


def test_every_node_runs_as_a_shadow_for_its_time_before_it_is_switched(lab: Any, rows: Rollouts) -> None:
    nodes = {name: lab.SimNode(name) for name in ("n1", "n2", "n3")}
    id_ = carried_out(lab, rows, nodes)
    assert state_of(rows, id_) == "done"
    for node in nodes.values():
        (deployment,) = node.deployments.values()
        assert (node.shadows, len(node.flips)) == (1, 1)
        assert deployment.flipped_s - deployment.shadow_s >= 20.0
    assert all(shadow_verdict(target) == "passed" for target in rows.targets(id_))


@pytest.mark.parametrize("says", ["failed", "unknown"])
def test_a_shadow_that_did_not_pass_is_withdrawn_and_stops_the_rollout(lab: Any, rows: Rollouts, says: str) -> None:
    nodes = {name: lab.SimNode(name, shadow_says=says) for name in ("n1", "n2")}
    id_ = carried_out(lab, rows, nodes)
    first, second = rows.targets(id_)
    assert (state_of(rows, id_), first.state, first.cause, second.state) == ("paused", "failed", SHADOW, "staged")
    assert not any(node.flips for node in nodes.values())
    assert next(iter(nodes["n1"].deployments.values())).state is DeploymentState.REFUSED
    assert shadow_verdict(first) == says


@pytest.mark.parametrize("dies_at", range(1, 60, 7))
def test_a_console_killed_at_any_step_of_a_shadow_asks_for_none_twice(lab: Any, rows: Rollouts, dies_at: int) -> None:
    nodes = {name: lab.SimNode(name) for name in ("n1", "n2")}
    id_ = carried_out(lab, rows, nodes, lives=(dies_at, -1))
    assert state_of(rows, id_) == "done"
    assert [(node.shadows, len(node.flips)) for node in nodes.values()] == [(1, 1), (1, 1)]


def test_the_abort_takes_a_shadow_back(lab: Any, rows: Rollouts) -> None:
    nodes = {"n1": lab.SimNode("n1")}
    id_ = carried_out(lab, rows, nodes, lives=(12,))
    (target,) = rows.targets(id_)
    assert (target.state, target.asked) == ("shadow", ""), "the console died while it ran"
    orders.abort(rows, id_, "keep", wall_s=2.0)

    async def main() -> None:
        console = lab.Console(-1)
        plant = lab.Plant(nodes, random.Random(1), console)
        await Executor(id_, book=lab.Book(rows, console), nodes=plant, operator="ada", wall_s=lambda: 1e9).run()

    lab.run_virtual(main)
    assert (state_of(rows, id_), rows.targets(id_)[0].state) == ("aborted", "skipped")
    assert not nodes["n1"].flips


def test_the_policy_says_how_long_and_a_plan_counts_it(lab: Any) -> None:
    assert parse_policy("").shadow.order() is None
    assert parse_policy(POLICY).shadow.order() == ShadowOrder(seconds=20.0, known=True)
    with pytest.raises(PolicyError, match=r"line 2: shadow\.for: a node takes up to 7d"):
        parse_policy('[shadow]\nfor = "8d"\n')
    without = parse_policy(POLICY.partition("[shadow]")[0])
    more = least_s(plan(parse_policy(POLICY), [lab.fact("n1")], lab.bundle)) - least_s(
        plan(without, [lab.fact("n1")], lab.bundle)
    )
    assert more > 20.0


def test_a_shadow_that_a_restart_cut_off_is_asked_for_again() -> None:
    row = TargetRow("r", "n1", 1, deployment="d1", state="shadow")
    cut = ShadowVerdict(verdict="unknown", reasons=["it was cut off before its end"])
    kept = {"shadow": msgspec.to_builtins(cut)}
    found = Deployment(id="d1", bundle="p", version="2", digest="d", state=DeploymentState.STAGED, preflight=kept)
    told = after(row, "look", found, digest="d", retries=2)
    assert (told.state, told.shadow) == ("staged", "")


def test_how_it_stands_and_how_it_ended_is_told_with_what_was_shed() -> None:
    running = ShadowVerdict(verdict="unknown", running=True, rows=1_200, agreement=0.998, left_s=65.0)
    assert shadow_line(running) == "shadow runs: 1,200 sweeps, agreement 99.8%, 1:05 left"
    ended = ShadowVerdict(verdict="passed", rows=9_000, agreement=1.0, compared_s=1_795.0, shed_s=5.0, unpaired=3)
    assert shadow_line(ended) == "shadow passed: 9,000 sweeps, agreement 100 %"
    assert shadow_lines(ended)[1] == "  compared for 29:55, not fed for 0:05 to leave room; 3 answers without a partner"
    assert shadow_of({"shadow": {"verdict": "perhaps"}}) == ShadowVerdict(
        verdict="unknown", reasons=["the verdict is of another version of the agent"]
    )
    assert shadow_of({}) is None


def shadow_verdict(target: TargetRow) -> str:
    return msgspec.json.decode(replace(target).shadow, type=ShadowVerdict).verdict
