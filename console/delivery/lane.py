"""The OPERATE lane: the connections over which a console changes nodes, made for that and closed when that is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from console.client.client import AgentClient
from console.delivery.mandate import Mandate
from console.fleet.view import LinkState, NodeAddress
from console.link.errors import LinkError, NotListening
from console.link.node import OPERATE, NodeLink
from console.link.pool import BULK, LIVE, Pool
from console.link.seeds import JUMP, SeedWay, seed_way

if TYPE_CHECKING:
    from console.link.ssh import Connection

PROOFS_MAX = 3


class OperateLane:
    """`console.delivery.deploy.Reach`: every link of it speaks to a node's operate socket, under the operator's name.

    `address_of` says where a node is, and raises KeyError for one that it does not know.
    """

    def __init__(
        self, pool: Pool, address_of: Callable[[str], NodeAddress], *, operator: str, mandate: Mandate | None = None
    ) -> None:
        self._mandate = mandate or Mandate()
        self._pool, self._address_of, self._operator = pool, address_of, operator
        self._clients: dict[str, tuple[NodeAddress, AgentClient]] = {}
        self._links: set[NodeLink] = set()
        self._changes = 0
        self._left = False

    def __repr__(self) -> str:
        return f"<OperateLane{' left' if self._left else ''}, {len(self._links)} links, {self._changes} changes run>"

    @property
    def is_over(self) -> bool:
        """Whether it was left and nothing runs over it any more."""
        return self._left and self._changes == 0

    # -- talking to a node

    def client(self, name: str) -> AgentClient:
        """The client on the lane's own connection to the node, made at the first request."""
        address = self._address_of(name)
        known = self._clients.get(name)
        if known is None or known[0] != address:
            known = self._clients[name] = (address, self._client(self._link(address), address))
        return known[1]

    def bulk_client(self, name: str) -> AbstractAsyncContextManager[AgentClient]:
        """`async with`: a client on a connection, and jump connections, of its own, for many bytes."""
        return self._borrow(name, BULK)

    def fresh_client(self, name: str) -> AbstractAsyncContextManager[AgentClient]:
        """`async with`: a client on a login made now, to prove that the node can still be logged in to."""
        return self._borrow(name, LIVE)

    @asynccontextmanager
    async def _borrow(self, name: str, lane: str) -> AsyncIterator[AgentClient]:
        address = self._address_of(name)
        link = self._link(address, lane)
        try:
            client = self._client(link, address)
            await client.identify()
            yield client
        finally:
            self._links.discard(link)
            await link.retire()

    def _client(self, link: NodeLink, address: NodeAddress) -> AgentClient:
        return AgentClient(link, address.name, node_id=address.node_id, mandate=self._mandate)

    # -- through a seed

    def seed_way(self, name: str, seed: str) -> SeedWay | None:
        """How a blob comes to the node by its seed; None: it goes there directly. Raises KeyError, ValueError."""
        return seed_way(self._address_of(name), seed, None if seed == JUMP else self._address_of(seed))

    def shell(self, way: SeedWay, *, forward_agent: bool = False) -> AbstractAsyncContextManager[Connection]:
        """`async with`: a login on the seed of its own, for one command where `forward_agent` is given."""
        if self.is_over:
            raise LinkError(LinkState.REFUSED, way.name, "this way to change the node was closed")
        return self._pool.connect(way.seed, lane=BULK, identity_files=way.identity_files, forward_agent=forward_agent)

    async def pins(self, way: SeedWay) -> list[str]:
        """The pinned host keys of the node, as lines of a known_hosts."""
        return await self._pool.pins(way.target)

    def _link(self, address: NodeAddress, lane: str = LIVE) -> NodeLink:
        if dict(address.labels).get("access") == "monitor":
            hint = "hold works from here; take the label away with `outstation node add --label`, or ask its owner"
            raise LinkError(LinkState.REFUSED, address.name, "its label access=monitor: it is only watched", hint)
        link = NodeLink(address, self._pool, lane=lane, role=OPERATE, operator=self._operator)
        if self.is_over:
            raise LinkError(LinkState.REFUSED, address.name, "this way to change the node was closed")
        self._links.add(link)
        return link

    # -- its life

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def prove(self, names: Sequence[str]) -> str:
        """Logs in to the first of `names` that answers, at most PROOFS_MAX; its name, "" where none is reached.

        Raises LinkError where a node answers and does not let this person in, or not to its operate socket.
        """
        shut: LinkError | None = None
        for name in names[:PROOFS_MAX]:
            try:
                await self.client(name).identify()
                return name
            except NotListening as error:
                shut = error
            except LinkError as error:
                if error.state in (LinkState.REFUSED, LinkState.WRONG_PROTOCOL):
                    raise
        if shut is not None:
            raise shut
        return ""

    @asynccontextmanager
    async def change(self) -> AsyncIterator[OperateLane]:
        """Keeps the lane open while something is changed, also when it is left meanwhile."""
        self._changes += 1
        try:
            yield self
        finally:
            self._changes -= 1
            if self._left and self._changes == 0:
                await self.aclose()

    async def leave(self) -> None:
        """Ends every connection: at once, or behind the last change that is under way."""
        self._left = True
        if self._changes == 0:
            await self.aclose()

    async def aclose(self) -> None:
        """Ends every connection now, and for good."""
        self._left = True
        self._clients.clear()
        while self._links:
            await self._links.pop().retire()
