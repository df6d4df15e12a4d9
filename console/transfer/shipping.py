"""How blobs go to a node: the whole one, or what makes it of one that the node holds, all within one budget."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import BinaryIO

from console import figures
from console.client.client import AgentClient
from console.client.wire import AgentError
from console.delivery.upload import Meter, blob_state, upload
from console.link.errors import LinkError
from console.transfer.budget import Budget
from console.transfer.differences import BYTES_MIN, Difference, Differences, Old
from console.transfer.seeding import Seeding, Seeds
from nodeagent.protocol import BlobState
from store.archive import Archive
from store.bundle import blobs_named

ASKS_MAX = 5
PAUSE_S = 1.0
# What a node says where a difference does not help it, and the whole blob does.
# Beside a difference a node may have no room for what it makes; when that is gone it may.
_SEND_WHOLE = ("BLOB.DELTA", "BLOB.UNKNOWN", "BLOB.MISMATCH", "REQUEST.UNKNOWN_PATH", "DEPLOYMENT.DISK_FULL")

OnPiece = Callable[[], Awaitable[None]]


class Contents:
    """Every blob that a node may ask for: those of the archive, its manifest and its signature."""

    def __init__(self, archive: Archive, small: dict[str, bytes]) -> None:
        self.archive, self._small = archive, small
        self.sizes = blobs_named(archive.manifest) | {digest: len(data) for digest, data in small.items()}

    def open(self, digest: str) -> BinaryIO:
        """A reader with seek."""
        data = self._small.get(digest)
        return self.archive.open_blob(digest) if data is None else io.BytesIO(data)


@dataclass(frozen=True, slots=True)
class Shipping:
    """What the operator allows. Without a `budget` the link's own pace; without `differences` only whole blobs;
    without a `seeding` straight to each node.
    """

    budget: Budget | None = None
    differences: Differences | None = None
    seeding: Seeding | None = None

    async def bring(
        self,
        client: AgentClient,
        contents: Contents,
        digest: str,
        *,
        meter: Meter,
        on_piece: OnPiece,
        note: Callable[[str], None],
        seeds: Seeds | None = None,
    ) -> None:
        """The blob is on the node, whole. `meter` counts it already in its total. Raises LinkError, AgentError."""

        async def send(what: str, reader: BinaryIO, bytes_total: int) -> None:
            way = None
            if self.seeding is not None and seeds is not None and bytes_total >= BYTES_MIN:
                way = self.seeding.way(seeds, client.node)
            if self.seeding is None or seeds is None or way is None:
                await upload(client, what, reader, bytes_total, meter=meter, on_piece=on_piece, budget=self.budget)
                return
            await self.seeding.carry(
                seeds,
                way,
                client,
                what,
                reader,
                bytes_total,
                meter=meter,
                on_piece=on_piece,
                note=note,
                budget=self.budget,
            )

        size = contents.sizes[digest]
        found = await self._smaller(client, contents, digest)
        if found is not None:
            meter.total_bytes += found.size - size
            note(f"{figures.size(found.size)} of difference to {found.old.version} instead of {figures.size(size)}")
            with found.open() as reader:
                await send(found.digest, reader, found.size)
            if await _patched(client, found):
                return
            meter.total_bytes += size
            note("the difference did not help; the whole blob is sent")
        with contents.open(digest) as reader:
            await send(digest, reader, size)

    async def _smaller(self, client: AgentClient, contents: Contents, digest: str) -> Difference | None:
        """A difference to what the node holds that is less than what is missing there."""
        size = contents.sizes[digest]
        if self.differences is None or size < BYTES_MIN:
            return None
        state = await blob_state(client, digest)
        missing = size - state.received_bytes
        if state.complete or not state.patches or missing < BYTES_MIN:
            return None
        for old in await self.differences.olds(contents.archive, digest):
            if await _holds(client, old):
                made = await self.differences.make(contents.archive, digest, old)
                return made if made is not None and made.size < missing else None
        return None


async def _holds(client: AgentClient, old: Old) -> bool:
    return (await blob_state(client, old.digest)).complete


async def _patched(client: AgentClient, difference: Difference) -> bool:
    """Whether the node made the blob. An answer that was lost on the way is asked for, never assumed."""
    for left in reversed(range(ASKS_MAX)):
        try:
            state: BlobState = await client.patch_blob(
                difference.new, old=difference.old.digest, delta=difference.digest
            )
            return state.complete
        except AgentError as error:
            if error.error.code in _SEND_WHOLE:
                return (await blob_state(client, difference.new)).complete
            raise
        except LinkError:
            if left == 0:
                raise
        await asyncio.sleep(PAUSE_S)
    raise AssertionError("the last pass returns or raises")
