"""What the headless demo shows of the plant's protocols: which one each node reads, and that each comes back."""

from __future__ import annotations

import asyncio
from typing import Any

from console.demo.plan import NODES, NodePlan
from console.demo.scene import Claim, Scene
from nodeagent.protocol import Record, SourceTelemetry

READ = "each example reads its protocol"
BACK = "OPC UA server and broker lost and found again"
EXAMPLES = ("pump", "bearing", "casting")


async def protocols(scene: Scene) -> list[Claim]:
    """First what is read, then what happens when the servers of it are gone."""
    return [await read(scene), await lost_and_found(scene)]


async def read(scene: Scene) -> Claim:
    """A node of each example has a source of its protocol that is up and gives samples."""
    wanted = {line["name"]: line["protocol"] for line in scene.plant.nodes}

    async def look() -> dict[str, dict[str, Any]] | None:
        found: dict[str, dict[str, Any]] = {}
        for plan in NODES:
            source = _source(scene, plan.name)
            if source is not None and source.type == wanted[plan.name] and source.state == "up":
                found.setdefault(plan.example, {"node": plan.name, "source": source.type, "id": source.id})
                found[plan.example]["samples_total"] = source.samples_total
        return found if set(found) == set(EXAMPLES) else None

    found = await scene.until(look)
    notes = [line["note"] for line in scene.plant.nodes if line["note"]]
    if found is None:
        return Claim(READ, False, "", f"not seen up: {', '.join(sorted(set(wanted.values())))}")
    text = ", ".join(f"{example}: {each['source']}" for example, each in found.items())
    return Claim(READ, True, "", "; ".join([text, *notes]), found)


async def lost_and_found(scene: Scene) -> Claim:
    """Both die, each node says which source is gone, and records again by itself when its server is back."""
    servers = {line["name"] for line in scene.plant.nodes if line["protocol"] in ("opcua", "mqtt")}
    plans = [plan for plan in NODES if plan.name in servers]
    told = await asyncio.gather(*(_lost_and_found(scene, plan) for plan in plans))
    keys = {plan.name: key for plan, key in zip(plans, told, strict=True) if key is not None}
    missing = [plan.name for plan in plans if plan.name not in keys]
    text = f"not seen lost and found: {', '.join(missing)}" if missing else f"{', '.join(keys)} record again"
    return Claim(BACK, not missing, "", text, {"record_keys": keys})


async def _lost_and_found(scene: Scene, plan: NodePlan) -> int | None:
    """The key of a record that came after; None where the loss was not seen, or no record came."""
    await scene.plant.command(do="stop-device", device=plan.device)

    async def silent() -> bool:
        source = _source(scene, plan.name)
        return source is not None and source.state != "up"

    seen = await scene.until(silent)
    last = await scene.until(lambda: scene.newest(plan.name)) if seen else None
    await scene.plant.command(do="start-device", device=plan.device)
    if last is None:
        return None

    async def again() -> Record | None:
        found = await scene.newest(plan.name, after=last.key)
        return found if found is not None and found.score is not None else None

    record = await scene.until(again)
    return None if record is None else record.key


def _source(scene: Scene, node: str) -> SourceTelemetry | None:
    telemetry = scene.view(node).telemetry
    sources = [source for bundle in telemetry.bundles for source in bundle.sources] if telemetry else []
    return sources[0] if sources else None
