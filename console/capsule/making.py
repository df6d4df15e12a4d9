"""A capsule from the app: the last and next ten minutes, signed by this console."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from console import figures
from console.capsule.content import NODES_MAX
from console.capsule.key import own_signer
from console.capsule.make import Made, Wanted, make
from console.failure import Failure
from console.fleet.fleet import LiveFleet
from console.ledgers.visits import Book

MINUTES: Final = 10.0


async def capsule_of(
    fleet: LiveFleet,
    book: Book,
    nodes: Sequence[str],
    path: Path,
    *,
    by: str,
    home: Path,
    tell: Callable[[float], None],
) -> str:
    """What was written, in words. Raises Failure, StoreError kinds, SigningFailed."""
    if not 0 < len(nodes) <= NODES_MAX:
        raise Failure(f"a capsule holds 1 to {NODES_MAX} nodes, not {len(nodes)}", "mark fewer with space")
    sign = await asyncio.to_thread(own_signer, home)
    views = fleet.views()
    chosen = [(views[name].address, fleet.client(name)) for name in nodes]
    try:
        return told(await make(Wanted(chosen, time.time(), MINUTES, by), book, path, sign, tell))
    except ValueError as error:
        raise Failure(str(error)) from error


def told(made: Made) -> str:
    """What a capsule holds, and what it does not."""
    size = sum(part.bytes for part in made.manifest.parts)
    nodes = figures.counted(len(made.manifest.parts), "node")
    taken = ", ".join(f"{count} x {kind}" for kind, count in made.manifest.redacted.items()) or "nothing"
    missing = f"; INCOMPLETE: {', '.join(made.missing)}" if made.missing else ""
    return f"{made.path}: {nodes}, {figures.size(size)}, signed; taken out: {taken}{missing}"
