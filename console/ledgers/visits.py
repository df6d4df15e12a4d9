"""A visit to a node's ledger: fetch what is new, verify that it extends what this console verified, move the anchor.

A chain that does not extend the anchor makes the node red, and stays so until a person accepts it: a console never
heals a break by itself, because it is the only witness against whoever owns the node's disk (I15).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from console.client.client import AgentClient
from console.client.wire import AgentError
from console.fleet.view import LinkState, NodeView
from console.link.errors import LinkError
from nodeagent.protocol import LedgerEntry
from store.histories import Histories
from store.ledger import Break, Entry, Head

PAGE_ENTRIES = 500
ENTRIES_A_VISIT_MAX = 200_000
AGAIN_S = 300.0
LOOK_S = 2.0
AT_ONCE_MAX = 8

T = TypeVar("T")


class Book(Protocol):
    """Where copies are kept; every call is made in one thread."""

    async def ask(self, act: Callable[[Histories], T]) -> T: ...


class HereBook:
    """Copies used in the caller's own thread, for a command that does nothing else."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories

    async def ask(self, act: Callable[[Histories], T]) -> T:
        return act(self._histories)


class ThreadBook:
    """Copies used in a thread of their own, opened at the first question."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="histories")
        self._opened: Histories | None = None

    async def ask(self, act: Callable[[Histories], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._with, act)

    def close(self) -> None:
        """Closes the file, in its own thread."""
        if self._opened is not None:
            self._thread.submit(self._opened.close).result()
        self._thread.shutdown()

    def _with(self, act: Callable[[Histories], T]) -> T:
        if self._opened is None:
            self._opened = Histories(self._path)
        return act(self._opened)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a visit found: entries that were new, where the verified chain ends, and the break that stands."""

    node_id: str
    new: int
    head: Head
    broken: Break | None


async def visit(client: AgentClient, book: Book, *, wall_s: Callable[[], float] = time.time) -> Visit:
    """Verifies and keeps what is new at the node. Raises AgentError, LinkError, StoreError; a break is an answer.

    More than ENTRIES_A_VISIT_MAX are left to the next visit.
    """
    node_id = await client.identify()
    standing = await book.ask(lambda kept: kept.broken(node_id))
    new = 0
    while standing is None and new < ENTRIES_A_VISIT_MAX:
        kept = await book.ask(lambda kept: kept.head(node_id))
        page = await client.ledger(after=kept.seq, limit=PAGE_ENTRIES, raw=True)
        entries = [plain(entry) for entry in page.entries]
        last = entries[-1].seq if entries else kept.seq
        is_last = not entries or last >= page.head_seq
        end = Head(page.head_seq, page.head_hash) if is_last else None
        broken = await book.ask(lambda kept: kept.extend(node_id, entries, end=end, wall_s=wall_s()))  # noqa: B023
        if broken is not None:
            return Visit(node_id, new, await book.ask(lambda kept: kept.head(node_id)), broken)
        new += len(entries)
        if is_last:
            break
    head = await book.ask(lambda kept: kept.head(node_id))
    return Visit(node_id, new, head, standing.found if standing is not None else None)


def plain(entry: LedgerEntry) -> Entry:
    """An entry of the wire as the chain hashes it."""
    return Entry(*(getattr(entry, name) for name in Entry._fields))


def in_words(broken: Break) -> str:
    """A break as a node's reason, and what it means."""
    return f"ledger {broken.kind.upper()}: {broken.text}"


class VisitedFleet(Protocol):
    """What the keeper needs of the fleet; a LiveFleet is one."""

    def views(self) -> Mapping[str, NodeView]: ...
    def client(self, name: str) -> AgentClient: ...
    def set_ledger_break(self, name: str, text: str) -> None: ...


class Visits:
    """Visits every node of a fleet as soon as it is up, and every AGAIN_S; tells the fleet which are red."""

    def __init__(self, fleet: VisitedFleet, book: Book, *, again_s: float = AGAIN_S, look_s: float = LOOK_S) -> None:
        self._fleet, self._book, self._again_s, self._look_s = fleet, book, again_s, look_s
        self._seen: dict[str, tuple[float, float]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def run(self) -> None:
        """Until cancelled. Nodes that were red before are so at once, reached or not."""
        while True:
            await self.tell()
            await self.round()
            await asyncio.sleep(self._look_s)

    async def tell(self) -> None:
        """Marks the nodes whose break stands, and no others."""
        breaks = {found.node_id: in_words(found.found) for found in await self._book.ask(lambda kept: kept.breaks())}
        for name, view in list(self._fleet.views().items()):
            node_id = view.address.node_id or (view.status.node_id if view.status else "")
            self._fleet.set_ledger_break(name, breaks.get(node_id, ""))

    async def round(self) -> None:
        """Visits the nodes that are due."""
        due = [name for name, view in self._fleet.views().items() if self._is_due(name, view)]
        await asyncio.gather(*(self._visit(name) for name in due))

    def _is_due(self, name: str, view: NodeView) -> bool:
        if view.link is not LinkState.UP:
            return False
        up_since_s, visited_s = self._seen.get(name, (-1.0, 0.0))
        return up_since_s != view.link_since_wall_s or time.monotonic() - visited_s >= self._again_s

    async def _visit(self, name: str) -> None:
        since_s = self._fleet.views()[name].link_since_wall_s
        async with self._gate:
            try:
                found = await visit(self._fleet.client(name), self._book)
            except (AgentError, LinkError, KeyError):
                return  # The node's own watch tells that it is not reached; it is visited when it is up again.
        self._seen[name] = (since_s, time.monotonic())
        if found.broken is not None:
            self._fleet.set_ledger_break(name, in_words(found.broken))
