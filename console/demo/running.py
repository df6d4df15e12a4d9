"""A plant that runs, with a console that knows it and its first bundles on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from console.demo.plan import UNPLUGGED_NODE
from console.demo.plant import Plant, running_plant
from console.demo.provision import OPERATOR, Bundles, Say, deploy_first, enter_catalog, make_bundles, pin_host_keys
from console.fleet.fleet import LiveFleet
from console.home import Home, address_of
from console.link.ready import make_pool
from console.seat.prompts import Nobody


@dataclass(frozen=True, slots=True)
class Demo:
    """A plant with a console that knows it, every node running its first bundle."""

    plant: Plant
    home: Home
    fleet: LiveFleet
    bundles: Bundles


@asynccontextmanager
async def running_demo(folder: Path, say: Say, *, keep: bool = False) -> AsyncIterator[Demo]:
    """Starts a plant in `folder` and brings every node its first bundle; `say` is told how far it is."""
    async with running_plant(folder, keep=keep) as plant:
        for note in filter(None, (line["note"] for line in plant.nodes)):
            say(note)
        home = Home(folder / "home")
        home.make()
        pin_host_keys(home, plant)
        bundles = make_bundles(home, folder / "keys" / "release", plant)
        with home.open_catalog() as catalog:
            enter_catalog(catalog, plant, bundles)
            addresses = [address_of(row) for row in catalog.nodes()]
        fleet = LiveFleet(addresses, make_pool(home, Nobody()), operator=OPERATOR)
        try:
            await deploy_first(fleet, bundles, say)
            await plant.command(do="unplug", node=UNPLUGGED_NODE)
            yield Demo(plant, home, fleet, bundles)
        finally:
            await fleet.aclose()
