"""Fifty nodes, faults, a console that is killed, a virtual clock: no node acted on twice, no wave skipped (I13)."""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from console.rollout import orders
from console.rollout.decide import Step, decide
from console.rollout.executor import Executor
from console.rollout.outcomes import deployment_id
from console.rollout.plan import Plan
from console.rollout.planner import plan
from console.rollout.policy import Policy, parse_policy
from console.rollout.standing import Standing
from nodeagent.protocol import DeploymentState, RollbackReason
from store.rollouts import RolloutRow, Rollouts

# A sample here; `make faults` says how many, and has the console die at every step instead of every fourth.
SEEDS = int(os.environ.get("OUTSTATION_ROLLOUT_SEEDS", "24"))
PARTS, STRIDE = (4, 1) if "OUTSTATION_ROLLOUT_SEEDS" in os.environ else (1, 4)
LIVES_MAX = 40
POLICY = parse_policy("""
[waves]
canary = 2
steps = ["30%", "100%"]
soak = "30s"
concurrency = 6
[redundancy]
label = "pair"
[trial]
window = "60s"
soak = "15s"
[failures]
threshold = "20%"
unreachable = "40s"
""")
SMALL = parse_policy("""
[waves]
canary = 1
steps = [2, "100%"]
soak = "15s"
[trial]
window = "60s"
soak = "15s"
""")
END = ("done", "partial", "paused", "aborted")
Choose = Callable[[Standing], Step]


class World:
    """A plant of one seed, and the rollout over it."""

    def __init__(self, lab: Any, rows: Rollouts, seed: int, *, count: int = 50, policy: Policy = POLICY) -> None:
        calm = policy is not POLICY
        self.lab, self.rows, self.random = lab, rows, random.Random(seed)
        self.mild = self.random.random() < 0.25
        names = [f"press-{number:02}" for number in range(count)]
        self.nodes = {name: self._node(name, calm) for name in names}
        facts = [
            lab.fact(name, site=f"site-{number % 3}", labels=(("pair", f"p{number // 2}"),) if number < 20 else ())
            for number, name in enumerate(names)
        ]
        self.plan: Plan = plan(policy, facts, lab.bundle)
        self.id = orders.keep_plan(rows, self.plan, archive="pump.ostn", operator="ada", wall_s=float(seed))
        self.loss = 0.0 if calm else self.random.choice((0.0, 0.01, 0.05))
        self.busy = 0.0 if calm else self.random.choice((0.0, 0.05))
        self.steps: list[int] = []
        self.killed = 0

    def _node(self, name: str, calm: bool) -> Any:
        node, dice = self.lab.SimNode(name), self.random
        if calm:
            return node
        often = (90, 5, 5, 0, 0, 0, 0) if self.mild else (80, 8, 6, 1, 1, 2, 2)
        match dice.choices(("well", "cut", "reboot", "refuses", "unfit", "fails", "slow"), often)[0]:
            case "cut":
                start_s = dice.uniform(0, 200)
                node.cuts_s = [(start_s, start_s + dice.choice((20.0, 30.0) if self.mild else (20.0, 90.0, 5_000.0)))]
            case "reboot":
                node.reboots_s = sorted(dice.uniform(1, 400) for _ in range(dice.randint(1, 4)))
            case "refuses":
                node.refuses = True
            case "unfit":
                node.unfit = True
            case "fails":
                node.fails_after_s = dice.uniform(1, 30)
            case "slow":
                node.slow = 50.0
        return node

    async def live(self, dies_at: int, choose: Choose = decide) -> str:
        """One life of the console; how the rollout stands when it ends."""
        console = self.lab.Console(dies_at)
        plant = self.lab.Plant(self.nodes, self.random, console, loss=self.loss, busy=self.busy)
        loop = asyncio.get_running_loop()
        executor = Executor(
            self.id,
            book=self.lab.Book(self.rows, console),
            nodes=plant,
            operator="ada",
            wall_s=lambda: 1e9 + loop.time(),
            choose=choose,
        )
        try:
            await executor.run()
        except* self.lab.Killed:
            self.killed += 1
        self.steps.append(console.steps)
        assert console.dead or self.row().state in END
        while plant.tasks:  # What was sent arrives, whoever is dead.
            await asyncio.wait(plant.tasks)
        return self.row().state

    def row(self) -> RolloutRow:
        row = self.rows.rollout(self.id)
        assert row is not None
        return row

    def check(self, *, retried: int = 0) -> None:
        """What must hold whatever happened."""
        for node in self.nodes.values():
            node.judge(math.inf)
        self._check_acted_once(retried)
        self._check_waves()
        self._check_rows_are_true()

    def _check_acted_once(self, retried: int) -> None:
        for node in self.nodes.values():
            flips = [id_ for _, id_ in node.flips if node.deployments[id_].kind == "bundle"]
            assert len(flips) == len(set(flips))
            again = [node.deployments[id_] for id_ in flips[:-1]]
            assert all(found.reason in (RollbackReason.INTERRUPTED, RollbackReason.UNCONFIRMED) for found in again) or (
                retried
            ), f"{node.name} was switched again after {[found.reason for found in again]}"
            assert len(flips) <= POLICY.failures.retries + 1 + retried

    def _check_waves(self) -> None:
        first = [
            min((at for name in wave.nodes for at, id_ in self.nodes[name].flips), default=math.inf)
            for wave in self.plan.waves
        ]
        for number, wave in enumerate(self.plan.waves):
            groups = Counter(self.plan.node(name).group for name in wave.nodes)
            assert all(count == 1 for group, count in groups.items() if group)
            for later in first[number + 1 :]:
                if later < math.inf:
                    self._check_wave_was_over(wave.nodes, wave.failures_max, later, first[number + 1])

    def _check_wave_was_over(self, names: tuple[str, ...], failures_max: int, at: float, next_at: float) -> None:
        failed, committed = 0, 0
        for name in names:
            for flip_s, id_ in self.nodes[name].flips:
                found = self.nodes[name].deployments[id_]
                if flip_s >= next_at or found.kind != "bundle":
                    continue  # An owed node that came late.
                assert found.ended_s <= at, f"{name} was in its trial when a later wave began"
                committed += found.state is DeploymentState.COMMITTED
                failed += found.reason is RollbackReason.FAILED
                if found.state is DeploymentState.COMMITTED:
                    assert at - found.ended_s >= self.plan.policy.waves.soak_s, (
                        f"{name} had soaked {at - found.ended_s:.1f} s"
                    )
        assert failed < failures_max
        assert committed > 0

    def _check_rows_are_true(self) -> None:
        """ok means: runs the new one, for good. Anything else but unknown means: it does not."""
        row, targets = self.row(), self.rows.targets(self.id)
        for target in targets:
            active = self.nodes[target.node].active
            if target.state == "ok":
                assert active == (self.lab.new if target.goal == "new" else self.lab.old), target
            elif target.state in ("failed", "interrupted", "unconfirmed", "skipped", "waiting", "staged"):
                assert active == (self.lab.old if target.goal == "new" else self.lab.new), target
        assert (row.state == "done") == (
            row.state in END and all(t.state == "ok" for t in targets) and not row.want
        ) or (row.state == "aborted")


async def play(world: World, choose: Choose = decide) -> str:
    """Lives of the console until the rollout is at an end, or stands and waits for a person."""
    dice, state = world.random, ""
    orders.start(world.rows, world.id, wall_s=0.0)
    order = asyncio.ensure_future(interfere(world))
    for _ in range(LIVES_MAX):
        state = await world.live(dice.randint(1, 700) if dice.random() < 0.8 else -1, choose)
        if state == "paused" and "a person" in world.row().why:
            orders.resume(world.rows, world.id, operator="ada", wall_s=0.0)
        elif state in END:
            break
        await asyncio.sleep(dice.choice((0.0, 5.0, 100.0)))
    order.cancel()
    return state


async def interfere(world: World) -> None:
    """A person at another terminal, in some of the seeds."""
    what = world.random.choice(("", "", "", "pause", "keep", "revert"))
    await asyncio.sleep(world.random.uniform(1, 250))
    if what == "pause" and world.row().state == "running":
        orders.pause(world.rows, world.id, running=True, wall_s=0.0)
    elif what in ("keep", "revert") and world.row().state == "running":
        orders.abort(world.rows, world.id, what, wall_s=0.0)


@pytest.mark.parametrize("part", range(PARTS))
def test_i13_whatever_fails_and_whenever_the_console_dies_every_rollout_ends_as_the_nodes_say(
    part: int, lab: Any, rows: Rollouts
) -> None:
    ends: Counter[str] = Counter()
    killed = 0
    for seed in range(part, SEEDS, PARTS):
        world = World(lab, rows, seed)

        async def main(world: World = world) -> str:
            return await play(world)

        state = lab.run_virtual(main)
        assert state in END, f"seed {seed}: {state}"
        try:
            world.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        ends[state] += 1
        ends.update({f"node {target.state}" for target in rows.targets(world.id)})
        killed += world.killed
    print(part, dict(ends), "killed", killed)
    missing = {"done", "partial", "paused", "aborted", "node ok", "node failed", "node skipped"} - ends.keys()
    assert not missing
    assert killed > SEEDS / 8


def run_small(lab: Any, rows: Rollouts, seed: int, dies_at: int, choose: Choose = decide) -> World:
    """A calm plant of four nodes in three waves; the console dies once, then another goes on."""
    world = World(lab, rows, seed, count=4, policy=SMALL)

    async def main() -> None:
        orders.start(rows, world.id, wall_s=0.0)
        await world.live(dies_at, choose)
        await asyncio.sleep(5.0)
        await world.live(-1, choose)

    lab.run_virtual(main)
    return world


def test_a_console_killed_at_any_step_loses_nothing(lab: Any, rows: Rollouts) -> None:
    whole = run_small(lab, rows, 0, -1)
    assert whole.row().state == "done"
    steps = whole.steps[0]
    assert steps > 80
    assert len(whole.plan.waves) == 3
    for number in range(1, steps + 1, STRIDE):
        world = run_small(lab, rows, number, number)
        assert world.row().state == "done", number
        assert world.killed == (number <= world.steps[0]), number
        world.check()
        assert all(len(node.flips) == 1 for node in world.nodes.values()), number


def infer_instead_of_asking(now: Standing) -> Step:
    """A bug planted: what was asked and not answered is taken for not done, and another attempt begins."""
    lost = [t for t in now.targets if t.asked in ("activate", "confirm") and not now.contact(t.node).busy]
    if not lost:
        return decide(now)
    ids = [deployment_id(t.rollout, t.node, t.goal, t.attempt + 1) for t in lost]
    again = (
        replace(t, asked="", state="waiting", attempt=t.attempt + 1, deployment=id_)
        for t, id_ in zip(lost, ids, strict=True)
    )
    return Step(targets=tuple(again))


def skip_the_soak(now: Standing) -> Step:
    """A bug planted: a wave passes as soon as its nodes are committed."""
    policy = structs.replace(now.plan.policy, waves=structs.replace(now.plan.policy.waves, soak_s=0.0))
    return decide(replace(now, plan=structs.replace(now.plan, policy=policy)))


def take_silence_for_success(now: Standing) -> Step:
    """A bug planted: a node that does not answer counts as done (I19)."""
    silent = [t for t in now.targets if t.state in ("trial", "staged") and now.contact(t.node).silent_s > 5]
    return Step(targets=tuple(replace(t, state="ok", asked="") for t in silent)) if silent else decide(now)


@pytest.mark.parametrize("bug", [infer_instead_of_asking, skip_the_soak, take_silence_for_success])
def test_the_simulation_finds_a_planted_bug(bug: Choose, lab: Any, rows: Rollouts) -> None:
    found = False
    for seed in range(60):
        world = World(lab, rows, seed, count=20)

        async def main(world: World = world) -> str:
            return await play(world, bug)

        lab.run_virtual(main)
        try:
            world.check()
        except AssertionError:
            found = True
            break
    assert found
