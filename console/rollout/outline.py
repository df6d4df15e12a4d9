"""What a plan will take, read before it is started: bytes, time, groups, logins. Pure."""

from __future__ import annotations

import msgspec

from console.rollout.plan import Plan

# Preflight, recorder gate, the switch and a login, as a node of ordinary size does them.
SWITCH_S = 15.0


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """`bytes_max`: what a node holds already is not sent. `least_s`: without uploads, retries and maintenance windows.

    `groups`: node -> its redundancy group; `logins`: node -> what its login needs a person for.
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
    bytes_max: int
    bundle_bytes: int
    least_s: float
    groups: dict[str, str]
    logins: dict[str, str]
    stops_at: tuple[int, ...]


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
        bytes_max=plan.bundle.size_bytes * len(plan.nodes),
        bundle_bytes=plan.bundle.size_bytes,
        least_s=least_s(plan),
        groups={node.name: node.group for node in plan.nodes if node.group},
        logins={node.name: node.person for node in plan.logins},
        stops_at=tuple(wave.failures_max for wave in plan.waves),
    )


def least_s(plan: Plan) -> float:
    """Seconds that the waves need at least, one after the other."""
    policy = plan.policy
    once_s = SWITCH_S + policy.trial.soak_s
    turns = (-(-len(wave.nodes) // policy.waves.concurrency) for wave in plan.waves)
    return sum(count * once_s + policy.waves.soak_s for count in turns)
