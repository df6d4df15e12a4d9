"""Rollouts of the sample plant, always the same: one in the middle of everything, one done, one stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from console.fleet.view import NodeView
from console.rollout.gates import Sample, wave_verdict
from console.rollout.plan import BundleFacts, NodeFacts, Plan, Running
from console.rollout.planner import plan
from console.rollout.planning import narrowed
from console.rollout.policy import Failures, Limits, Policy, Waves
from console.rollout.report import Report, report
from console.sample.plant import WALL_S, digest_of
from console.seat.operations import BundleEntry
from store.rollouts import RolloutRow, TargetRow, WaveRow

NODES = 40
DAY_S = 86_400.0


def sample_reports() -> list[Report]:
    """Newest first."""
    return [
        _report("2.2", 3_600.0, "running", _in_the_middle),
        _report("2.1", 9 * DAY_S, "done", _all_well),
        _report("2.0", 12 * DAY_S, "paused", _stopped, waves=("stopped", "waiting", "waiting")),
    ]


def sample_plan(
    views: Mapping[str, NodeView], entry: BundleEntry, policy: Policy, nodes: Sequence[str], *, change: str = ""
) -> Report:
    """A plan that was just made over the sample fleet. Raises PlanRefused."""
    facts = [_fact(view) for view in views.values()]
    told = BundleFacts(name=entry.name, version=entry.version, digest=entry.digest, size_bytes=entry.size_bytes)
    made = plan(narrowed(policy, nodes), facts, told, change=change)
    id_ = f"{entry.name}-{entry.version}-{made.digest[7:13]}"
    row = RolloutRow(id_, made.digest, made.encoded(), "", "planned", "", "", "alice", WALL_S, WALL_S)
    targets = [TargetRow(id_, node.name, node.wave) for node in made.nodes]
    return report(row, [WaveRow(id_, wave.number) for wave in made.waves], targets)


def _fact(view: NodeView) -> NodeFacts:
    known = view.telemetry
    runs = (
        ()
        if known is None
        else tuple(
            Running(bundle=b.bundle, version=b.version, digest=b.digest, revision=b.revision) for b in known.bundles
        )
    )
    address = view.address
    return NodeFacts(
        name=view.name,
        site=address.site,
        line=address.line,
        reached=known is not None,
        why_not="" if known is not None else "no route to host",
        runs=runs,
    )


def _plan(version: str) -> Plan:
    runs = (Running(bundle="bearing", version="2.1", digest=digest_of("bearing", "2.1"), revision=14),)
    facts = [
        NodeFacts(name=f"press-{number:02}", site="graz", line="L1", runs=runs, fits=number != 13, unfit="disk")
        for number in range(1, NODES + 1)
    ]
    policy = Policy(
        waves=Waves(canary=2, steps=("25%", "100%")), failures=Failures(threshold=3), gate=Limits(predictions_min=100)
    )
    digest = digest_of("bearing", f"{version} out")
    return plan(policy, facts, BundleFacts(name="bearing", version=version, digest=digest, size_bytes=18_400))


def _report(
    version: str, age_s: float, state: str, of: Any, waves: tuple[str, ...] = ("passed", "running", "waiting")
) -> Report:
    made = _plan(version)
    id_ = f"bearing-{version}-{made.digest[7:13]}"
    row = RolloutRow(id_, made.digest, made.encoded(), "", state, "", "", "maria", WALL_S - age_s, WALL_S)
    if state == "paused":
        row = replace(row, why="wave 1 stopped at its gate: press-01: p95 ms 4.1, was 1.9, at most 2.0 x before")
    states = ("passed",) * len(waves) if state == "done" else waves
    targets = [of(TargetRow(id_, node.name, node.wave)) for node in made.nodes]
    return report(row, [_wave(made, targets, number, found) for number, found in enumerate(states, 1)], targets)


def _wave(made: Plan, targets: list[TargetRow], number: int, state: str) -> WaveRow:
    """With its verdict, where it came to one."""
    members = [target for target in targets if target.wave == number]
    verdict = wave_verdict(
        made.waves[number - 1], members, made.policy.gate, soak_s=600.0, silent={}, silent_s_max=120.0
    )
    text = msgspec.json.encode(verdict).decode() if state in ("passed", "stopped") else ""
    return WaveRow(members[0].rollout, number, state, text)


_MIDDLE: dict[int, dict[str, Any]] = {
    2: {"state": "failed", "cause": "DEPLOYMENT.DISK_FULL", "detail": "9 MB free, 64 MB are needed"},
    4: {"state": "skipped", "cause": "not reached", "debt": 1, "detail": "no route to host"},
    5: {"state": "unknown", "detail": "the connection broke"},
    6: {"state": "trial", "trial_s": 47.0, "trial_left_s": 553.0},
    7: {"state": "trial", "trial_s": 12.0, "trial_left_s": 588.0, "asked": "confirm"},
}


def _in_the_middle(row: TargetRow) -> TargetRow:
    number = int(row.node.rpartition("-")[2])
    if row.wave == 3:
        return replace(row, state="waiting" if number % 5 == 0 else "staged")
    if row.wave == 1:
        return _all_well(row)
    return replace(row, **_MIDDLE.get(number % 10, {"state": "ok"}))


def _all_well(row: TargetRow) -> TargetRow:
    return replace(row, state="ok", soaked_us=600_000_000, before=_sample(1.9), after=_sample(2.1))


def _stopped(row: TargetRow) -> TargetRow:
    if row.wave == 1:
        detail = f"{row.node}: p95 ms 4.1, was 1.9, at most 2.0 x before"
        return replace(row, state="failed", cause="gate", detail=detail, before=_sample(1.9))
    return replace(row, state="staged")


def _sample(latency_ms_p95: float) -> str:
    sample = Sample(digest="", predictions=4_000, rate=410.0, latency_ms_p95=latency_ms_p95, quality_good_share=1.0)
    return msgspec.json.encode(sample).decode()
