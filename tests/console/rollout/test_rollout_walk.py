"""Any walk of a person, of faults and of consoles that die over one rollout, judged by the nodes after each step."""

from __future__ import annotations

import asyncio
import math
import os
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs

from console.rollout import orders
from console.rollout.decide import Step, decide
from console.rollout.executor import Executor
from console.rollout.orders import OrderRefused
from console.rollout.planner import plan
from console.rollout.policy import parse_policy
from console.rollout.standing import Standing
from nodeagent.protocol import DeploymentState, RollbackReason
from store.rollouts import RolloutRow, Rollouts

# A sample here; `make faults` walks more.
EXAMPLES, STEPS = (400, 60) if "OUTSTATION_ROLLOUT_SEEDS" in os.environ else (12, 25)
POLICY = parse_policy("""
[waves]
canary = 2
steps = [4, "100%"]
soak = "20s"
[redundancy]
label = "pair"
[trial]
window = "60s"
soak = "10s"
[failures]
threshold = 2
retries = 1
unreachable = "30s"
""")
NODES = tuple(f"n{number}" for number in range(6))
node_names = st.sampled_from(NODES)


class Walk(RuleBasedStateMachine):
    """Three pairs in three waves. `lab` and `choose` are set by the test that walks."""

    lab: Any
    choose: Any = staticmethod(decide)

    @initialize(
        seed=st.integers(0, 1 << 16),
        loss=st.sampled_from([0.0, 0.05]),
        sick=st.sampled_from(["", *NODES]),
        lead_s=st.sampled_from([0.0, 13.0, 35.0, 40.0, 45.0, 50.0, 75.0]),
    )
    def begin(self, seed: int, loss: float, sick: str, lead_s: float) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="walk-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.rows = Rollouts(self.folder / "catalog.db").__enter__()
        self.loop = self.lab.loop()
        self.nodes = {name: self.lab.SimNode(name) for name in NODES}
        self.random, self.loss = random.Random(seed), loss
        facts = [self.lab.fact(name, labels=(("pair", f"p{number // 2}"),)) for number, name in enumerate(NODES)]
        self.plan = plan(POLICY, facts, self.lab.bundle)
        self.id = orders.keep_plan(self.rows, self.plan, archive="", operator="ada", wall_s=0.0)
        orders.start(self.rows, self.id, wall_s=0.0)
        self.task: asyncio.Task[RolloutRow] | None = None
        if sick:
            self.nodes[sick].fails_after_s = 4.0
        self._live()
        self._wait(lead_s)

    @property
    def now_s(self) -> float:
        return float(self.loop.time())

    def _live(self) -> None:
        self.console = self.lab.Console()
        self.plant = self.lab.Plant(self.nodes, self.random, self.console, loss=self.loss)
        executor = Executor(
            self.id,
            book=self.lab.Book(self.rows, self.console),
            nodes=self.plant,
            operator="ada",
            wall_s=lambda: 1e9 + self.now_s,
            choose=self.choose,
        )
        self.task = self.loop.create_task(executor.run())

    def _die(self) -> None:
        """The process is gone; what it had sent arrives."""
        self.console.dead = True
        if self.task is not None:
            self.task.cancel()
            self.loop.run_until_complete(asyncio.gather(self.task, return_exceptions=True))
        self.task = None
        while self.plant.tasks:
            self.loop.run_until_complete(asyncio.wait(self.plant.tasks))

    # -- time, faults

    @rule(seconds=st.sampled_from([0.3, 3.0]))
    def wait_a_little(self, seconds: float) -> None:
        self._wait(seconds)

    @rule(seconds=st.sampled_from([12.0, 25.0]))
    def wait(self, seconds: float) -> None:
        self._wait(seconds)

    @rule()
    def wait_long(self) -> None:
        self._wait(60.0)

    def _wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        if self.task is not None and self.task.done():
            self.task.result()
            self.task = None

    @rule(name=node_names, seconds=st.sampled_from([8.0, 50.0, 200.0]))
    def cut(self, name: str, seconds: float) -> None:
        self.nodes[name].cuts_s.append((self.now_s, self.now_s + seconds))

    @rule(name=node_names)
    def reboot(self, name: str) -> None:
        self.nodes[name].judge(self.now_s)
        self.nodes[name].reboots_s.append(self.now_s)

    @rule(name=node_names, fails_after_s=st.sampled_from([None, 4.0]))
    def sicken(self, name: str, fails_after_s: float | None) -> None:
        self.nodes[name].judge(self.now_s)
        self.nodes[name].fails_after_s = fails_after_s

    # -- consoles and persons

    @rule()
    def kill(self) -> None:
        self._die()

    @rule()
    def another_console(self) -> None:
        self._die()
        if self.rows.rollout(self.id).state == "running":
            self._live()

    @precondition(lambda self: self.task is None)
    @rule()
    def resume(self) -> None:
        """As the CLI does: only where no console carries it out."""
        try:
            orders.resume(self.rows, self.id, operator="eve", wall_s=0.0)
        except OrderRefused:
            return
        self._live()

    @rule()
    def retry(self) -> None:
        """Over a console that died just before."""
        self._die()
        try:
            orders.retry(self.rows, self.id, nodes=(), operator="eve", wall_s=0.0)
        except OrderRefused:
            return
        self._live()

    @rule()
    def pause(self) -> None:
        try:
            orders.pause(self.rows, self.id, running=self.task is not None, wall_s=0.0)
        except OrderRefused:
            return

    # -- what holds whatever happened

    @invariant()
    def nothing_is_done_twice(self) -> None:
        for node in self.nodes.values():
            node.judge(self.now_s)
            flips = [id_ for _, id_ in node.flips]
            assert len(flips) == len(set(flips)), f"{node.name} was switched twice by {flips}"
            committed = [number for number, id_ in enumerate(flips) if node.deployments[id_].state.value == "COMMITTED"]
            assert committed in ([], [len(flips) - 1]), f"{node.name} was switched again after its commit"

    @invariant()
    def no_two_of_a_pair_are_in_their_trials_at_once(self) -> None:
        for first, second in zip(NODES[::2], NODES[1::2], strict=True):
            for begun, ended in self._trials(first):
                for other, over in self._trials(second):
                    assert ended <= other or over <= begun, f"{first} and {second} at once: {begun:.1f}, {other:.1f}"

    @invariant()
    def no_wave_begins_before_the_gate_of_the_one_before(self) -> None:
        first = [min((at for n in wave.nodes for at, _ in self.nodes[n].flips), default=math.inf)
                 for wave in self.plan.waves]  # fmt: skip
        for wave, at in zip(self.plan.waves, first[1:], strict=False):
            if at < math.inf:
                self._was_over(wave.nodes, wave.failures_max, at)

    def _was_over(self, names: tuple[str, ...], failures_max: int, at: float) -> None:
        last = []
        for name in names:
            found = [self.nodes[name].deployments[id_] for flip_s, id_ in self.nodes[name].flips if flip_s < at]
            assert all(each.ended_s and each.ended_s <= at for each in found), f"{name} was in its trial at {at:.1f}"
            last += found[-1:]
        soaked = [at - each.ended_s for each in last if each.state is DeploymentState.COMMITTED]
        assert soaked, f"nobody of {names} had committed at {at:.1f}"
        assert min(soaked) >= POLICY.waves.soak_s, f"{names} soaked {soaked}"
        assert sum(each.reason is RollbackReason.FAILED for each in last) < failures_max

    def _trials(self, name: str) -> list[tuple[float, float]]:
        node = self.nodes[name]
        ends = [node.deployments[id_].ended_s or math.inf for _, id_ in node.flips]
        return [(at, end) for (at, _), end in zip(node.flips, ends, strict=True)]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self._die()
            self.loop.close()
            self.rows.__exit__(None, None, None)
            shutil.rmtree(self.folder)


def walk(lab: Any, choose: Any = decide, *, examples: int = EXAMPLES, shrink: bool = True) -> None:
    walker = type("Walking", (Walk,), {"lab": lab, "choose": staticmethod(choose)})
    run_state_machine_as_test(
        walker,
        settings=settings(
            max_examples=examples, stateful_step_count=STEPS, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck), phases=(Phase.generate, *((Phase.shrink,) if shrink else ())),
        ),
    )  # fmt: skip


def test_whatever_a_person_a_fault_and_a_dead_console_do_in_any_order_the_nodes_see_one_rollout(lab: Any) -> None:
    walk(lab)


def skip_the_soak(now: Standing) -> Step:
    """A bug planted: a wave passes as soon as its nodes are committed."""
    policy = structs.replace(now.plan.policy, waves=structs.replace(now.plan.policy.waves, soak_s=0.0))
    return decide(replace(now, plan=structs.replace(now.plan, policy=policy)))


def test_the_walk_finds_a_gate_that_does_not_wait(lab: Any) -> None:
    with pytest.raises(AssertionError, match="soaked"):
        walk(lab, skip_the_soak, examples=60, shrink=False)
