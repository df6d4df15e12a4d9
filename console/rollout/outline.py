"""What a plan will take, read before it is started: bytes, time, groups, logins. Pure."""

from __future__ import annotations

from collections import Counter

import msgspec

from console import figures
from console.rollout.plan import Plan

# Preflight, recorder gate, the switch and a login, as a node of ordinary size does them.
SWITCH_S = 15.0


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """What goes over the way to one jump host, at most: the bundle once for every node behind it.

    `seconds`: at the policy's budget; None where it has none.
    """

    jump: str
    nodes: int
    bytes_max: int
    seconds: float | None


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """`bytes_max`: what a node holds already is not sent. `least_s`: without uploads, retries and maintenance windows.

    `upload_s`: so many bytes at the policy's budget. `groups`: node -> its redundancy group; `logins`: node -> what
    its login needs a person for.
    """

    policy: str
    stage: str
    success: str
    concurrency: int
    trial_window_s: float
    trial_soak_s: float
    wave_soak_s: float
    recorder_rows: int
    agreement_min: float
    shadow_s: float
    bytes_max: int
    bundle_bytes: int
    least_s: float
    groups: dict[str, str]
    logins: dict[str, str]
    stops_at: tuple[int, ...]
    budget: str = ""
    upload_s: float | None = None
    crossings: tuple[Crossing, ...] = ()


def outline(plan: Plan) -> Outline:
    """Of a stored plan."""
    policy = plan.policy
    return Outline(
        policy=policy.name,
        stage=policy.stage,
        success=policy.success,
        concurrency=policy.waves.concurrency,
        trial_window_s=policy.trial.window_s,
        trial_soak_s=policy.trial.soak_s,
        wave_soak_s=policy.waves.soak_s,
        recorder_rows=policy.recorder.rows,
        agreement_min=policy.recorder.agreement_min,
        shadow_s=policy.shadow.shadow_s,
        bytes_max=plan.bundle.size_bytes * len(plan.nodes),
        bundle_bytes=plan.bundle.size_bytes,
        least_s=least_s(plan),
        groups={node.name: node.group for node in plan.nodes if node.group},
        logins={node.name: node.person for node in plan.logins},
        stops_at=tuple(wave.failures_max for wave in plan.waves),
        budget=policy.transfer.budget,
        upload_s=_seconds(plan, len(plan.nodes)),
        crossings=crossings(plan),
    )


def crossings(plan: Plan) -> tuple[Crossing, ...]:
    """The jump hosts with several nodes of the plan behind them, the busiest first."""
    behind = Counter(node.jumps[0] for node in plan.nodes if node.jumps)
    return tuple(
        Crossing(jump=jump, nodes=nodes, bytes_max=nodes * plan.bundle.size_bytes, seconds=_seconds(plan, nodes))
        for jump, nodes in behind.most_common()
        if nodes > 1
    )


def _seconds(plan: Plan, nodes: int) -> float | None:
    rate = plan.policy.transfer.bytes_per_s
    return None if rate is None else nodes * plan.bundle.size_bytes / rate


def transfer_lines(told: Outline) -> list[str]:
    """What goes over thin links, and how long that takes."""
    lines = []
    if told.upload_s is not None:
        lines.append(f"uploads take at most {told.budget} together: {figures.countdown(told.upload_s)} for all of it")
    for way in told.crossings:
        took = "" if way.seconds is None else f", {figures.countdown(way.seconds)} at {told.budget}"
        each = f"{way.nodes} x {figures.size(told.bundle_bytes)} = {figures.size(way.bytes_max)}"
        lines.append(f"the bundle crosses the way to {way.jump} once a node: {each} at most{took}")
    return lines


def least_s(plan: Plan) -> float:
    """Seconds that the waves need at least, one after the other."""
    policy = plan.policy
    once_s = SWITCH_S + policy.trial.soak_s + (policy.shadow.shadow_s + SWITCH_S if policy.shadow.shadow_s else 0.0)
    turns = (-(-len(wave.nodes) // policy.waves.concurrency) for wave in plan.waves)
    return sum(count * once_s + policy.waves.soak_s for count in turns)
