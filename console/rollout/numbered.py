"""A way to nodes on which every write carries the change number of a rollout's plan, whoever carries it out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from console.client.client import AgentClient
from console.delivery.deploy import Reach
from console.link.seeds import SeedWay
from console.transfer.seeding import Shell


class Numbered:
    """A Reach over `inner`: the same links, papers and emergency, another number."""

    def __init__(self, inner: Reach, number: str) -> None:
        self._inner, self._number = inner, number
        self._clients: dict[str, tuple[AgentClient, AgentClient]] = {}

    def client(self, name: str) -> AgentClient:
        """The inner client of the node, which keeps what it knows of it."""
        inner = self._inner.client(name)
        known = self._clients.get(name)
        if known is None or known[0] is not inner:
            known = self._clients[name] = (inner, inner.numbered(self._number))
        return known[1]

    @asynccontextmanager
    async def bulk_client(self, name: str) -> AsyncIterator[AgentClient]:
        """As that of the inner way."""
        async with self._inner.bulk_client(name) as client:
            yield client.numbered(self._number)

    @asynccontextmanager
    async def fresh_client(self, name: str) -> AsyncIterator[AgentClient]:
        """As that of the inner way."""
        async with self._inner.fresh_client(name) as client:
            yield client.numbered(self._number)

    def seed_way(self, name: str, seed: str) -> SeedWay | None:
        """As that of the inner way."""
        return self._inner.seed_way(name, seed)

    def shell(self, way: SeedWay, *, forward_agent: bool = False) -> AbstractAsyncContextManager[Shell]:
        """As that of the inner way."""
        return self._inner.shell(way, forward_agent=forward_agent)

    async def pins(self, way: SeedWay) -> list[str]:
        """As those of the inner way."""
        return await self._inner.pins(way)
