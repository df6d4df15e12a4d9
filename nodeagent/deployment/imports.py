"""Bundles that came on a stick: their blobs stay, though nothing on the node needs them yet."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Annotated

import msgspec

from store import bundle, durable

FILE_NAME = "imports.json"
FILE_BYTES_MAX = 64 << 10
KEPT_MAX = 2


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bundle that was imported: its manifest, and every blob it needs, the manifest and signature included."""

    manifest: bundle.Digest
    blobs: Annotated[list[bundle.Digest], msgspec.Meta(max_length=32)]


@dataclasses.dataclass(frozen=True)
class Imports:
    """The last KEPT_MAX imports of the node at `state`. What an older import brought may be collected again."""

    state: Path

    def read(self) -> list[Kept]:
        """Newest first; none where the file cannot be used, which costs another import and no more."""
        try:
            data = (self.state / FILE_NAME).read_bytes()[: FILE_BYTES_MAX + 1]
            return msgspec.json.decode(data, type=list[Kept])[:KEPT_MAX]
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []

    def blobs(self) -> set[str]:
        """Digests that are not to be collected."""
        return {digest for kept in self.read() for digest in kept.blobs}

    async def keep(self, new: Kept) -> None:
        """Durable when it returns. Raises StoreError kinds."""
        others = [kept for kept in await asyncio.to_thread(self.read) if kept.manifest != new.manifest]
        data = msgspec.json.encode([new, *others][:KEPT_MAX])
        await asyncio.to_thread(durable.write_file, self.state / FILE_NAME, data)
