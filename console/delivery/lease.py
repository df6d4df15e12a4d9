"""The right to change deployments on a node, held while it is used: taken, renewed in time, given back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from console.client.client import AgentClient
from console.client.wire import AgentError
from console.link.errors import LinkError
from nodeagent.protocol import LEASE_S

RENEW_AFTER_S = LEASE_S / 3


class HeldLease:
    """A lease on one node. `token` is what writes carry."""

    def __init__(self, client: AgentClient, holder: str, token: int) -> None:
        self._client, self._holder, self._renewed_s = client, holder, time.monotonic()
        self.token = token

    async def keep(self) -> int:
        """Renews where a third of the lease has passed; returns the token. Raises AgentError LEASE.* when fenced."""
        if time.monotonic() - self._renewed_s >= RENEW_AFTER_S:
            lease = await self._client.take_lease(self._holder, token=self.token)
            self.token, self._renewed_s = lease.token, time.monotonic()
        return self.token

    async def give_back(self) -> None:
        """Lets the next one in at once. What cannot be given back runs out by itself."""
        await self._client.take_lease(self._holder, token=self.token, release=True)


@asynccontextmanager
async def held_lease(client: AgentClient, holder: str, *, break_held: bool = False) -> AsyncIterator[HeldLease]:
    """Holds the node's lease for the block. Raises AgentError LEASE.HELD with the holder's name."""
    lease = await client.take_lease(holder, break_held=break_held)
    held = HeldLease(client, holder, lease.token)
    try:
        yield held
    finally:
        await _give_back(held)


async def _give_back(held: HeldLease) -> None:
    try:
        await held.give_back()
    except (LinkError, AgentError):
        return  # Out of reach, or somebody else's by now: the node lets a lease run out after LEASE_S.
