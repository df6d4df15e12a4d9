"""What the console keeps itself, as screens see it: bundles, and the verified copies of nodes' ledgers.

Live in console/seat/live_shelf.py, in memory in console/sample/shelf.py. Each method raises OperationFailed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nodeagent.protocol import Alert

if TYPE_CHECKING:
    from console.ledgers.past import Past
    from console.ledgers.visits import Visit
    from store.histories import Chain
    from store.ledger import Entry


@dataclass(frozen=True, slots=True)
class Inspection:
    """A bundle looked into: (name, text) pairs, its blobs by digest and size, where it came from and what came of it.

    `parents` and `children` are (name, version, digest), the digest "" for one that is not in this catalog.
    """

    facts: tuple[tuple[str, str], ...]
    blobs: tuple[tuple[str, int], ...]
    lineage: tuple[tuple[str, str], ...] = ()
    parents: tuple[tuple[str, str, str], ...] = ()
    children: tuple[tuple[str, str, str], ...] = ()
    damaged: tuple[str, ...] = ()


class Shelf(Protocol):
    """What a screen may ask of it."""

    async def take_bundle(self, path: str) -> str:
        """Checks the .ostn file and keeps a copy; its digest. A damaged or unreadable file is refused."""
        ...

    async def bundle_files(self, folder: str) -> Sequence[str]:
        """Paths of the .ostn files in a folder and on mounted sticks, the newest first."""
        ...

    async def inspect(self, digest: str) -> Inspection:
        """Opens a kept bundle and hashes every blob of it."""
        ...

    async def chains(self) -> Mapping[str, Chain]:
        """The copy of every node's ledger, by node id."""
        ...

    async def newest_entries(self, node_id: str, limit: int) -> Sequence[Entry]:
        """The newest entries of the copy, oldest first."""
        ...

    async def past(self, node_id: str, at_us: int) -> Past | None:
        """What ran at a moment and who did what around it, of the copy alone; None where there is no copy."""
        ...

    async def verify(self, node: str) -> Visit:
        """Fetches what is new at the node, verifies that it extends the copy, and keeps it."""
        ...

    async def accept_break(self, node_id: str, why: str) -> None:
        """Ends a broken chain's alarm by the person's word; what the node shows next begins a new chain."""
        ...

    async def alert_history(self, node: str, limit: int) -> Sequence[Alert]:
        """The newest alerts of a node, cleared ones included, newest first."""
        ...

    async def add_node(self, words: Sequence[str]) -> str:
        """Adds a node, given as to `outstation node add`, and begins to watch it; its name."""
        ...
