"""What a person orders while a rollout runs, or when it stands: pause, resume, retry, abort; debts; large fleets."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from console.rollout import orders
from console.rollout.decide import decide
from console.rollout.executor import Executor
from console.rollout.orders import OrderRefused
from console.rollout.planner import plan
from console.rollout.policy import parse_policy
from console.rollout.report import Report, report
from console.rollout.standing import Standing
from store.rollouts import RolloutRow, Rollouts

POLICY = """
success = "next"
[waves]
canary = 1
steps = [3, "100%"]
soak = "20s"
concurrency = 2
[trial]
window = "60s"
soak = "10s"
[failures]
unreachable = "30s"
"""


class Stage:
    """A plant of `count` nodes in a virtual world, and a rollout over it that a test directs."""

    def __init__(self, lab: Any, rows: Rollouts, *, count: int = 6, policy: str = POLICY) -> None:
        self.lab, self.rows = lab, rows
        self.nodes = {f"n{number}": lab.SimNode(f"n{number}") for number in range(count)}
        made = plan(parse_policy(policy), [lab.fact(name) for name in self.nodes], lab.bundle)
        self.id = orders.keep_plan(rows, made, archive="", operator="ada", wall_s=1.0)
        self.console = lab.Console()
        self.wall_s = 1e9

    def run(self, act: Callable[[], Any] | None = None, at_s: float = 0.0) -> RolloutRow:
        """Carries the rollout out to where it stands; `act` happens in the middle."""

        async def main() -> RolloutRow:
            loop = asyncio.get_running_loop()
            if act is not None:
                loop.call_later(at_s, act)
            plant = self.lab.Plant(self.nodes, random.Random(1), self.console)
            book = self.lab.Book(self.rows, self.console)
            executor = Executor(
                self.id, book=book, nodes=plant, operator="ada", wall_s=lambda: self.wall_s + loop.time(), choose=decide
            )
            return await executor.run()

        found: RolloutRow = self.lab.run_virtual(main)
        return found

    def start(self) -> None:
        orders.start(self.rows, self.id, wall_s=2.0)

    def resume(self, **named: Any) -> None:
        orders.resume(self.rows, self.id, operator="ada", wall_s=3.0, **named)

    def report(self) -> Report:
        row = orders.find(self.rows, self.id)
        return report(row, self.rows.waves(self.id), self.rows.targets(self.id))

    @property
    def active(self) -> Counter[str]:
        return Counter(node.active for node in self.nodes.values())


def test_a_rollout_over_a_calm_plant_is_done_and_only_then_a_success(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows)
    assert not stage.report().success
    stage.start()
    assert stage.run().state == "done"
    found = stage.report()
    assert (found.success, found.counts) == (True, {"ok": 6})
    assert [wave.verdict.says for wave in found.waves if wave.verdict] == ["pass"] * 3


def test_every_node_has_the_bundle_before_the_first_is_switched(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows)
    stage.start()
    stage.run()
    asked = [op.op for op in reversed(rows.operations(stage.id))]
    assert asked[:6] == ["stage"] * 6
    assert "stage" not in asked[6:]


def test_never_more_nodes_than_the_policy_says_are_in_their_trial_at_once(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows)
    stage.start()
    stage.run()
    spans = [(d.flipped_s, d.ended_s) for node in stage.nodes.values() for d in node.deployments.values()]
    assert max(sum(start <= at < end for start, end in spans) for at, _ in spans) == 2


def test_a_pause_lets_the_running_trial_be_confirmed_and_begins_nothing_new(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows)
    stage.start()
    ended = stage.run(lambda: orders.pause(rows, stage.id, running=True, wall_s=3.0), at_s=5.0)
    assert ended.state == "paused"
    assert stage.active == {lab.new: 1, lab.old: 5}
    stage.resume()
    assert stage.run().state == "done"


def test_a_policy_may_pause_after_each_wave(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows, policy=POLICY.replace('"next"', '"pause"'))
    stage.start()
    for count in (1, 3):
        assert stage.run().state == "paused"
        assert stage.active[lab.new] == count
        stage.resume()
    assert stage.run().state == "done"


def test_a_canary_that_fails_stops_everything_and_is_not_a_success(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows)
    stage.nodes["n0"].fails_after_s = 3.0
    stage.start()
    ended = stage.run()
    assert (ended.state, stage.active) == ("paused", {lab.old: 6})
    assert "wave 1 stopped at its gate" in ended.why
    assert [cause.nodes for cause in stage.report().causes] == [("n0",)]
    stage.resume()
    assert stage.run().state == "paused"


def test_a_canary_that_is_slower_than_before_is_taken_back_with_the_figure_as_its_cause(
    lab: Any, rows: Rollouts
) -> None:
    stage = Stage(lab, rows)
    stage.nodes["n0"].slow = 50.0
    stage.start()
    assert stage.run().state == "paused"
    cause = stage.report().causes[0]
    assert (cause.cause, cause.nodes) == ("gate", ("n0",))
    assert cause.detail == "n0: p95 ms 55, was 5, at most 2.0 x before"
    assert stage.active == {lab.old: 6}


def test_past_a_gate_a_person_goes_on_under_their_name_and_it_stays_partial(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows)
    stage.nodes["n0"].refuses = True
    stage.start()
    assert stage.run().state == "paused"
    stage.resume(accept=True)
    ended = stage.run()
    assert (ended.state, ended.why) == ("partial", "5 of 6 nodes run it")
    assert [wave.accepted_by for wave in rows.waves(stage.id)] == ["ada", "", ""]


def test_what_failed_is_retried_with_a_deployment_of_its_own(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows)
    stage.nodes["n0"].refuses = True
    stage.start()
    stage.run()
    stage.nodes["n0"].refuses = False
    assert orders.retry(rows, stage.id, nodes=(), operator="ada", wall_s=3.0) == ["n0"]
    assert stage.run().state == "done"
    assert len(stage.nodes["n0"].deployments) == 2
    with pytest.raises(OrderRefused, match="no node failed"):
        orders.retry(rows, stage.id, nodes=(), operator="ada", wall_s=3.0)


@pytest.mark.parametrize(("mode", "new"), [("keep", 3), ("revert", 0)])
def test_an_abort_keeps_or_reverts_what_is_committed_and_ends_the_trials(
    mode: str, new: int, lab: Any, rows: Rollouts
) -> None:
    stage = Stage(lab, rows)
    stage.start()
    ended = stage.run(lambda: orders.abort(rows, stage.id, mode, wall_s=3.0), at_s=80.0)
    assert ended.state == "aborted"
    assert stage.active[lab.new] == new
    assert all(d.state != "TRIAL" for node in stage.nodes.values() for d in node.deployments.values())
    words = set(stage.report().counts)
    assert words == ({"ok", "skipped"} if mode == "keep" else {"reverted", "skipped"})
    assert not stage.report().success


def test_a_revert_goes_from_the_last_wave_to_the_first_and_each_node_once(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows)
    stage.start()
    assert stage.run().state == "done"
    orders.abort(rows, stage.id, "revert", wall_s=3.0)
    assert stage.run().state == "aborted"
    assert stage.active == {lab.old: 6}
    asked = [op.node for op in reversed(rows.operations(stage.id)) if op.op == "revert"]
    wave = {target.node: target.wave for target in rows.targets(stage.id)}
    assert [wave[node] for node in asked] == [3, 3, 3, 2, 2, 1]


def test_a_revert_ends_with_a_node_that_does_not_answer_named_and_its_stand_in_untouched(
    lab: Any, rows: Rollouts
) -> None:
    stage = Stage(lab, rows, count=3, policy=POLICY + '[redundancy]\ngroups = [["n1", "n2"]]\n')
    stage.start()
    assert stage.run().state == "done"
    stage.nodes["n2"].cuts_s = [(0.0, 1e6)]
    orders.abort(rows, stage.id, "revert", wall_s=3.0)
    ended = stage.run()
    assert (ended.state, ended.want) == ("aborted", "revert")
    assert stage.report().counts["unknown"] == 1
    assert "n2" in ended.why
    stage.nodes["n2"].cuts_s = []
    stage.resume()
    assert stage.run().state == "aborted"
    assert stage.active == {lab.old: 3}


def test_an_unreachable_node_is_owed_and_gets_it_when_it_answers_again(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows)
    stage.nodes["n5"].cuts_s = [(0.0, 1e6)]
    stage.start()
    ended = stage.run()
    assert (ended.state, ended.why) == ("partial", "5 of 6 nodes run it, 1 owed")
    assert stage.report().counts == {"ok": 5, "owed": 1}
    stage.nodes["n5"].cuts_s = []
    stage.resume()
    assert stage.run().state == "done"


def test_a_debt_fires_by_itself_while_the_rollout_runs(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows)
    stage.nodes["n2"].cuts_s = [(0.0, 60.0)]
    stage.start()
    assert stage.run().state == "done"
    assert stage.report().counts == {"ok": 6}


def test_a_node_lost_in_its_trial_is_unknown_blocks_the_next_wave_and_may_be_written_off(
    lab: Any, rows: Rollouts
) -> None:
    stage = Stage(lab, rows)
    stage.nodes["n1"].cuts_s = [(38.0, 1e6)]
    stage.start()
    ended = stage.run()
    assert (ended.state, ended.why) == ("paused", "it is not known how it went on n1")
    assert stage.report().counts["unknown"] == 1
    assert all(not stage.nodes[name].flips for name in ("n3", "n4", "n5"))
    with pytest.raises(OrderRefused, match="n2 is not a node"):
        stage.resume(write_off=["n2"])
    stage.resume(write_off=["n1"])
    assert stage.run().state == "partial"
    assert {cause.cause: cause.detail for cause in stage.report().causes} == {
        "written off": "written off by ada; it is not known what runs there"
    }


def test_nodes_are_switched_only_while_the_window_is_open(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows, count=2, policy=POLICY + '[window]\nfrom = "22:00"\nto = "23:00"\n')
    stage.wall_s = 1_795_298_400.0 - 600.0  # Ten minutes before it opens.
    stage.start()
    assert stage.run().state == "done"
    assert all(600.0 <= at <= 4_200.0 for node in stage.nodes.values() for at, _ in node.flips)


def test_orders_that_cannot_be_are_refused(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows, count=2)
    for order in (
        lambda: stage.resume(),
        lambda: orders.pause(rows, stage.id, running=False, wall_s=1.0),
        lambda: orders.find(rows, "nothing"),
    ):
        with pytest.raises(OrderRefused):
            order()
    stage.start()
    stage.run()
    for order in (stage.start, stage.resume, lambda: orders.pause(rows, stage.id, running=False, wall_s=1.0)):
        with pytest.raises(OrderRefused):
            order()


def test_a_stored_plan_is_never_edited(lab: Any, rows: Rollouts) -> None:
    stage = Stage(lab, rows, count=2)
    with pytest.raises(sqlite3.IntegrityError, match="a plan is never edited"):
        rows.set_rollout(stage.id, wall_s=1.0, plan="{}")


def test_two_hundred_nodes_are_asked_what_became_of_them_within_five_seconds_of_a_resume(
    lab: Any, rows: Rollouts
) -> None:
    """The console died while each of them was asked to switch. The seconds are virtual."""
    stage = Stage(lab, rows, count=200)
    stage.start()
    asked = [replace(target, asked="activate", flips=1, state="staged") for target in rows.targets(stage.id)]
    for target in asked:
        stage.nodes[target.node].deployments[target.deployment] = lab.SimDeployment(target.deployment)
    rows.change(stage.id, wall_s=1.0, targets=asked)
    answered_s: list[float] = []

    async def main() -> RolloutRow:
        loop = asyncio.get_running_loop()

        def look(now: Standing) -> None:
            if not answered_s and sum(target.asked == "activate" for target in now.targets) <= 2:
                answered_s.append(loop.time())
                orders.pause(rows, stage.id, running=True, wall_s=1.0)

        executor = Executor(
            stage.id,
            book=lab.Book(rows, stage.console),
            nodes=lab.Plant(stage.nodes, random.Random(1), stage.console),
            operator="ada",
            wall_s=loop.time,
            on_change=look,
        )
        return await executor.run()

    assert lab.run_virtual(main).state == "paused"
    assert answered_s[0] < 5.0
