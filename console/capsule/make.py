"""Makes a capsule: collects the nodes at the same time, takes out what is to go, signs, writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from console.capsule.collect import Collecting
from console.capsule.content import Manifest, NodeCapsule
from console.capsule.file import write
from console.capsule.redact import Redaction
from console.client.client import AgentClient
from console.fleet.view import NodeAddress
from console.ledgers.visits import Book
from store.ledger import Entry, entry_hash

TOLD_S: Final = 1.0
AT_ONCE_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which nodes, when by this console's clock, under whose name, and whether people's names are to go."""

    nodes: Sequence[tuple[NodeAddress, AgentClient]]
    around_s: float
    minutes: float
    by: str
    without_names: bool = False

    @property
    def first_s(self) -> float:
        return self.around_s - 60.0 * self.minutes

    @property
    def last_s(self) -> float:
        return self.around_s + 60.0 * self.minutes


@dataclass(frozen=True, slots=True)
class Made:
    """A capsule that was written."""

    path: Path
    manifest: Manifest
    missing: Mapping[str, list[str]]


async def make(
    wanted: Wanted, book: Book, path: Path, sign: Callable[[bytes], bytes], tell: Callable[[float], None]
) -> Made:
    """What was is written at once, and again with what came when the end is reached: a console that is killed meanwhile
    leaves the first. `tell` hears the seconds that are left. Raises ValueError, StoreError kinds, SigningFailed.
    """
    gate = asyncio.Semaphore(AT_ONCE_MAX)
    all_ = [Collecting(client, address, book, wanted.first_s, wanted.last_s) for address, client in wanted.nodes]

    async def one(collecting: Collecting) -> NodeCapsule:
        async with gate:
            return await collecting.fetch()

    before = await asyncio.gather(*(one(collecting) for collecting in all_))
    made = await asyncio.to_thread(_written, wanted, before, path, sign)
    if wanted.last_s <= time.time():
        return made
    telling = asyncio.create_task(_tell(wanted.last_s, tell))
    try:
        nodes = await asyncio.gather(*(each.finish(told) for each, told in zip(all_, before, strict=True)))
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
    return await asyncio.to_thread(_written, wanted, nodes, path, sign)


async def _tell(last_s: float, tell: Callable[[float], None]) -> None:
    while (left_s := last_s - time.time()) > 0:
        tell(left_s)
        await asyncio.sleep(TOLD_S)


def _written(wanted: Wanted, nodes: Sequence[NodeCapsule], path: Path, sign: Callable[[bytes], bytes]) -> Made:
    documents = [msgspec.to_builtins(node) for node in nodes]
    redaction = Redaction(names=wanted.without_names)
    logins = [{"owner": address.user} for address, _ in wanted.nodes]
    redaction.learn([*documents, {"made_by": wanted.by}, *logins])
    clear = [_with_altered(redaction.document(document)) for document in documents]
    manifest = Manifest(
        made_by=redaction.text(wanted.by),
        made_s=time.time(),
        tool=f"outstation {version('outstation')}",
        around_s=wanted.around_s,
        first_s=wanted.first_s,
        last_s=min(wanted.last_s, time.time()),
        without_names=wanted.without_names,
        redacted=redaction.counted(),
        parts=[],
    )
    made = write(path, manifest, clear, sign)
    return Made(path, made, {node.name: node.missing for node in nodes if node.missing})


def _with_altered(document: dict[str, Any]) -> dict[str, Any]:
    """Names the ledger entries that the pass changed: their hash is that of what the node wrote."""
    entries = [Entry(**entry) for entry in document["ledger"]]
    return {**document, "ledger_altered": [entry.seq for entry in entries if entry.hash != entry_hash(entry)]}
