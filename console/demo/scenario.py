"""What the headless demo does and shows: each claim with its row on a node, true only if it was seen."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from console.delivery import deploy
from console.demo.plan import DEGRADING_NODE, GOOD_NODE, NODES, UNPLUGGED_NODE
from console.demo.protocols import protocols
from console.demo.provision import OPERATOR
from console.demo.rollouts import FINISHED, finished_rollout, stopped_by_records, stopped_rollout
from console.demo.scene import FAILURES, Claim, Scene, ledger_entry
from console.demo.seventh import seventh_node
from console.fleet.view import LinkState, NodeView
from nodeagent.protocol import Deployment, DeploymentState, LedgerEntry, Record
from store.archive import read_archive

TRIAL_S = 45.0
SOAK_S = 2.0
PLC_S = 30.0


async def play(scene: Scene, *, seventh: bool = True) -> list[Claim]:
    """Every act; they go side by side, so that one which waits in vain takes no time from the others.

    `seventh`: whether a kit is made and a machine bootstrapped, which is much work for the processor.
    """
    new = asyncio.ensure_future(seventh_node(scene)) if seventh else None
    ups, *groups = await asyncio.gather(
        up(scene),
        asyncio.gather(recorded(scene), degrading(scene), jumped(scene)),
        deployed_then_plc_lost(scene),
        stopped_rollout(scene),
        plugged_in_again(scene),
        protocols(scene),
    )
    return [*ups, *(claim for group in groups for claim in group), *([await new] if new is not None else [])]


async def deployed_then_plc_lost(scene: Scene) -> list[Claim]:
    """The PLC has its own time: a deployment that failed must not make it fail as well."""
    deployed = await good_deployment(scene)
    return [deployed, await plc_lost(replace(scene, deadline_s=time.monotonic() + PLC_S))]


async def plugged_in_again(scene: Scene) -> list[Claim]:
    """The node that was unplugged takes part in the rollout that is finished."""
    first = await asyncio.gather(unplugged(scene), stopped_by_records(scene))
    missing = [claim.claim for claim in first if not claim.ok]
    if missing:  # its canary has no records to be tried on, or its last node was never away
        return [*first, Claim(FINISHED, False, "", f"not begun, since this failed: {', '.join(missing)}")]
    return [*first, await finished_rollout(scene)]


async def up(scene: Scene) -> list[Claim]:
    """Every node that is plugged in is seen live, over SSH."""

    async def one(node: str) -> Claim:
        async def look() -> NodeView | None:
            view = scene.view(node)
            return view if view.link is LinkState.UP and view.is_known(time.monotonic()) else None

        view = await scene.until(look)
        text = "live over SSH" if view else f"{scene.view(node).link}: {scene.view(node).link_error}"
        evidence = {"node_id": view.status.node_id, "cursor": view.telemetry.cursor} if view else {}
        return Claim("node up", view is not None, node, text, evidence)

    return await asyncio.gather(*(one(plan.name) for plan in NODES if not plan.unplugged))


async def unplugged(scene: Scene) -> Claim:
    """The node whose cable is pulled is not shown as well."""

    async def look() -> NodeView | None:
        view = scene.view(UNPLUGGED_NODE)
        return view if view.link is LinkState.DOWN and not view.is_known(time.monotonic()) else None

    view = await scene.until(look)
    text = f"{scene.view(UNPLUGGED_NODE).link}: {scene.view(UNPLUGGED_NODE).link_error}"
    return Claim("unreachable node is unknown", view is not None, UNPLUGGED_NODE, text)


async def recorded(scene: Scene) -> Claim:
    """Every live node writes records."""
    wanted = [plan.name for plan in NODES if not plan.unplugged]
    found = await asyncio.gather(*(scene.until(partial(scene.newest, name)) for name in wanted))
    keys = {name: record.key for name, record in zip(wanted, found, strict=True) if record is not None}
    missing = [name for name in wanted if name not in keys]
    text = f"no record from {', '.join(missing)}" if missing else f"{len(keys)} nodes record"
    return Claim("predictions recorded", not missing, "", text, {"record_keys": keys})


async def degrading(scene: Scene) -> Claim:
    """The pump that wears out is found by the model."""

    async def look() -> Record | None:
        return await scene.newest(DEGRADING_NODE, decision="alarm")

    found = await scene.until(look)
    if found is None:
        return Claim("degrading machine raises an alarm", False, DEGRADING_NODE, "no alarm was recorded")
    evidence = {"record_key": found.key, "score": found.score, "revision": found.revision}
    return Claim("degrading machine raises an alarm", True, DEGRADING_NODE, f"score {found.score:.2f}", evidence)


async def good_deployment(scene: Scene) -> Claim:
    """A good bundle is tried, confirmed by a new login, and predicts."""
    claim = "good bundle committed"
    try:
        trial = await _deploy(scene, GOOD_NODE, scene.bundles.good)
        await asyncio.sleep(SOAK_S)
        async with scene.fleet.operate() as lane:
            done = await deploy.confirm(lane, GOOD_NODE, trial.id, operator=OPERATOR)
    except FAILURES as error:
        return Claim(claim, False, GOOD_NODE, str(error))
    entry = await ledger_entry(scene.fleet.client(GOOD_NODE), trial.id, "COMMITTED")

    async def look() -> Record | None:
        found = await scene.newest(GOOD_NODE)
        return found if found and found.revision == done.revision else None

    record = await scene.until(look)
    ok = done.state is DeploymentState.COMMITTED and entry is not None and record is not None
    return Claim(claim, ok, GOOD_NODE, f"{done.bundle} {done.version} r{done.revision}", _rows(done, entry, record))


async def jumped(scene: Scene) -> Claim:
    """The second site is reached through its jump host."""
    behind = [plan.name for plan in NODES if plan.jump and not plan.unplugged]

    async def look() -> bool:
        return all(scene.view(name).link is LinkState.UP for name in behind)

    await scene.until(look)
    lost = [name for name in behind if scene.view(name).link is not LinkState.UP]
    routes = {name: list(scene.view(name).address.jumps) for name in behind}
    text = f"not reached: {', '.join(lost)}" if lost else f"{len(behind)} nodes behind {routes[behind[0]][0]}"
    return Claim("site behind a jump host", not lost and all(routes.values()), "", text, {"routes": routes})


async def plc_lost(scene: Scene) -> Claim:
    """A PLC dies and comes back: the node says so, and records again by itself."""
    claim = "PLC lost and found again"
    plan = next(plan for plan in NODES if plan.name == GOOD_NODE)
    before = await scene.newest(GOOD_NODE)
    await scene.plant.command(do="stop-device", device=plan.device)

    async def silent() -> str | None:
        sources = [source for bundle in _bundles(scene.view(GOOD_NODE)) for source in bundle.sources]
        return next((source.state for source in sources if source.state != "up"), None)

    seen = await scene.until(silent)
    await scene.plant.command(do="start-device", device=plan.device)
    last = await scene.newest(GOOD_NODE)
    mark = max(record.key for record in (before, last) if record is not None) if before else 0

    async def look() -> Record | None:
        return await scene.newest(GOOD_NODE, after=mark)

    record = await scene.until(look)
    text = f"source was {seen}, then recorded again" if seen and record else "the loss was not seen, or no record came"
    evidence = {"record_key": record.key} if record else {}
    return Claim(claim, bool(seen and record), GOOD_NODE, text, evidence)


def _bundles(view: NodeView) -> Any:
    return view.telemetry.bundles if view.telemetry else ()


async def _deploy(scene: Scene, node: str, path: Path) -> Deployment:
    with read_archive(path) as found:
        async with scene.fleet.operate() as lane:
            return await deploy.deploy(
                lane, node, found, window_s=TRIAL_S, operator=OPERATOR, on_progress=lambda _: None
            )


def _rows(done: Deployment, entry: LedgerEntry | None, record: Record | None) -> dict[str, Any]:
    return {
        "deployment": done.id,
        "revision": done.revision,
        "ledger_seq": entry.seq if entry else None,
        "record_key": record.key if record else None,
        "record_revision": record.revision if record else None,
    }
