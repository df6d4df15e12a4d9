"""What every act of the headless demo works with: claims, the plant in view, and rows of a node's ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from console.client.client import AgentClient
from console.client.wire import AgentError
from console.delivery import deploy
from console.demo.plan import BARE, NODES
from console.demo.plant import Plant
from console.demo.provision import Bundles
from console.fleet.fleet import LiveFleet
from console.fleet.view import NodeView
from console.home import Home
from console.link.errors import LinkError
from nodeagent.protocol import LedgerEntry, Record

POLL_S = 0.3
LEDGER_PAGES_MAX = 100
FAILURES = (LinkError, AgentError, deploy.DeployFailed)


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that the demo says happened. `evidence` names the rows: node, ledger_seq, record_key."""

    claim: str
    ok: bool
    node: str
    text: str
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scene:
    """What every act of the scenario works with. `deadline_s` is on the monotonic clock."""

    fleet: LiveFleet
    plant: Plant
    home: Home
    bundles: Bundles
    deadline_s: float

    async def until(self, look: Callable[[], Awaitable[Any]]) -> Any:
        """What `look` finds as soon as it finds something; None when the time is up. A lost link is looked at again."""
        while time.monotonic() < self.deadline_s:
            try:
                if found := await look():
                    return found
            except (LinkError, AgentError):
                pass
            await asyncio.sleep(POLL_S)
        return None

    def view(self, node: str) -> NodeView:
        return self.fleet.views()[node]

    async def newest(self, node: str, *, after: int = 0, decision: str | None = None) -> Record | None:
        """The newest record of the node's first bundle above the key `after`."""
        bundle = next(plan.example for plan in (*NODES, BARE) if plan.name == node)
        page = await self.fleet.client(node).records(
            bundle, after=after or None, limit=1, decision=decision, newest_first=True
        )
        return page.records[0] if page.records else None


async def ledger_entry(client: AgentClient, deployment: str, state: str) -> LedgerEntry | None:
    """The entry that says the deployment came to `state`."""
    after = 0
    for _ in range(LEDGER_PAGES_MAX):
        page = await client.ledger(after=after)
        for entry in page.entries:
            if entry.subject == deployment and entry.action == f"deployment.{state.lower()}":
                return entry
        if not page.entries or page.entries[-1].seq >= page.head_seq:
            return None
        after = page.entries[-1].seq
    return None
