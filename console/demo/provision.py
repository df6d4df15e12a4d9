"""Makes the demo's console: its nodes, host keys and signed bundles, and the first deployment of every node."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from console.delivery import deploy
from console.delivery.inspect import facts_from_model
from console.demo.plan import NODES
from console.demo.plant import Plant
from console.fleet.fleet import LiveFleet
from console.fleet.view import NodeAddress
from console.home import Home, row_of
from console.link.endpoint import Endpoint, parse_endpoint
from console.link.errors import LinkError
from console.link.hostkeys import HostKey, HostKeys
from store import archive, builder, signing
from store.catalog import BundleRow, Catalog

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OPERATOR = "demo"
SIGNER = "release"
FIRST_WINDOW_S = 60.0
START_S = 60.0
POLL_S = 0.2
FIRST = {"pump": "pump", "bearing": "bearing", "casting": "casting"}
GOOD, BAD, REFUSED = "pump/variants/2.0", "pump/variants/2.1", "pump/variants/2.2"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Bundles:
    """The signed archives of the demo. `first` by the example's name."""

    first: dict[str, Path]
    good: Path
    bad: Path
    refused: Path


def address_of(line: dict[str, Any]) -> NodeAddress:
    """A node's line of the host as the console's address."""
    return NodeAddress(
        name=line["name"],
        host=line["address"],
        port=line["port"],
        user=line["user"],
        jumps=(line["jump"],) if line["jump"] else (),
        socket=line["socket"],
        agent=line.get("agent", "outstation-agent"),
        site=line["site"],
        line=line["line"],
        machine=line["machine"],
        identity_files=(line["identity"],),
    )


def pin_host_keys(home: Home, plant: Plant) -> None:
    """The demo made the host keys itself, so the console knows them from the start."""
    known = HostKeys(home.known_hosts)
    for line in plant.nodes:
        known.accept(Endpoint(line["address"], line["port"], line["user"]), _host_key(line["host_key"]))
        if line["jump"]:
            known.accept(parse_endpoint(line["jump"]), _host_key(line["jump_host_key"]))


def _host_key(public: str) -> HostKey:
    algorithm, blob, *_ = public.split()
    return HostKey(algorithm, base64.b64decode(blob))


def make_bundles(home: Home, key: Path, plant: Plant) -> Bundles:
    """Builds and signs every bundle of the demo in the console's folder."""
    return Bundles(
        first={name: _bundle(home, key, folder, _pipeline(plant, name)) for name, folder in FIRST.items()},
        good=_bundle(home, key, GOOD),
        bad=_bundle(home, key, BAD),
        refused=_bundle(home, key, REFUSED),
    )


def _pipeline(plant: Plant, example: str) -> str:
    """The example's own, or the one that reads files where the plant has no server of its protocol."""
    files = any(line["example"] == example and line["protocol"] == "folder" for line in plant.nodes)
    return "pipeline.folder.toml" if files else "pipeline.toml"


def _bundle(home: Home, key: Path, folder: str, pipeline: str = "pipeline.toml") -> Path:
    facts = builder.build(EXAMPLES / folder, home.bundles, facts_from_model, pipeline=pipeline)
    path = home.bundles / builder.file_name(facts)
    archive.sign_archive(path, path, lambda manifest: signing.sign_with_key_file(key, manifest))
    return path


def enter_catalog(catalog: Catalog, plant: Plant, bundles: Bundles) -> None:
    """Nodes and bundles, as `node add` and `catalog import` would."""
    for line in plant.nodes:
        catalog.put_node(row_of(address_of(line)))
    for path in (*bundles.first.values(), bundles.good, bundles.bad, bundles.refused):
        with archive.read_archive(path) as found:
            facts = found.facts()
            catalog.put_bundle(
                BundleRow(
                    digest=found.manifest_digest,
                    name=facts.name,
                    version=facts.version,
                    epoch=facts.epoch,
                    sequence=facts.sequence,
                    path=str(path),
                    size_bytes=path.stat().st_size,
                    signer=SIGNER,
                    facts=msgspec.to_builtins(facts),
                    added_wall_s=time.time(),
                )
            )


async def deploy_first(fleet: LiveFleet, bundles: Bundles, say: Say) -> None:
    """Every node's first bundle, staged, tried and confirmed by a new login, all nodes at once."""

    async def one(name: str, example: str) -> None:
        await _answers(fleet, name)
        with archive.read_archive(bundles.first[example]) as found:
            trial = await deploy.deploy(
                lane, name, found, window_s=FIRST_WINDOW_S, operator=OPERATOR, on_progress=lambda _: None
            )
        await deploy.confirm(lane, name, trial.id, operator=OPERATOR)
        say(f"{name} runs {example}")

    async with fleet.operate() as lane, asyncio.TaskGroup() as group:
        for plan in NODES:
            group.create_task(one(plan.name, plan.example))


async def _answers(fleet: LiveFleet, name: str) -> None:
    """Waits until the node's agent is up. Raises the last LinkError after START_S."""
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            await fleet.client(name).status()
            return
        except LinkError:
            if time.monotonic() > deadline_s:
                raise
        await asyncio.sleep(POLL_S)
