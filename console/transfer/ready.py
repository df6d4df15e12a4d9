"""How a console ships: differences out of its catalog, kept in its folder, and the budget that the operator gave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from console.home import Home
from console.transfer.budget import Budget
from console.transfer.differences import Differences
from console.transfer.seeding import Seeding
from console.transfer.shipping import Shipping


def make_shipping(home: Home, *, bytes_per_s: float | None = None, whole: bool = False, seed: str = "") -> Shipping:
    """For one piece of work: who shares it shares its budget. `whole`: no differences; `seed`: `jump`, or a node."""

    async def shelf(name: str) -> Sequence[tuple[str, Path]]:
        return await asyncio.to_thread(_kept, home, name)

    return Shipping(
        budget=None if bytes_per_s is None else Budget(bytes_per_s),
        differences=None if whole else Differences(home.path / "differences", shelf),
        seeding=Seeding(seed) if seed else None,
    )


def _kept(home: Home, name: str) -> list[tuple[str, Path]]:
    """The catalog's bundles of a name, newest first."""
    with home.open_catalog() as catalog:
        return [(row.version, Path(row.path)) for row in catalog.bundles() if row.name == name]
