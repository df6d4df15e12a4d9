"""An agent's upgrade, one level below a deployment: brought beside the old one, on trial, confirmed by a new login.

The node goes back by itself: everything here may be cut off at any step, and the same command again converges.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from console.bootstrap.install import Step, Tell
from console.bootstrap.node import BootstrapFailed
from console.client.client import AgentClient
from console.client.wire import AgentError
from console.delivery.deploy import Reach
from console.delivery.lease import held_lease
from console.link.errors import LinkError
from nodeagent.protocol import AgentUpgrade, WorkerState

POLL_S = 0.5
MARGIN_S = 3.0
BACK_S = 20.0


@dataclass(frozen=True, slots=True)
class Change:
    """What is to run on the node. `window_s`: how long the node waits for the confirm."""

    node: str
    version: str
    window_s: float
    operator: str
    break_lease: bool = False
    brought: str = ""


async def switch(reach: Reach, change: Change, tell: Tell) -> AgentUpgrade:
    """Trial, proof, confirm. Where the proof fails the version before is taken at once. BootstrapFailed, LinkError."""
    client = reach.client(change.node)
    now = await client.upgrade()
    if now.running == change.version and now.phase != "trial":
        return now
    serving = await _serving(client)
    async with held_lease(client, change.operator, break_held=change.break_lease) as lease:
        if now.phase == "trial" and now.version == change.version:
            begun = now
        else:
            tell(
                Step("trial", f"{now.running} stays beside it, and is back in {change.window_s:.0f} s unless confirmed")
            )
            id_ = uuid.uuid4().hex
            begun = await client.begin_upgrade(
                id_, change.version, window_s=change.window_s, lease=lease.token, brought=change.brought
            )
        try:
            left_s = (begun.seconds_left or change.window_s) - MARGIN_S
            done = await _prove_and_confirm(reach, change, begun, serving, left_s, lease.token)
        except BootstrapFailed:
            tell(Step("back", f"{begun.previous} is taken again"))
            await _take_back(reach, change, begun, lease.token)
            raise
    return done


async def _serving(client: AgentClient) -> frozenset[str]:
    bundles = (await client.status()).telemetry.bundles
    return frozenset(bundle.bundle for bundle in bundles if bundle.state == WorkerState.SERVING)


async def _prove_and_confirm(
    reach: Reach, change: Change, begun: AgentUpgrade, serving: frozenset[str], left_s: float, lease: int
) -> AgentUpgrade:
    """A login made now finds the new version and every model that served before; with it the trial is confirmed."""
    why = "it was not asked yet"
    try:
        async with asyncio.timeout(max(MARGIN_S, left_s)):
            while True:
                why = await _try_once(reach, change, begun, serving)
                if not why:
                    break
                await asyncio.sleep(POLL_S)
            async with reach.fresh_client(change.node) as client:
                return await client.end_upgrade(begun.id, "confirm", lease=lease)
    except TimeoutError as error:
        hint = "the version before is back; read the node's log, then try again"
        raise BootstrapFailed(change.node, "trial", f"not well within its time: {why}", hint) from error


async def _try_once(reach: Reach, change: Change, begun: AgentUpgrade, serving: frozenset[str]) -> str:
    """Empty when all is well, otherwise what is not yet. Raises BootstrapFailed once the node has gone back."""
    try:
        async with reach.fresh_client(change.node) as client:
            now = await client.upgrade()
            if now.id == begun.id and now.phase == "rolled_back":
                raise BootstrapFailed(change.node, "trial", f"the node went back: {now.reason} {now.text}".strip())
            missing = serving - await _serving(client)
    except (LinkError, AgentError) as error:
        return str(error)
    if now.running != change.version:
        return f"{now.running} runs"
    return f"{', '.join(sorted(missing))} does not serve" if missing else ""


async def _take_back(reach: Reach, change: Change, begun: AgentUpgrade, lease: int) -> None:
    """Sooner than the node would by itself, where it can still be told."""
    try:
        async with asyncio.timeout(BACK_S), reach.fresh_client(change.node) as client:
            now = await client.upgrade()
            if now.phase == "trial" and now.id == begun.id:
                await client.end_upgrade(begun.id, "rollback", lease=lease)
    except (TimeoutError, LinkError, AgentError):
        return  # the node's own deadline does it
