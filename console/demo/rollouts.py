"""The rollouts of the headless demo: one whose canary fails, one that is finished over three waves, and a gate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from console.delivery import deploy
from console.delivery.gate import GateOrder, in_short, verdict_of
from console.demo.plan import BAD_NODE, DEGRADING_NODE, GOOD_NODE, UNPLUGGED_NODE
from console.demo.provision import OPERATOR
from console.demo.scene import FAILURES, Claim, Scene, ledger_entry
from console.failure import Failure
from console.rollout.desk import LiveDesk
from console.rollout.report import Report
from nodeagent.protocol import Deployment, DeploymentState, GateVerdict, Record, RollbackReason
from store.archive import read_archive

FINISHED: Final = "good bundle rolled out over three waves"
ROLLOUT_S: Final = 150.0
TRIAL_S: Final = 45.0
RULES: Final = """
[failures]
unreachable = "20s"
[gate]
predictions_min = 1
latency_ms_p95_ratio_max = 100.0
rate_ratio_min = 0.1
quality_share_drop_max = 1.0
rejects_share_rise_max = 1.0
"""
# Not a record is asked before it: this one shows what a trial is for.
BAD_POLICY: Final = f"""
name = "three waves, canary first"
stage = "wave"
[waves]
canary = ["{BAD_NODE}"]
steps = [2, 3]
soak = "2s"
[trial]
window = "45s"
soak = "30s"
[recorder]
rows = 0
{RULES}
"""
GOOD_POLICY: Final = f"""
name = "three waves, each tried on its records"
stage = "wave"
[waves]
canary = ["{DEGRADING_NODE}"]
steps = [2, 3]
soak = "2s"
[trial]
window = "40s"
soak = "2s"
[recorder]
rows = 200
rows_min = 10
agreement_min = 0.5
{RULES}
"""


async def stopped_rollout(scene: Scene) -> list[Claim]:
    """The canary's node takes the bad bundle back by itself, and no other node is touched."""
    nodes = (GOOD_NODE, DEGRADING_NODE, BAD_NODE)
    names = ("bad bundle rolled itself back", "failing canary stops a rollout of three waves")
    try:
        report, ran = await _carried_out(scene, scene.bundles.bad, BAD_POLICY, nodes, scene.deadline_s)
    except (Failure, TimeoutError, *FAILURES) as error:
        return [Claim(name, False, BAD_NODE, str(error) or "the time is up") for name in names]
    canary = report.waves[0].nodes[0]
    if not canary.deployment:
        return [Claim(name, False, BAD_NODE, report.why or canary.state, _evidence(report)) for name in names]
    try:
        done = await scene.fleet.client(BAD_NODE).deployment(canary.deployment)
        entry = await ledger_entry(scene.fleet.client(BAD_NODE), done.id, "ROLLED_BACK")
    except FAILURES as error:
        return [Claim(name, False, BAD_NODE, str(error), _evidence(report)) for name in names]
    record = await _record_of_another(scene, BAD_NODE, done.revision)
    why = done.error.message if done.error else ""
    # The bundle is bad because it cannot predict: a good one that a busy machine made slow is no proof.
    failed = done.reason is RollbackReason.FAILED and "errors in" in why
    rows = {"deployment": done.id, "revision": done.revision, "ledger_seq": entry.seq if entry else None}
    rows |= {"record_key": record.key, "record_revision": record.revision} if record else {"record_key": None}
    back = Claim(names[0], failed and entry is not None and record is not None, BAD_NODE, f"{done.reason}: {why}", rows)
    touched = [node.node for wave in report.waves[1:] for node in wave.nodes if node.state != "waiting"]
    states = [wave.state for wave in report.waves]
    ok = states == ["stopped", "waiting", "waiting"] and canary.state == "failed" and not touched
    ok = ok and failed and report.state == "paused" and not report.success and ran >= 1
    return [back, Claim(names[1], ok, "", report.why or report.state, _evidence(report))]


async def finished_rollout(scene: Scene) -> Claim:
    """Three waves, with the node that was unplugged: each node tried on its records, switched, watched, committed."""
    name = FINISHED
    await scene.plant.command(do="plug", node=UNPLUGGED_NODE)
    nodes = (DEGRADING_NODE, BAD_NODE, UNPLUGGED_NODE)
    try:
        deadline_s = time.monotonic() + ROLLOUT_S
        report, _ = await _carried_out(scene, scene.bundles.good, GOOD_POLICY, nodes, deadline_s)
    except (Failure, TimeoutError, *FAILURES) as error:
        return Claim(name, False, "", str(error) or f"not finished in {ROLLOUT_S:.0f} s")
    evidence = _evidence(report)
    try:
        for node in (node for wave in report.waves for node in wave.nodes if node.deployment):
            entry = await ledger_entry(scene.fleet.client(node.node), node.deployment, "COMMITTED")
            evidence["nodes"][node.node]["ledger_seq"] = entry.seq if entry else None
    except FAILURES as error:
        return Claim(name, False, "", f"{report.why}; {error}", evidence)
    says = [wave.verdict.says if wave.verdict else "none" for wave in report.waves]
    passed = [node.gate for wave in report.waves for node in wave.nodes if node.gate and node.gate.verdict == "passed"]
    committed = all(told.get("ledger_seq") for told in evidence["nodes"].values())
    ok = report.success and says == ["pass"] * 3 and len(passed) == 3 and committed
    text = f"{report.counts.get('ok', 0)} of {len(nodes)} nodes run it; gates {', '.join(says)}"
    return Claim(name, ok, "", text if ok else f"{report.state}: {report.why}; {text}", evidence)


async def stopped_by_records(scene: Scene) -> Claim:
    """The recorder gate finds the bad bundle before anything on the line is switched."""
    name, node = "recorder gate stops the bad bundle before the switch", DEGRADING_NODE
    await scene.until(lambda: scene.newest(node))
    told: list[GateVerdict] = []

    def noted(progress: deploy.Progress) -> None:
        told.extend([progress.verdict] if progress.verdict else [])

    gate = GateOrder(rows=200, rows_min=1)
    try:
        with read_archive(scene.bundles.bad) as found:
            async with scene.fleet.operate() as lane:
                trial = await deploy.deploy(
                    lane, node, found, window_s=TRIAL_S, operator=OPERATOR, on_progress=noted, gate=gate
                )
        return Claim(name, False, node, f"{trial.version} is in its trial: {_said(told)}")
    except deploy.DeployFailed as error:
        deployment = error.deployment if error.step == "gate" else None
        if deployment is None:
            return Claim(name, False, node, str(error))
    except FAILURES as error:
        return Claim(name, False, node, str(error))
    return await _judged(scene, name, node, deployment)


async def _judged(scene: Scene, name: str, node: str, deployment: Deployment) -> Claim:
    client = scene.fleet.client(node)
    done, verdict = await client.deployment(deployment.id), verdict_of(deployment.preflight)
    entry = await ledger_entry(client, deployment.id, "gate")
    # As with the canary: a good one that answers a little otherwise, or slower, is no proof.
    bad = verdict is not None and verdict.verdict == "failed" and verdict.errors > 0
    ok = done.state is DeploymentState.REFUSED and entry is not None and bad
    rows: dict[str, Any] = {"deployment": done.id, "ledger_seq": entry.seq if entry else None}
    if verdict is not None:
        rows |= {"rows": verdict.rows, "errors": verdict.errors, "worst": [row.key for row in verdict.worst[:3]]}
    return Claim(name, ok, node, in_short(verdict) if verdict else f"the deployment is {done.state}", rows)


def _said(told: list[GateVerdict]) -> str:
    return in_short(told[-1]) if told else "its gate said nothing"


async def _carried_out(
    scene: Scene, bundle: Path, policy: str, nodes: Sequence[str], deadline_s: float
) -> tuple[Report, int]:
    """Planned, started and carried out as the Rollouts screen does it; the report, and how many were switched."""
    desk = LiveDesk(scene.home.path, operator=OPERATOR)
    try:
        async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())), scene.fleet.operate() as lane:
            addresses = [view.address for view in scene.fleet.views().values()]
            id_ = await desk.plan(policy, nodes, bundle, lane, addresses)
            await desk.order(id_, "go")
            report = await desk.carry_out(id_, lane, lambda _: None)
    finally:
        desk.close()
    return report, sum(node.state in ("ok", "failed") for wave in report.waves for node in wave.nodes)


async def _record_of_another(scene: Scene, node: str, revision: int | None) -> Record | None:
    async def look() -> Record | None:
        found = await scene.newest(node)
        return found if found and found.revision != revision else None

    found: Record | None = await scene.until(look)
    return found


def _evidence(report: Report) -> dict[str, Any]:
    """The rows of a rollout: its plan, its waves with their gates, its nodes with their deployments."""
    nodes = [node for wave in report.waves for node in wave.nodes]
    return {
        "rollout": report.id,
        "plan": report.plan_digest,
        "waves": [
            {"number": w.number, "name": w.name, "state": w.state, "gate": w.verdict.says if w.verdict else None}
            for w in report.waves
        ],
        "nodes": {
            node.node: {
                "state": node.state,
                "deployment": node.deployment,
                "recorder": node.gate.verdict if node.gate else None,
            }
            for node in nodes
        },
    }
