"""A rollout as it stands, for people and for scripts: lanes of nodes, gates with their figures, causes. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from console.rollout.causes import Cause, group
from console.rollout.gates import Verdict
from console.rollout.outline import Outline, outline
from console.rollout.plan import LeftOut, Plan, read_plan
from console.rollout.standing import Contact, Standing
from nodeagent.protocol import GateVerdict, ShadowVerdict
from store.rollouts import RolloutRow, TargetRow, WaveRow


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One node. `state` as people read it: `reverted`, `owed` and what is asked, too. `gate`, `shadow`: verdicts."""

    node: str
    state: str
    attempt: int
    detail: str = ""
    hint: str = ""
    trial_s: float = 0.0
    trial_left_s: float = 0.0
    soaked_s: float = 0.0
    deployment: str = ""
    gate: GateVerdict | None = None
    shadow: ShadowVerdict | None = None


class WaveReport(msgspec.Struct, frozen=True, kw_only=True):
    """One wave. `verdict` is the stored one, or how the gate stands now where it is being watched."""

    number: int
    name: str
    state: str
    accepted_by: str
    nodes: tuple[NodeReport, ...]
    verdict: Verdict | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `success` only where every node of the plan runs the bundle.

    `orphan`: it is running by its rows, and no process of this console carries it out.
    """

    id: str
    bundle: str
    version: str
    plan_digest: str
    state: str
    want: str
    why: str
    operator: str
    created_wall_s: float
    success: bool
    orphan: bool = False
    counts: dict[str, int]
    waves: tuple[WaveReport, ...]
    causes: tuple[Cause, ...]
    left_out: tuple[LeftOut, ...]
    outline: Outline


def report(
    rollout: RolloutRow, waves: Sequence[WaveRow], targets: Sequence[TargetRow], *, carried_out: bool = True
) -> Report:
    """Raises ValueError where the plan is not what was stored."""
    plan = read_plan(rollout.plan, rollout.digest)
    standing = Standing(plan, rollout, waves, targets, dict[str, Contact]())
    nodes = {target.node: _node(target) for target in targets}
    return Report(
        id=rollout.id,
        bundle=plan.bundle.name,
        version=plan.bundle.version,
        plan_digest=rollout.digest,
        state=rollout.state,
        want=rollout.want,
        why=rollout.why,
        operator=rollout.operator,
        created_wall_s=rollout.created_wall_s,
        success=rollout.state == "done",
        orphan=rollout.state == "running" and not carried_out,
        counts=dict(sorted(Counter(node.state for node in nodes.values()).items())),
        waves=tuple(_wave(standing, wave, plan, nodes) for wave in waves),
        causes=group(rollout.id, targets),
        left_out=plan.left_out,
        outline=outline(plan),
    )


def _wave(standing: Standing, wave: WaveRow, plan: Plan, nodes: dict[str, NodeReport]) -> WaveReport:
    planned = plan.waves[wave.number - 1]
    verdict = msgspec.json.decode(wave.verdict, type=Verdict) if wave.verdict else None
    if wave.state in ("running", "soaking") and standing.rollout.state == "running":
        verdict = standing.verdict(wave.number)
    return WaveReport(
        number=wave.number,
        name=planned.name,
        state=wave.state,
        accepted_by=wave.accepted_by,
        nodes=tuple(nodes[name] for name in planned.nodes),
        verdict=verdict,
    )


def _node(target: TargetRow) -> NodeReport:
    return NodeReport(
        node=target.node,
        state=state_word(target),
        attempt=target.attempt,
        detail=target.detail,
        hint=target.hint,
        trial_s=target.trial_s,
        trial_left_s=target.trial_left_s,
        soaked_s=target.soaked_us / 1e6,
        deployment=target.deployment,
        shadow=msgspec.json.decode(target.shadow, type=ShadowVerdict) if target.shadow else None,
        gate=msgspec.json.decode(target.gate, type=GateVerdict) if target.gate else None,
    )


_ASKED = {
    "stage": "staging",
    "shadow": "shadow",
    "activate": "switching",
    "confirm": "confirming",
    "rollback": "going back",
}


def state_word(target: TargetRow) -> str:
    """One word (or two) for where a node is."""
    if target.state == "unknown":
        return "unknown"
    if target.goal == "old":
        words = {"ok": "reverted", "failed": "not reverted", "waiting": "reverting", "trial": "reverting"}
        return words.get(target.state, target.state)
    if target.asked:
        return _ASKED.get(target.asked, target.asked)
    return "owed" if target.state == "skipped" and target.debt else target.state
