"""`Shelf` over the console's own files: the catalog in one thread, the copies of ledgers in another."""

from __future__ import annotations

import argparse
import asyncio
import io
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeVar

from console import receipts
from console.client.clean import clean, clean_all
from console.delivery import kept
from console.failure import EXPECTED, USAGE, Failure, account
from console.fleet.fleet import LiveFleet
from console.home import Home, address_of
from console.ledgers.past import Past, past
from console.ledgers.visits import ThreadBook, Visit, in_words, visit
from console.seat.operations import OperationFailed
from console.seat.prompts import Nobody, Prompter
from console.seat.shelf import Inspection
from nodeagent.protocol import Alert
from store.catalog import Catalog
from store.histories import Chain, Histories
from store.ledger import Entry

T = TypeVar("T")
TEXT_CHARS_MAX = 200


class LiveShelf:
    """What the console keeps in its folder. `prompter` is asked when a node is added."""

    def __init__(self, fleet: LiveFleet, catalog: Path, *, operator: str, prompter: Prompter | None = None) -> None:
        self._fleet, self._path, self._operator = fleet, catalog, operator
        self._prompter = prompter or Nobody()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catalog")
        self._opened: Catalog | None = None
        self._book = ThreadBook(catalog)

    def close(self) -> None:
        """Closes both, each in its own thread."""
        self._book.close()
        if self._opened is not None:
            self._thread.submit(self._opened.close).result()
        self._thread.shutdown()

    # -- bundles

    async def take_bundle(self, path: str) -> str:
        async def take() -> str:
            home, file = Home(self._path.parent), kept.expanded(path)
            seen = await asyncio.to_thread(receipts.admit, home, file)
            row = await asyncio.to_thread(kept.take_bundle, home.bundles, file)
            await asyncio.to_thread(receipts.keep, home, seen, file, subject=row.digest, taken_by=self._operator)
            await self._in_catalog(lambda catalog: catalog.put_bundle(row))
            return row.digest

        return await self._guarded("add a bundle", "", take())

    async def bundle_files(self, folder: str) -> Sequence[str]:
        return await asyncio.to_thread(kept.bundle_files, Path(folder))

    async def inspect(self, digest: str) -> Inspection:
        async def look() -> Inspection:
            rows = await self._in_catalog(Catalog.bundles)
            row = next((row for row in rows if row.digest == digest), None)
            if row is None:
                raise Failure("the bundle is not in the catalog any more", "import its .ostn file again")
            return await asyncio.to_thread(kept.inspect, row, rows)

        return await self._guarded("inspect the bundle", "", look())

    # -- ledgers

    async def chains(self) -> Mapping[str, Chain]:
        found = await self._guarded("read the ledgers", "", self._book.ask(Histories.chains))
        return {chain.node_id: chain for chain in found}

    async def newest_entries(self, node_id: str, limit: int) -> Sequence[Entry]:
        asked = self._book.ask(lambda histories: histories.newest(node_id, limit))
        return [_cleaned(entry) for entry in await self._guarded("read the ledger", "", asked)]

    async def past(self, node_id: str, at_us: int) -> Past | None:
        def read(histories: Histories) -> Past | None:
            entries = [_cleaned(entry) for entry in histories.entries(node_id)]
            return past(entries, at_us) if entries else None

        return await self._guarded("read the ledger", "", self._book.ask(read))

    async def verify(self, node: str) -> Visit:
        found = await self._guarded("verify the ledger", node, visit(self._fleet.client(node), self._book))
        self._fleet.set_ledger_break(node, in_words(found.broken) if found.broken is not None else "")
        return found

    async def accept_break(self, node_id: str, why: str) -> None:
        asked = self._book.ask(lambda histories: histories.accept(node_id, by=self._operator, why=why))
        if not await self._guarded("accept the ledger", "", asked):
            raise OperationFailed("no break of this ledger is known here", hint="V verifies it now")

    # -- nodes

    async def alert_history(self, node: str, limit: int) -> Sequence[Alert]:
        return await self._guarded("alerts", node, self._fleet.client(node).alert_history(limit=limit))

    async def add_node(self, words: Sequence[str]) -> str:
        return await self._guarded("add a node", "", self._add_node(words))

    async def _add_node(self, words: Sequence[str]) -> str:
        from console.cli import node
        from console.cli.session import Session

        parser: argparse.ArgumentParser = _Words(prog="node", add_help=False)
        node.add(parser.add_subparsers())
        if not words or {"-h", "--help"} & set(words):
            parser.error("a name and an address are needed")
        args = parser.parse_args(["node", "add", *words])
        home, out = Home(self._path.parent), io.StringIO()
        session = Session(home, self._operator, accept=args.accept, prompter=self._prompter, out=out)
        try:
            await node.add_node(session, args)
            row = session.catalog.node(args.name)
        finally:
            session.close()
        assert row is not None
        self._fleet.add(address_of(row))
        return str(args.name)

    # -- how it ends

    async def _in_catalog(self, act: Callable[[Catalog], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._with_catalog, act)

    def _with_catalog(self, act: Callable[[Catalog], T]) -> T:
        if self._opened is None:
            self._opened = Catalog(self._path)
        return act(self._opened)

    async def _guarded(self, what: str, node: str, work: Awaitable[T]) -> T:
        try:
            return await work
        except (Failure, *EXPECTED) as error:
            found = account(error)
            raise OperationFailed(
                f"{what} failed", node=node, why=[clean(found.what)], hint=clean(found.hint)
            ) from error


class _Words(argparse.ArgumentParser):
    """The parser of the command line, whose no is a Failure and not the end of the process."""

    def error(self, message: str) -> NoReturn:
        raise Failure(message, "NAME [USER@]HOST[:PORT] [-J JUMP] [-i KEY] [--site SITE] [--line LINE]", USAGE)


def _cleaned(entry: Entry) -> Entry:
    return Entry(**clean_all(entry._asdict(), TEXT_CHARS_MAX))
