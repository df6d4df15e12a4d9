"""Which nodes are asked what next, while a rollout goes forward. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from console.rollout.gates import judge, read_sample, tell
from console.rollout.outcomes import FLIPS_MAX, GATE, SHADOW, Op
from console.rollout.standing import OPEN_WAVES, Standing, is_moving
from nodeagent.protocol import ShadowVerdict
from store.rollouts import TargetRow

DEBT_S = 30.0


@dataclass(frozen=True, slots=True)
class Act:
    """One node to be asked one thing; `cause` and `detail` are written with the intent."""

    op: Op
    node: str
    cause: str = ""
    detail: str = ""


def node_acts(now: Standing) -> tuple[Act, ...]:
    """Everything that may be asked at once, within the policy's concurrency."""
    room, groups = Room(now), set(now.groups_moving)
    found: list[Act] = []
    for target in now.targets:
        contact = now.contact(target.node)
        if contact.busy or contact.backoff:
            continue
        act = settle(now, target) or _forward(now, target, room, groups)
        if act is not None:
            found.append(act)
            room.take(act)
            if act.op == "activate":
                groups.add(now.group(target.node))
    return tuple(found)


class Room:
    """How many more nodes may be staged, and switched, at once."""

    def __init__(self, now: Standing) -> None:
        most = now.plan.policy.waves.concurrency
        self.stages = most - sum(target.asked == "stage" for target in now.targets)
        busy = (target for target in now.targets if is_moving(target) or "shadow" in (target.state, target.asked))
        self.switches = most - sum(target.state != "unknown" for target in busy)

    def take(self, act: Act) -> None:
        self.stages -= act.op == "stage"
        self.switches -= act.op in ("shadow", "activate", "revert")


def settle(now: Standing, target: TargetRow) -> Act | None:
    """What is owed to a node whatever else goes on: an answer that is missing, the end of its trial."""
    if target.asked:
        return Act("look", target.node)
    idle = now.contact(target.node).idle_s >= now.poll_s
    if target.state in ("unknown", "shadow"):
        return Act("look", target.node) if idle else None
    if target.state == "trial":
        return _end_of_trial(now, target) or (Act("look", target.node) if idle else None)
    return None


def _end_of_trial(now: Standing, target: TargetRow) -> Act | None:
    """Confirmed when the node's own clock says that it soaked; taken back when a limit is broken by then."""
    if target.trial_s < now.plan.policy.trial.soak_s:
        return None
    if target.goal == "new":
        figures = judge(target.node, now.plan.policy.gate, read_sample(target.before), read_sample(target.after))
        if broken := [tell(figure) for figure in figures if figure.says == "fail"]:
            return Act("rollback", target.node, GATE, "; ".join(broken[:3]))
    return Act("confirm", target.node)


def _forward(now: Standing, target: TargetRow, room: Room, groups: set[str]) -> Act | None:
    """The node's next step where the rollout may go on."""
    wave = now.waves[target.wave - 1]
    if target.state == "ok":
        idle = now.contact(target.node).idle_s >= now.poll_s
        return Act("watch", target.node) if wave.state == "soaking" and idle else None
    if now.rollout.want or target.goal != "new":
        return None
    if target.state == "skipped" and target.debt:
        return Act("call", target.node) if now.contact(target.node).idle_s >= DEBT_S else None
    if target.state == "waiting":
        may = now.plan.policy.stage == "everywhere" or wave.state in OPEN_WAVES
        return Act("stage", target.node) if may and room.stages > 0 else None
    if target.state == "staged" and _may_switch(now, target, room, groups):
        return _shadow_or_switch(now, target)
    return None


def _shadow_or_switch(now: Standing, target: TargetRow) -> Act:
    """The switch, once the node's shadow let it through where the policy asks for one."""
    order = now.plan.policy.shadow.order()
    if order is None:
        return Act("activate", target.node)
    if not target.shadow:
        return Act("shadow", target.node)
    verdict = msgspec.json.decode(target.shadow, type=ShadowVerdict)
    if order.stops(verdict):
        return Act("rollback", target.node, SHADOW, f"beside what runs: {'; '.join(verdict.reasons[:3])}")
    return Act("activate", target.node)


def _may_switch(now: Standing, target: TargetRow, room: Room, groups: set[str]) -> bool:
    return (
        now.waves[target.wave - 1].state in OPEN_WAVES
        and not now.is_stopped(target.wave)
        and now.is_open
        and room.switches > 0
        and now.group(target.node) not in groups
        and target.flips < FLIPS_MAX
    )
