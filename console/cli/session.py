"""One run of the command line: where things are, how nodes are reached, how answers are printed."""

from __future__ import annotations

import difflib
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import TextIO

import msgspec

from console.cli.person import TerminalPerson
from console.cli.tables import pairs, table
from console.client.clean import clean, clean_all
from console.client.client import AgentClient
from console.delivery.lane import OperateLane
from console.delivery.mandate import Mandate, Papers
from console.failure import NOT_REACHED, Failure
from console.fleet.fleet import LiveFleet
from console.fleet.view import NodeAddress
from console.home import Home, address_of
from console.link.pool import Pool
from console.link.ready import make_pool
from console.receipts import brought
from console.seat.prompts import AcceptListed, Prompter
from store.catalog import Catalog

LINE_CHARS_MAX = 10_000
DOCUMENT_LINE_CHARS_MAX = 1 << 20


class Session:
    """What verbs work with. `as_json` prints one JSON document (or one a line where it streams)."""

    def __init__(
        self,
        home: Home,
        operator: str,
        *,
        as_json: bool = False,
        yes: bool = False,
        accept: Sequence[str] = (),
        person: TerminalPerson | None = None,
        prompter: Prompter | None = None,
        out: TextIO | None = None,
        change_number: str = "",
        emergency: str = "",
    ) -> None:
        self.mandate = Mandate(change_number, emergency, Papers(home.warrants).find, partial(brought, home))
        self.home, self.operator, self.as_json, self.yes = home, operator, as_json, yes
        self.person = person or TerminalPerson()
        self.prompter = AcceptListed(accept, prompter or self.person)
        self._out = out or sys.stdout
        self._stack = ExitStack()
        self._catalog: Catalog | None = None

    def close(self) -> None:
        """Closes the catalog."""
        self._stack.close()

    # -- what is known

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            self._catalog = self._stack.enter_context(self.home.open_catalog())
        return self._catalog

    def addresses(self, names: Sequence[str] = ()) -> list[NodeAddress]:
        """The named nodes, or all. Raises Failure for a name that is not in the catalog."""
        rows = {row.name: row for row in self.catalog.nodes()}
        unknown = [name for name in names if name not in rows]
        if unknown:
            near = difflib.get_close_matches(unknown[0], rows, 1)
            hint = f"did you mean {near[0]}?" if near else "see `outstation node list`"
            raise Failure(f"there is no node {clean(unknown[0], 80)}", hint, NOT_REACHED)
        return [address_of(rows[name]) for name in names or rows]

    # -- nodes

    def pool(self) -> Pool:
        """How servers are reached; host keys in the console's own file."""
        return make_pool(self.home, self.prompter)

    @asynccontextmanager
    async def fleet(self, names: Sequence[str] = ()) -> AsyncIterator[LiveFleet]:
        """Links for reading to the named nodes, or to all; each connects when it is asked something."""
        fleet = LiveFleet(self.addresses(names), self.pool(), operator=self.operator)
        try:
            yield fleet
        finally:
            await fleet.aclose()

    @asynccontextmanager
    async def client(self, name: str) -> AsyncIterator[AgentClient]:
        """One node's client for reading, and for what a person may do while watching."""
        async with self.fleet([name]) as fleet:
            yield fleet.client(name)

    def operate(self, names: Sequence[str]) -> OperateLane:
        """`async with`: links to the named nodes over which they can be changed."""
        addresses = {address.name: address for address in self.addresses(names)}
        return OperateLane(self.pool(), addresses.__getitem__, operator=self.operator, mandate=self.mandate)

    # -- answers

    def line(self, text: str = "") -> None:
        """One line, cleaned at the last hop whatever it holds."""
        self._out.write(clean(text, LINE_CHARS_MAX) + "\n")

    def document(self, text: str) -> None:
        """A whole document on standard output, each of its lines cleaned as any other."""
        for line in text.splitlines():
            self._out.write(clean(line, DOCUMENT_LINE_CHARS_MAX) + "\n")

    def lines(self, texts: Sequence[str]) -> None:
        for text in texts:
            self.line(text)

    def json(self, value: object) -> None:
        """A protocol value, or a plain one, as one line of JSON."""
        self._out.write(msgspec.json.encode(clean_all(value), enc_hook=_plain).decode() + "\n")

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
        self.lines(table(headers, rows, right=frozenset(right)))

    def pairs(self, items: Sequence[tuple[str, str]]) -> None:
        self.lines(pairs(items))

    def flush(self) -> None:
        self._out.flush()

    # -- the second, explicit step

    async def agreed(self, question: str, answer: str) -> None:
        """Goes on only if `answer` is typed, or --yes was given. Raises Failure."""
        if self.yes:
            return
        typed = await self.person.typed(f"{question}\ntype {answer} to go on:")
        if typed != answer:
            raise Failure("nothing was done", f"type {answer}, or give --yes in a script")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no JSON form")
